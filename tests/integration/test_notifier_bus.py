"""The notifier on a real NATS, in front of an API server and HTTP receivers: what is told once, and what survives what."""

import asyncio
import itertools
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from sandbox.apiserver.server import ApiServer
from sandbox.controlplane.api import Api
from sandbox.nats import NatsServer
from sandbox.ports import free_port
from sandbox.receiver import Post, Receiver
from services.notifier.app import app
from services.notifier.settings import NotifierSettings
from shared.bus.publish import Publisher
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import Notice, Severity
from tests.integration.bus_stage import DEADLINE, as_user, joined, make_runtime, nats_server, process, until
from tests.unit.notifier.told import alert, event, hook, notice, route

pytestmark = pytest.mark.integration

SAID = "New revision detected."
EVENTS = "/api/v1/namespaces/test/events"
PROVIDERS = "/apis/flagger.app/v1beta1/namespaces/test/alertproviders"
CRD = yaml.safe_load(Path("k8s/crds/alertproviders.yaml").read_text())
_copies = itertools.count()


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def server(nats: NatsServer) -> NatsServer:
    async with as_user(nats, "admin") as admin:
        await admin.purge(subjects.NOTICE_STREAM, subjects.DEAD_STREAM, f"KV_{subjects.MARKER_BUCKET}")
    return nats


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer() as found:
        async with Api(found.url, found.admin_token) as client:
            await client.create("/api/v1/namespaces", {"metadata": {"name": "test"}})
            await client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
        yield found


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as found:
        yield found


def settings(server: NatsServer, api_url: str, **more: str) -> NotifierSettings:
    secret = {name: SecretStr(value) for name, value in more.items()}
    password = SecretStr(server.credentials["notifier"])
    return NotifierSettings.model_validate(
        {"nats_url": server.url, "nats_password": password, "kube_url": api_url, **secret}
    )


@asynccontextmanager
async def notifier(found: NotifierSettings) -> AsyncIterator[Runtime]:
    async with AsyncExitStack() as stack:
        runtime = make_runtime(stack, "notifier")
        await app(found, runtime)
        yield runtime
        runtime.stop.set()


async def publish(outbox: Publisher, *notices: Notice) -> None:
    """As the router does, but under ids of their own: the bus shall not recognise copies."""
    for each in notices:
        subject = subjects.notice(each.event.canary.namespace, each.event.canary.name)
        await outbox.publish(subject, each, stream=subjects.NOTICE_STREAM, message_id=f"{each.id}/{next(_copies)}")


async def counts(api: ApiServer) -> dict[str, int]:
    async with Api(api.url, api.admin_token) as client:
        return {each["message"]: each["count"] for each in (await client.get(EVENTS))["items"]}


async def settled(server: NatsServer) -> None:
    """Every notice is acknowledged by all three."""
    async with as_user(server, "admin") as admin, asyncio.timeout(DEADLINE):
        for durable in (subjects.EVENTS_DURABLE, subjects.ALERTS_DURABLE, subjects.WEBHOOKS_DURABLE):
            while True:
                info = await admin.api(f"CONSUMER.INFO.{subjects.NOTICE_STREAM}.{durable}")
                if not info["num_pending"] and not info["num_ack_pending"]:
                    break
                await asyncio.sleep(0.02)


def texts(posts: list[Post]) -> list[str]:
    return [post.json["attachments"][0]["text"] for post in posts]


async def test_events_count_exactly_once_whatever_is_delivered_again(server: NatsServer, api: ApiServer) -> None:
    story = [notice(event(f"text {seq % 3}", seq=seq)) for seq in range(1, 31)]
    async with joined(server, "router") as router:
        for _ in range(3):
            await publish(router.publisher, *story)
    first, second = (settings(server, api.url) for _ in range(2))
    async with notifier(first), notifier(second):
        await settled(server)
    assert await counts(api) == {"text 0": 10, "text 1": 10, "text 2": 10}


async def test_the_cost_of_an_event_is_one_write(server: NatsServer, api: ApiServer) -> None:
    async with notifier(settings(server, api.url)), joined(server, "router") as router:
        await until(lambda: any(each.path.startswith(PROVIDERS.partition("/test")[0]) for each in api.requests))
        api.requests.clear()
        for seq in range(1, 6):
            await publish(router.publisher, notice(event("again", seq=seq)))
            await settled(server)
    asked = [each.verb for each in api.requests if each.agent == "serinus-notifier"]
    assert asked == ["create", "patch", "patch", "patch", "patch"]
    assert await counts(api) == {"again": 5}


