"""Analyzers that share a durable on a real bus: each tick is judged once, and a dead one's by another."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import SecretStr

from sandbox.apiserver.server import ApiServer
from sandbox.listener import Listener
from sandbox.nats import NatsServer
from services.analyzer.app import app
from services.analyzer.settings import AnalyzerSettings
from shared.runtime import telemetry
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import Hook, Metric, MetricSource, Outcome, Provider, Purpose, SecretRef, Tick, Verdict
from tests.integration import bus_messages, bus_stage
from tests.integration.bus_stage import DEADLINE, Joined, Plain, as_user, joined, make_runtime
from tests.unit.runtime.running import running

pytestmark = pytest.mark.integration

NOWHERE = "http://127.0.0.1:1"
"""Where no API server is: no tick of these tests needs a secret, except the one that misses it."""


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with bus_stage.nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@dataclass
class Slow:
    """A Prometheus, and somebody's webhook, that take their time; they remember what was going on at once."""

    url: str = ""
    under_way: int = 0
    at_once: int = 0
    queries: Counter[str] = field(default_factory=Counter)
    calls: list[str] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.under_way += 1
        self.at_once = max(self.at_once, self.under_way)
        try:
            return await self._answer(request)
        finally:
            self.under_way -= 1

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path in ("/hook", "/hanging"):
            self.calls.append(request.headers["Serinus-Event-Id"])
            if request.path == "/hanging":
                await self.open.wait()
        else:
            query = request.query["query"]
            if "Authorization" in request.headers:
                self.authorizations.append(request.headers["Authorization"])
            self.queries[query] += 1
            if query.startswith("broken"):
                return web.Response(status=400, text="parse error")
        result = [{"metric": {}, "value": [0, "99.5"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest_asyncio.fixture
async def slow() -> AsyncIterator[Slow]:
    found = Slow()
    async with Listener(found.answer, grace=0.1) as listener:
        found.url = listener.url
        yield found
        found.open.set()


@pytest_asyncio.fixture
async def admin(nats: NatsServer) -> AsyncIterator[Plain]:
    async with as_user(nats, "admin") as found:
        await found.purge("TICK", "INBOX", "DEAD")
        yield found


@pytest_asyncio.fixture
async def router(nats: NatsServer, admin: Plain) -> AsyncIterator[Joined]:
    async with joined(nats, "router") as found:
        yield found


def settings(nats: NatsServer, **more: Any) -> AnalyzerSettings:
    password = SecretStr(nats.credentials["analyzer"])
    return AnalyzerSettings(**{"kube_url": NOWHERE, "nats_url": nats.url, "nats_password": password, **more})


@asynccontextmanager
async def analyzer(nats: NatsServer, **more: Any) -> AsyncIterator[Runtime]:
    async with AsyncExitStack() as stack:
        runtime = make_runtime(stack, "analyzer")
        try:
            await app(settings(nats, **more), runtime)
            yield runtime
            assert not runtime.failure, runtime.failure
        finally:
            runtime.stop.set()


def metric(query: str, url: str, **parts: Any) -> Metric:
    given = {"name": query, "source": MetricSource.QUERY, "query": query, "lower": 99.0} | parts
    return Metric(**{"provider": Provider(address=url), **given})


def patient(slow: Slow) -> Hook:
    """Waits until the test opens it, however long a machine stands still; queries are given up after five seconds."""
    return Hook(name="patient", type="rollout", url=f"{slow.url}/hanging", timeout_seconds=240)


def asking(number: int, *metrics: Metric, hooks: tuple[Hook, ...] = (), purpose: Purpose = Purpose.ANALYSIS) -> Tick:
    tick = bus_messages.tick(number, name=f"canary-{number}")
    asked = tick.question.model_copy(update={"purpose": purpose, "metrics": metrics, "hooks": hooks})
    return tick.model_copy(update={"question": asked})


async def send(router: Joined, *ticks: Tick) -> None:
    for tick in ticks:
        subject = subjects.tick(tick.canary.namespace, tick.canary.name)
        await router.publisher.publish(subject, tick, stream="TICK")


async def stored(admin: Plain) -> list[tuple[dict[str, str], Verdict]]:
    """All verdicts in the inbox, with their headers."""
    state = await admin.state("INBOX")
    found = []
    for number in range(state["first_seq"], state["last_seq"] + 1):
        message = (await admin.api("STREAM.MSG.GET.INBOX", {"seq": number}))["message"]
        lines = base64.b64decode(message["hdrs"]).decode().splitlines()
        headers = dict(line.split(": ", 1) for line in lines if ": " in line)
        found.append((headers, Verdict.model_validate_json(base64.b64decode(message["data"]))))
    return found


async def verdicts(admin: Plain, count: int) -> list[Verdict]:
    """Once there are so many, and no tick is left."""
    async with asyncio.timeout(DEADLINE):
        while (await admin.state("INBOX"))["messages"] < count or (await admin.state("TICK"))["messages"]:
            await asyncio.sleep(0.02)
    return [verdict for _, verdict in await stored(admin)]


async def test_each_tick_is_judged_once_by_one_of_two(
    nats: NatsServer, admin: Plain, router: Joined, slow: Slow
) -> None:
    async with analyzer(nats) as one, analyzer(nats) as two:
        hook = Hook(name="load-test", type="rollout", url=f"{slow.url}/hook")
        await send(router, *(asking(number, metric(f"up{number}", slow.url), hooks=(hook,)) for number in range(40)))
        found = await verdicts(admin, 40)
        assert {verdict.canary.name for verdict in found} == {f"canary-{number}" for number in range(40)}
        assert len(found) == 40
        assert all(verdict.outcome is Outcome.PASS for verdict in found)
        assert set(slow.queries.values()) == {1}
        assert len(slow.calls) == len(set(slow.calls)) == 40
        shares = [int(total(each, "serinus_verdicts_total")) for each in (one, two)]
        assert sum(shares) == 40
        assert min(shares) >= 4, shares


def total(runtime: Runtime, name: str) -> float:
    lines = runtime.metrics.render().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


@pytest.mark.parametrize(("replicas", "at_once"), [(1, 3), (4, 12)])
async def test_replicas_add_up(
    nats: NatsServer, admin: Plain, router: Joined, slow: Slow, replicas: int, at_once: int
) -> None:
    """With a webhook that keeps everybody waiting, what is judged at once grows with the replicas."""
    first = 1000 * replicas  # the bus remembers verdicts for minutes, so each test has ticks of its own
    async with AsyncExitStack() as stack:
        for _ in range(replicas):
            await stack.enter_async_context(analyzer(nats, analyzer_concurrency=3))
        await send(router, *(asking(first + n, hooks=(patient(slow),)) for n in range(30)))
        async with asyncio.timeout(DEADLINE):
            while slow.under_way < at_once or (await waiting(admin)) != (at_once, 30 - at_once):
                await asyncio.sleep(0.02)
        slow.open.set()
        assert len(await verdicts(admin, 30)) == 30
    assert slow.at_once == at_once


async def waiting(admin: Plain) -> tuple[int, int]:
    """Ticks that somebody is judging, and those that nobody has taken."""
    info = await admin.api("CONSUMER.INFO.TICK.analyzer")
    return info["num_ack_pending"], info["num_pending"]


async def test_a_tick_that_was_armed_again_gives_its_verdict_again_and_one_call(
    nats: NatsServer, admin: Plain, router: Joined, slow: Slow
) -> None:
    """As after a router that died between the tick and its acknowledgement: a second verdict is stale to it. Or after one
    that couldn't read the first: without the second it would wait until the bus forgets the first."""
    hook = Hook(name="load-test", type="rollout", url=f"{slow.url}/hook")
    tick = asking(100, hooks=(hook,))
    async with analyzer(nats) as one:
        for number in (1, 2):
            await send(router, tick)
            async with asyncio.timeout(DEADLINE):
                while total(one, "serinus_verdicts_total") < number:
                    await asyncio.sleep(0.01)
        first, second = await verdicts(admin, 2)
        assert first.id == second.id
        assert len(slow.calls) == 1


async def test_a_killed_ones_tick_is_judged_by_another_after_one_ack_wait(
    nats: NatsServer, admin: Plain, router: Joined, slow: Slow
) -> None:
    tick = asking(200, hooks=(patient(slow),))
    env = nats.env("analyzer") | {"SERINUS_KUBE_URL": NOWHERE, "SERINUS_HTTP_HOST": "127.0.0.1"}
    async with running("services.analyzer", SERINUS_HTTP_PORT="0", **env) as doomed:
        await doomed.said("connected to NATS")
        await send(router, tick)
        async with asyncio.timeout(DEADLINE):
            while not slow.under_way:
                await asyncio.sleep(0.01)
        doomed.process.kill()
        await doomed.ended()
    assert await waiting(admin) == (1, 0)
    slow.open.set()
    await ack_wait(admin, 5.0)  # only now, or a slow machine is given it again before it's killed
    async with analyzer(nats):
        (verdict,) = await verdicts(admin, 1)
    assert (verdict.cause, verdict.outcome) == (tick.id, Outcome.PASS)
    assert slow.calls == [f"{tick.id}/0/patient"] * 2
    await ack_wait(admin, 15.0)


async def ack_wait(admin: Plain, seconds: float) -> None:
    """The durable's own, 15 s, is too long for a test that waits for it."""
    config = await admin.config("CONSUMER", "TICK.analyzer")
    wanted = {"stream_name": "TICK", "config": config | {"ack_wait": int(seconds * 10**9)}, "action": "update"}
    assert "error" not in await admin.api("CONSUMER.CREATE.TICK.analyzer.serinus.tick.>", wanted)


async def test_told_to_stop_it_ends_what_it_has_begun(
    nats: NatsServer, admin: Plain, router: Joined, slow: Slow
) -> None:
    env = nats.env("analyzer") | {"SERINUS_KUBE_URL": NOWHERE, "SERINUS_HTTP_HOST": "127.0.0.1"}
    async with running("services.analyzer", SERINUS_HTTP_PORT="0", **env) as child:
        await child.said("connected to NATS")
        await send(router, asking(300, hooks=(patient(slow),)))
        async with asyncio.timeout(DEADLINE):
            while not slow.under_way:
                await asyncio.sleep(0.01)
        child.process.terminate()
        await child.said("told to stop")
        slow.open.set()
        assert await child.ended() == 0
    judged = [line for line in child.lines if line["msg"] == "judged analysis: pass"]
    assert [(line["canary"], line["cause"]) for line in judged] == [("canary-300.shop", "tick/canary-300/300")]
    (verdict,) = await verdicts(admin, 1)
    assert verdict.judged_by.endswith(f"/{child.process.pid}")


@pytest.mark.parametrize("delay", [0.0, 0.4])
async def test_a_trace_goes_on_through_the_verdict(
    nats: NatsServer, admin: Plain, router: Joined, slow: Slow, delay: float
) -> None:
    """Also of a tick that the bus has held until it was due: a rollout is one trace."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    begun = telemetry.extract({"traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    tick = asking(int(400 + 10 * delay))
    due = router.runtime.clock.now() + timedelta(seconds=delay)
    async with analyzer(nats):
        with router.runtime.tracer.start_as_current_span("x", begun):
            await router.publisher.schedule(tick.canary.namespace, tick.canary.name, tick, due)
        await verdicts(admin, 1)
    ((headers, verdict),) = await stored(admin)
    assert headers["traceparent"].split("-")[1] == trace
    assert headers["Nats-Msg-Id"].startswith(f"{verdict.id}/")


async def test_whatever_is_wrong_each_check_says_what_and_nothing_blocks(
    nats: NatsServer, admin: Plain, router: Joined, slow: Slow
) -> None:
    """A broken query, a dead Prometheus, a hanging webhook, a secret nobody can read, a question that isn't one."""
    secret = SecretRef(namespace="shop", name="prometheus")
    guarded = Provider(address=slow.url, secret=secret, template="errors.shop")
    tick = asking(
        500,
        metric("fine", slow.url),
        metric("broken", slow.url),
        metric("dead", NOWHERE),
        metric("guarded", slow.url, source=MetricSource.TEMPLATE, provider=guarded),
        metric("", slow.url, name="empty"),
        hooks=(Hook(name="slow", type="rollout", url=f"{slow.url}/hanging", timeout_seconds=0.1),),
    )
    async with analyzer(nats):
        await admin.client.publish("serinus.tick.shop.canary-501", b'{"wire": 1, "kind": "tick"', headers={})
        await send(router, tick, asking(502, metric("fine", slow.url)))
        found = {verdict.canary.name: verdict for verdict in await verdicts(admin, 2)}
        async with asyncio.timeout(DEADLINE):
            while not (await admin.state("DEAD"))["messages"]:
                await asyncio.sleep(0.02)
    assert found["canary-502"].outcome is Outcome.PASS
    verdict = found["canary-500"]
    assert verdict.outcome is Outcome.FAIL
    assert {check.name: (check.outcome.value, check.message) for check in verdict.checks} == {
        "slow": (
            "fail",
            f"Halt canary-500.shop advancement external check slow failed POST {slow.url}/hanging "
            "giving up after 1 attempt(s): context deadline exceeded",
        ),
        "fine": ("pass", ""),
        "broken": (
            "error",
            "Prometheus query failed for broken: error response: Status 400 Bad Request: parse error",
        ),
        "dead": ("error", "Prometheus query failed for dead: request failed: connection refused"),
        "guarded": ("hold", ""),
        "empty": ("error", "Metric query failed for no usable metrics template and query were configured"),
    }
    assert json.loads(verdict.model_dump_json())["checks"][0]["reason"]


async def test_a_missing_secret_is_an_error_until_it_is_there(
    nats: NatsServer, admin: Plain, router: Joined, slow: Slow
) -> None:
    """By the API emulator; the secret's content reaches Prometheus and nobody else."""
    secret = SecretRef(namespace="default", name="prometheus")
    guarded = Provider(address=slow.url, secret=secret, template="errors.default")
    asked = metric("errors", slow.url, source=MetricSource.TEMPLATE, provider=guarded)
    async with ApiServer() as cluster, cluster.api() as people, analyzer(nats, kube_url=cluster.url):
        await send(router, asking(600, asked))
        (missing,) = await verdicts(admin, 1)
        data = {"username": "bWU=", "password": "aHVudGVyMg=="}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "prometheus"}, "data": data}
        await people.create("/api/v1/namespaces/default/secrets", body)
        await send(router, asking(601, asked))
        _, found = await verdicts(admin, 2)
        verbs = {each.verb for each in cluster.requests if each.agent == "serinus-analyzer"}
    assert [(check.outcome, check.message) for check in missing.checks] == [
        (Outcome.ERROR, 'Metric template errors.default secret prometheus error: secrets "prometheus" not found')
    ]
    assert found.outcome is Outcome.PASS
    assert slow.authorizations == ["Basic bWU6aHVudGVyMg=="]
    assert "hunter2" not in found.model_dump_json()
    assert verbs == {"get"}
