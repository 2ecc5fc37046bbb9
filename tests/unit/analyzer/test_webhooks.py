"""The webhook door against a real HTTP server on the loopback. No test waits: the pauses are only noted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.analyzer.policy import Reply
from services.analyzer.webhooks import LONGEST_RETRY_AFTER, Webhooks, body, pause
from shared.wire.messages import HookPayload
from tests.unit.analyzer.asked import hook
from tests.unit.analyzer.server import Server, answer, serving
from tests.unit.analyzer.tls import self_signed

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PAYLOAD = HookPayload(name="podinfo", namespace="test", phase="Progressing", checksum="85d557f47b")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving("/hook") as found:
        yield found


class Pauses(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def webhooks(pauses: Pauses) -> AsyncIterator[Webhooks]:
    async with aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Webhooks(session, sleep=pauses, now=lambda: NOW)


async def call(webhooks: Webhooks, url: str, *, repeated: bool = False, **parts: Any) -> Reply:
    return await webhooks.call(hook(url=url, **parts), PAYLOAD, event_id="tick/1/load test", repeated=repeated)


def test_the_body_is_flaggers_to_the_byte() -> None:
    assert body(hook(), PAYLOAD) == (
        b'{"name":"podinfo","namespace":"test","phase":"Progressing","checksum":"85d557f47b"}'
    )
    asked = hook(metadata={"type": "cmd", "cmd": 'hey "x" <a>&b\u2028é', "Z": "1"})
    assert (
        body(asked, PAYLOAD)
        .decode()
        .endswith(',"metadata":{"Z":"1","cmd":"hey \\"x\\" \\u003ca\\u003e\\u0026b\\u2028é","type":"cmd"}}')
    )


async def test_a_call_carries_its_id_and_only_a_repeat_says_so(server: Server, webhooks: Webhooks) -> None:
    server.will(answer())
    assert await call(webhooks, server.url) == Reply(accepted=True)
    assert await call(webhooks, server.url, repeated=True) == Reply(accepted=True, repeated=True)
    (method, path, headers, sent), (_, _, again, _) = server.requests
    assert (method, path, headers["Content-Type"], sent) == ("POST", "/hook", "application/json", body(hook(), PAYLOAD))
    assert headers["Serinus-Event-Id"] == again["Serinus-Event-Id"] == "tick/1/load test"
    assert "Serinus-Repeated" not in headers
    assert again["Serinus-Repeated"] == "true"


async def test_an_id_with_a_line_break_is_sent_harmlessly(server: Server, webhooks: Webhooks) -> None:
    server.will(answer())
    await webhooks.call(hook(url=server.url), PAYLOAD, event_id="a\r\nX: é", repeated=False)
    assert server.requests[0][2]["Serinus-Event-Id"] == "a%0D%0AX: %C3%A9"


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_up_to_202_is_agreement(server: Server, webhooks: Webhooks, status: int) -> None:
    server.will(answer(status, text="whatever"))
    assert (await call(webhooks, server.url)).accepted


@pytest.mark.parametrize("status", [203, 204, 299, 304, 400, 403, 404, 501])
async def test_other_answers_refuse_with_their_body_at_once(
    server: Server, webhooks: Webhooks, pauses: Pauses, status: int
) -> None:
    text = "" if status in (204, 304) else "not today\n"
    server.will(answer(status, text=text or None))
    assert await call(webhooks, server.url, retries=3) == Reply(accepted=False, error=text)
    assert (len(server.requests), pauses) == (1, [])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 599])
async def test_a_server_in_trouble_is_asked_again_and_its_body_is_not_told(
    server: Server, webhooks: Webhooks, pauses: Pauses, status: int
) -> None:
    server.will(answer(status, text="secret stack"))
    reply = await call(webhooks, server.url, retries=2)
    assert reply == Reply(accepted=False, error=f"POST {server.url} giving up after 3 attempt(s)")
    assert (len(server.requests), pauses) == (3, [1, 2])


async def test_a_later_attempt_may_succeed(server: Server, webhooks: Webhooks, pauses: Pauses) -> None:
    server.will(answer(503, headers={"Retry-After": "7"}), answer(500), answer())
    assert (await call(webhooks, server.url, retries=5)).accepted
    assert pauses == [7, 2]


async def test_without_retries_there_is_one_attempt(server: Server, webhooks: Webhooks, pauses: Pauses) -> None:
    server.will(answer(500))
    reply = await call(webhooks, server.url)
    assert reply.error == f"POST {server.url} giving up after 1 attempt(s)"
    assert pauses == []


async def test_nobody_listening(webhooks: Webhooks, pauses: Pauses) -> None:
    reply = await call(webhooks, "http://127.0.0.1:1/", retries=1)
    assert reply.error == "POST http://127.0.0.1:1/ giving up after 2 attempt(s): connection refused"
    assert pauses == [1]


async def test_a_slow_webhook_is_given_up_after_its_timeout(server: Server, webhooks: Webhooks) -> None:
    async def slow(_: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0.2)
        return web.Response()

    server.will(slow)
    reply = await call(webhooks, server.url, timeout_seconds=0.05)
    assert reply.error == f"POST {server.url} giving up after 1 attempt(s): context deadline exceeded"


async def test_a_connection_that_is_closed_without_an_answer(server: Server, webhooks: Webhooks) -> None:
    async def close(request: web.BaseRequest) -> web.Response:
        assert request.transport
        request.transport.close()
        return web.Response()

    server.will(close)
    reply = await call(webhooks, server.url)
    assert reply.error == f"POST {server.url} giving up after 1 attempt(s): EOF"


async def test_a_name_that_resolves_to_nothing(webhooks: Webhooks) -> None:
    reply = await call(webhooks, "http://nobody.invalid/")
    assert reply.error.startswith("POST http://nobody.invalid/ giving up after 1 attempt(s): ")
    assert "0x" not in reply.error


async def test_a_certificate_is_checked_unless_told_otherwise(webhooks: Webhooks, tmp_path: Path) -> None:
    async with serving("/", self_signed(tmp_path)) as server:
        server.will(answer())
        reply = await call(webhooks, server.url, retries=3)
        because = "certificate verify failed: self-signed certificate"
        assert reply.error == f"POST {server.url} giving up after 1 attempt(s): {because}"
        assert (await call(webhooks, server.url, disable_tls=True)).accepted


async def test_something_that_speaks_no_http(webhooks: Webhooks) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"220 hello\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        reply = await call(webhooks, f"http://127.0.0.1:{port}/")
    assert not reply.accepted
    assert reply.error


@pytest.mark.parametrize(("status", "method"), [(302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")])
async def test_redirects_are_followed(server: Server, webhooks: Webhooks, status: int, method: str) -> None:
    server.will(answer(status, headers={"Location": "/there"}), answer())
    assert (await call(webhooks, server.url)).accepted
    (_, _, _, first), (then, path, _, second) = server.requests
    assert (then, path, second) == (method, "/there", first if method == "POST" else b"")


async def test_a_circle_of_redirects_ends_and_is_not_tried_again(
    server: Server, webhooks: Webhooks, pauses: Pauses
) -> None:
    server.will(answer(302, headers={"Location": "/hook"}))
    reply = await call(webhooks, server.url, retries=3)
    assert reply.error == f"POST {server.url} giving up after 1 attempt(s): stopped after 10 redirects"
    assert pauses == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ftp://somewhere/", "ftp://somewhere/"),
        ("::", "::"),
        ("http://[", "http://["),
        ("ftp://me:pass@here/", "ftp://me:xxxxx@here/"),
    ],
)
async def test_an_address_that_is_none(webhooks: Webhooks, pauses: Pauses, url: str, shown: str) -> None:
    reply = await call(webhooks, url, retries=3)
    assert reply.error.startswith(f"POST {shown} giving up after 1 attempt(s): ")
    assert pauses == []


async def test_only_the_beginning_of_an_endless_refusal_is_read(server: Server, webhooks: Webhooks) -> None:
    server.will(answer(400, text="x" * 100_000))
    assert len((await call(webhooks, server.url)).error) == 4096


async def test_proxies_of_the_environment_are_used(
    server: Server, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/hook"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.will(answer())
    assert (await call(webhooks, "http://tester.test/")).accepted
    assert (await call(webhooks, server.url)).accepted
    assert [request[2]["Host"] for request in server.requests] == ["tester.test", server.url.split("/")[2]]


@pytest.mark.parametrize(
    ("attempt", "status", "asked", "seconds"),
    [
        (1, 500, "", 1),
        (5, 500, "", 16),
        (6, 500, "", 30),
        (5000, 500, "", 30),
        (1, 500, "9", 1),
        (1, 429, "9", 9),
        (1, 503, "0", 0),
        (1, 503, "Tue, 24 Nov 2026 12:00:30 GMT", 30),
        (1, 503, "Tue, 24 Nov 2026 11:00:00 -0000", 0),
        (2, 503, "soon", 2),
        (2, 503, "-5", 2),
        (1, 503, "86400", LONGEST_RETRY_AFTER),
    ],
)
def test_pauses(attempt: int, status: int, asked: str, seconds: float) -> None:
    assert pause(attempt, status, asked, NOW) == seconds