async def test_a_dead_slack_holds_up_neither_events_nor_webhooks(
    server: NatsServer, api: ApiServer, receiver: Receiver
) -> None:
    slack = Receiver(status=503)
    told = [
        notice(
            event(f"text {seq}", seq=seq, at=datetime.now(UTC)),
            alert=alert(Severity.ERROR),
            hooks=(hook(url=f"{receiver.url}/hook"),),
        )
        for seq in range(1, 13)
    ]
    async with (
        slack,
        joined(server, "router") as router,
        notifier(settings(server, api.url, slack_url=f"{slack.url}/T/B/s3cret")),
    ):
        await publish(router.publisher, *told)
        hooked = await receiver.until(12, path="/hook")
        await slack.until(12)
        async with asyncio.timeout(DEADLINE):
            while len(await counts(api)) < 12:
                await asyncio.sleep(0.02)
        slack.status = 200
        await settled(server)
    assert sorted(post.json["metadata"]["eventMessage"] for post in hooked) == sorted(
        f"text {seq}" for seq in range(1, 13)
    )
    assert set(texts(slack.posts)) == {SAID}
    ids = [post.headers["Serinus-Event-Id"] for post in slack.posts]
    assert set(ids) == {f"u-1:{seq}" for seq in range(1, 13)}
    assert set(await counts(api)) == {f"text {seq}" for seq in range(1, 13)}


async def test_providers_are_read_by_name_with_their_secrets(
    server: NatsServer, api: ApiServer, receiver: Receiver
) -> None:
    async with Api(api.url, api.admin_token) as client:
        for name, spec in {
            "plain": {"type": "msteams", "address": f"{receiver.url}/teams"},
            "hidden": {"type": "slack", "channel": "ops", "secretRef": {"name": "slack"}},
        }.items():
            await client.create(PROVIDERS, {
                "apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": {"name": name}, "spec": spec,
            })  # fmt: skip
        data = {"address": f"{receiver.url}/slack", "token": "xoxb"}
        encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
        await client.create("/api/v1/namespaces/test/secrets", {"metadata": {"name": "slack"}, "data": encoded})
    about = notice(
        event(at=datetime.now(UTC)),
        alert=alert(Severity.WARN, route("plain"), route("hidden", "warn"), route("absent")),
    )
    async with notifier(settings(server, api.url)) as runtime, joined(server, "router") as router:
        await publish(router.publisher, about)
        await settled(server)
        measured = runtime.metrics.render().decode()
    by_path = {post.path: post for post in receiver.posts}
    assert set(by_path) == {"/teams", "/slack"}
    assert by_path["/teams"].json["sections"][0]["activityTitle"] == SAID
    assert by_path["/slack"].json["channel"] == "ops"
    assert by_path["/slack"].headers["Authorization"] == "Bearer xoxb"
    for provider, outcome in (("msteams", "delivered"), ("slack", "delivered"), ("unknown", "refused")):
        assert f'serinus_alerts_total{{outcome="{outcome}",provider="{provider}"}} 1.0' in measured


async def test_what_is_older_than_a_day_is_not_told(server: NatsServer, api: ApiServer, receiver: Receiver) -> None:
    old = event("old", seq=1, at=datetime.now(UTC) - timedelta(days=2))
    new = event("new", seq=2, at=datetime.now(UTC))
    async with joined(server, "router") as router:
        await publish(router.publisher, notice(old, alert=alert()), notice(new, alert=alert()))
        async with notifier(settings(server, api.url, slack_url=receiver.url)):
            await settled(server)
    assert [post.headers["Serinus-Event-Id"] for post in receiver.posts] == ["u-1:2"]
    assert await counts(api) == {"old": 1, "new": 1}


async def test_not_ready_without_an_api_server_and_nothing_is_lost(server: NatsServer, api: ApiServer) -> None:
    await api.stop()
    async with joined(server, "router") as router:
        await publish(router.publisher, notice(event("patient", seq=1)))
        async with notifier(settings(server, api.url)) as runtime:
            await until(lambda: runtime.health.missing() == {"kubernetes": "the API server doesn't answer"})
            await api.start()
            await until(lambda: not runtime.health.missing())
            await settled(server)
            await api.stop()
            await publish(router.publisher, notice(event("patient", seq=2)))
            await until(lambda: "kubernetes" in runtime.health.missing())
            await api.start()
            await settled(server)
            assert runtime.health.missing() == {}
    assert await counts(api) == {"patient": 2}


