"""What we send over real HTTP to receivers that refuse whatever their vendor's documentation doesn't allow."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import jsonschema
import pytest
from aiohttp import web

from sandbox.listener import Handler, Listener
from services.notifier import messages, policy
from services.notifier.messages import Messenger, Target, Text
from services.notifier.messengers import Messengers
from services.notifier.policy import Ended, Ending
from shared.http import posting
from shared.http.posting import Attempt
from shared.http.webhooks import Webhooks
from shared.wire.messages import Severity
from tests.contract import notifier_schemas as schemas
from tests.unit.notifier.told import AT, FIELDS, NOW, event, hook, notice

PATHS: Final = {
    "/slack/T0/B0": schemas.SLACK,
    "/discord/1/t/slack": schemas.SLACK,
    "/rocket/t": schemas.SLACK,
    "/webhookb2/t": schemas.MESSAGE_CARD,
    "/workflows/t": schemas.ADAPTIVE_CARD,
    "/v1/spaces/t": schemas.GOOGLE_CARDS,
    "/event": schemas.EVENT_HOOK,
}
TARGETS: Final = {
    "slack": (Messenger.SLACK, "/slack/T0/B0"),
    "discord": (Messenger.DISCORD, "/discord/1/t"),
    "rocket": (Messenger.ROCKET, "/rocket/t"),
    "teams connector": (Messenger.MSTEAMS, "/webhookb2/t"),
    "teams workflow": (Messenger.MSTEAMS, "/workflows/t"),
    "google chat": (Messenger.GCHAT, "/v1/spaces/t"),
}


@dataclass
class Vendors:
    """All messengers in one server; a wrong document or content type is answered with 400."""

    url: str = ""
    requests: list[web.BaseRequest] = field(default_factory=list)
    documents: list[dict[str, object]] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        document = await request.json()
        try:
            jsonschema.validate(document, PATHS[request.path])
        except jsonschema.ValidationError as error:
            return web.Response(status=400, text=error.message)
        if request.method != "POST" or request.content_type != "application/json":
            return web.Response(status=415)
        self.documents.append(document)
        return web.Response(text="ok")


@asynccontextmanager
async def serving(answer: Handler) -> AsyncIterator[str]:
    async with Listener(answer, grace=0.1) as listener:
        yield listener.url


@pytest.fixture
async def vendors() -> AsyncIterator[Vendors]:
    found = Vendors()
    async with serving(found.answer) as found.url:
        yield found


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as found:
        yield found


@pytest.fixture
def messengers(session: aiohttp.ClientSession) -> Messengers:
    return Messengers(session)


async def send(messengers: Messengers, target: Target, text: Text) -> Ended:
    attempt = await messengers.post(
        messages.url(target), messages.payload(target, text), messages.headers(target), proxy=target.proxy
    )
    return policy.judge_post(target, None, attempt, NOW)


def text(severity: Severity = Severity.INFO, *fields: tuple[str, str]) -> Text:
    return Text(
        author="podinfo.test", message="Failed checks threshold reached 10 „é“", severity=severity, fields=fields
    )


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("severity", Severity)
@pytest.mark.parametrize("fields", [(), FIELDS])
async def test_every_document_is_accepted(
    vendors: Vendors, messengers: Messengers, name: str, severity: Severity, fields: tuple[tuple[str, str], ...]
) -> None:
    kind, path = TARGETS[name]
    target = Target(kind=kind, url=vendors.url + path)
    assert await send(messengers, target, text(severity, *fields)) == Ended(ending=Ending.DELIVERED)
    assert vendors.documents == [messages.payload(target, text(severity, *fields))]


async def test_a_wrong_document_would_be_refused(vendors: Vendors, messengers: Messengers) -> None:
    slack_to_teams = Target(kind=Messenger.SLACK, url=f"{vendors.url}/workflows/t")
    assert (await send(messengers, slack_to_teams, text())).ending is Ending.REFUSED


async def test_slacks_token(vendors: Vendors, messengers: Messengers) -> None:
    await send(messengers, Target(kind=Messenger.SLACK, url=f"{vendors.url}/slack/T0/B0", token="xoxb"), text())
    await send(messengers, Target(kind=Messenger.ROCKET, url=f"{vendors.url}/rocket/t", token="xoxb"), text())
    assert [each.headers.get("Authorization") for each in vendors.requests] == ["Bearer xoxb", None]


@pytest.mark.parametrize("repeated", [False, True])
async def test_an_event_webhook(vendors: Vendors, session: aiohttp.ClientSession, repeated: bool) -> None:
    about = notice(event("Halt podinfo.test advancement success rate 18.00% < 99%", event_type="Warning"))
    told, payload = policy.told(hook(url=f"{vendors.url}/event", metadata={"team": "a"}), about, repeated=repeated)
    calls = Webhooks(session, sleep=asyncio.sleep, now=lambda: AT)
    called = await calls.call(told, payload, event_id=policy.ident(about), repeated=repeated)
    assert policy.judge_call(told, called, NOW) == Ended(ending=Ending.DELIVERED)
    assert vendors.requests[0].headers["Serinus-Event-Id"] == "u-1:7"
    assert ("Serinus-Repeated" in vendors.requests[0].headers) is repeated
    own = {
        "eventMessage": "Halt podinfo.test advancement success rate 18.00% < 99%",
        "eventType": "Warning",
        "team": "a",
        "timestamp": "1795521600500",
    }
    assert json.dumps(vendors.documents[0]) == json.dumps(
        {
            "name": "podinfo",
            "namespace": "test",
            "phase": "Progressing",
            "checksum": "85d557f47b",
            "metadata": dict(sorted((own | ({"repeated": "true"} if repeated else {})).items())),
        }
    )


async def post(messengers: Messengers, url: str, proxy: str = "") -> Attempt:
    return await messengers.post(url, {"a": 1}, {"Content-Type": "application/json"}, proxy=proxy)


async def test_proxies(messengers: Messengers, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def proxy(name: str) -> Handler:
        async def answer(request: web.BaseRequest) -> web.Response:
            seen.append((name, request.headers["Host"]))
            return web.Response()

        return answer

    async with serving(proxy("environment's")) as environment, serving(proxy("own")) as own:
        monkeypatch.setenv("http_proxy", environment)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await post(messengers, "http://slack.test/")
        await post(messengers, "http://slack.test/", proxy=own)
        await post(messengers, own)
    assert seen == [("environment's", "slack.test"), ("own", "slack.test"), ("own", own.removeprefix("http://"))]


@pytest.mark.parametrize(("proxy", "final"), [("http://127.0.0.1:1", False), ("http://[", True)])
async def test_a_proxy_that_is_none(messengers: Messengers, proxy: str, final: bool) -> None:
    attempt = await post(messengers, "http://slack.test/", proxy=proxy)
    assert attempt.cause
    assert (attempt.final, attempt.unsure) == (final, False)


async def test_nobody_listening_is_sure(messengers: Messengers) -> None:
    attempt = await post(messengers, "http://127.0.0.1:1/")
    assert attempt == Attempt(cause="connection refused")


async def test_an_unknown_host_is_sure(messengers: Messengers) -> None:
    attempt = await post(messengers, "http://nowhere.invalid/")
    assert attempt.cause
    assert not attempt.unsure


async def test_an_answer_that_fails_to_come_is_unsure(session: aiohttp.ClientSession) -> None:
    """On a connection that is there: its making would count as before the request, when a machine stands still in it."""

    async def hang(request: web.BaseRequest) -> web.Response:
        if request.path == "/hang":
            await asyncio.Event().wait()
        return web.Response()

    async with serving(hang) as url:
        await posting.post(session, url, b"{}", {}, seconds=60.0, read=lambda _: True)
        attempt = await posting.post(session, f"{url}/hang", b"{}", {}, seconds=0.2, read=lambda _: True)
    assert attempt == Attempt(cause="context deadline exceeded", unsure=True)


async def test_a_connection_that_is_cut_is_unsure(messengers: Messengers) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        attempt = await post(messengers, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert attempt == Attempt(cause="EOF", unsure=True)


async def test_a_webhook_that_was_cut_once_may_have_heard_it_whatever_it_says_later(
    session: aiohttp.ClientSession,
) -> None:
    asked: list[web.BaseRequest] = []

    async def cut_then_busy(request: web.BaseRequest) -> web.Response:
        asked.append(request)
        if len(asked) == 1 and request.transport:
            request.transport.close()
        return web.Response(status=503)

    async def at_once(_: float) -> None:
        await asyncio.sleep(0)

    calls = Webhooks(session, sleep=at_once, now=lambda: AT)
    async with serving(cut_then_busy) as url:
        told, payload = policy.told(hook(url=url, retries=1), notice(), repeated=False)
        called = await calls.call(told, payload, event_id="u-1:7", repeated=False)
    assert (len(asked), called.attempts, called.last.status) == (2, 2, 503)
    assert policy.judge_call(told, called, NOW).ending is Ending.UNSURE