async def _ack_wait(server: NatsServer, seconds: float) -> None:
    """What a dead process held comes back after so long; the durables' own half minute is too long for a test."""
    async with as_user(server, "admin") as admin:
        for durable in (subjects.EVENTS_DURABLE, subjects.ALERTS_DURABLE, subjects.WEBHOOKS_DURABLE):
            config: dict[str, Any] = await admin.config("CONSUMER", f"{subjects.NOTICE_STREAM}.{durable}")
            answer = await admin.api(
                f"CONSUMER.CREATE.{subjects.NOTICE_STREAM}.{durable}",
                {
                    "stream_name": subjects.NOTICE_STREAM,
                    "config": config | {"ack_wait": int(seconds * 10**9)},
                    "action": "update",
                },
            )
            assert "error" not in answer, answer


def environment(server: NatsServer, api: ApiServer, receiver: Receiver) -> Mapping[str, str]:
    return server.env("notifier") | {
        "SERINUS_KUBE_URL": api.url,
        "SERINUS_HTTP_PORT": str(free_port()),
        "EVENT_WEBHOOK_URL": f"{receiver.url}/hook",
    }


async def test_only_what_was_under_way_at_a_death_is_repeated_and_says_so(
    server: NatsServer, api: ApiServer, receiver: Receiver
) -> None:
    await _ack_wait(server, 2)
    slow = Receiver(delay=60)
    async with slow, Api(api.url, api.admin_token) as client, joined(server, "router") as router:
        for name, url in (("quick", receiver.url), ("slow", slow.url)):
            spec = {"type": "slack", "address": f"{url}/{name}"}
            await client.create(PROVIDERS, {
                "apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": {"name": name}, "spec": spec,
            })  # fmt: skip
        about = notice(event("once", at=datetime.now(UTC)), alert=alert(Severity.INFO, route("quick"), route("slow")))
        env = environment(server, api, receiver)
        async with process("services.notifier", env=env) as first:
            await first.said("connected to NATS")
            await publish(router.publisher, about)
            await slow.until(1)
            await receiver.until(2)
            done = f"$KV.{subjects.MARKER_BUCKET}.>"
            async with as_user(server, "admin") as admin, asyncio.timeout(DEADLINE):
                while await _noted(admin, done) < 2:
                    await asyncio.sleep(0.01)
            first.process.kill()
            await first.ended()
        slow.delay = 0
        async with process("services.notifier", env=env) as second:
            posts = await slow.until(2)
            await settled(server)
            second.process.terminate()
            assert await second.ended() == 0
            lines = [json.loads(line) for line in [*first.lines, *second.lines]]
    assert texts(posts) == [SAID, f"{SAID} (repeated)"]
    assert {post.headers["Serinus-Event-Id"] for post in posts} == {"u-1:7"}
    assert sorted(post.path for post in receiver.posts) == ["/hook", "/quick"]
    assert await counts(api) == {"once": 1}
    assert {line["service"] for line in lines} == {"notifier"}


async def _noted(admin: Any, subject: str) -> int:
    """How many tellings are noted as done."""
    info = await admin.api(f"STREAM.INFO.KV_{subjects.MARKER_BUCKET}", {"subjects_filter": subject})
    found = 0
    for each in info["state"].get("subjects") or {}:
        answer = await admin.client.request(
            f"$JS.API.DIRECT.GET.KV_{subjects.MARKER_BUCKET}", json.dumps({"last_by_subj": each}).encode(), timeout=5
        )
        found += answer.data.startswith(b"done")
    return found


async def test_a_wrong_setting_stops_the_process_with_one_line(
    server: NatsServer, api: ApiServer, receiver: Receiver
) -> None:
    env = {**environment(server, api, receiver), "SLACK_URL": "hooks.slack.test/s3cret"}
    async with process("services.notifier", env=env) as child:
        assert await child.ended() == 2
        (line,) = child.lines
    assert "SLACK_URL" in line
    assert "s3cret" not in line
