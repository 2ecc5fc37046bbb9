"""Analyzers scale alone: 1 → 4 → 1 replicas in the middle of 50 rollouts, against a Prometheus that takes a second a query.

The rollouts are played by a router that arms the next tick as soon as it has a verdict, so that there is always work.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from aiohttp import web
from pydantic import TypeAdapter

from sandbox.listener import Listener
from sandbox.nats import NatsServer
from shared.bus.broker import Broker
from shared.bus.consume import consume
from shared.bus.delivery import Delivery
from shared.bus.publish import Publisher
from shared.bus.streams import PARTITIONS
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import Outcome, Verdict
from tests.integration import bus_stage
from tests.integration.bus_stage import DEADLINE, Plain, as_user, joined, until
from tests.integration.test_analyzer import NOWHERE, ack_wait, asking, metric
from tests.unit.runtime.running import Child, running

pytestmark = pytest.mark.integration

CANARIES = 50
ACK_WAIT = 5.0
"""No less than a query may take: one whose tick is given to somebody else meanwhile is asked once for both."""
AT_ONCE = 8
"""Ticks that one replica judges at the same time, by default."""


@dataclass
class Rollouts:
    """Fifty canaries that go from tick to tick."""

    prometheus: str
    publisher: Publisher | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    going: bool = True

    async def begin(self) -> None:
        for number in range(CANARIES):
            await self._arm(f"canary-{number}", 1)

    async def on_verdict(self, verdict: Verdict, _: Delivery) -> None:
        self.verdicts.append(verdict)
        if self.going:
            await self._arm(verdict.canary.name, verdict.tick.seq + 1)

    async def _arm(self, name: str, seq: int) -> None:
        assert self.publisher is not None
        tick = asking(seq, metric(f"{name} {seq}", self.prometheus)).model_copy(update={"id": f"tick/{name}/{seq}"})
        tick = tick.model_copy(update={"canary": tick.canary.model_copy(update={"name": name, "uid": f"uid-{name}"})})
        await self.publisher.publish(subjects.tick(tick.canary.namespace, name), tick, stream="TICK")

    def register(self, broker: Broker, runtime: Runtime) -> None:
        for number in range(PARTITIONS):
            consume(
                broker,
                stream=subjects.INBOX_STREAM,
                durable=subjects.router_durable(PARTITIONS, number),
                filter_subject=subjects.inbox_partition(PARTITIONS, number),
                decode=TypeAdapter(Verdict),
                handler=self.on_verdict,
                runtime=runtime,
                service="router",
                max_deliver=20,
            )


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with bus_stage.nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@dataclass
class Queries:
    """A Prometheus that takes a second, and counts how many it has in hand. No longer: queries are given up after five."""

    url: str = ""
    under_way: int = 0
    most: int = 0
    answered: int = 0
    wanted: int = 0
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/api/v1/query":  # an analyzer also asks, once, which version this is
            return web.Response(status=404)
        self.under_way += 1
        self._look()
        try:
            await asyncio.sleep(1.0)
            await self.enough.wait()
        finally:
            self.under_way -= 1
        self.answered += 1
        result = [{"metric": {}, "value": [0, "100"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

    async def become(self, number: int) -> None:
        """So many at once, and never more while twice as many are answered. The first ones are kept until all are there."""
        self.most, self.wanted = 0, number
        self.enough.clear()
        self._look()
        await until(self.enough.is_set)
        last = self.answered + 2 * number
        await until(lambda: self.answered >= last)
        assert self.most == number

    def _look(self) -> None:
        self.most = max(self.most, self.under_way)
        if self.most >= self.wanted:
            self.enough.set()


@pytest_asyncio.fixture
async def prometheus() -> AsyncIterator[Queries]:
    found = Queries()
    async with Listener(found.answer, grace=0.1) as listener:
        found.url = listener.url
        yield found


async def replica(stack: AsyncExitStack, nats: NatsServer) -> Child:
    env = nats.env("analyzer") | {"SERINUS_KUBE_URL": NOWHERE, "SERINUS_HTTP_HOST": "127.0.0.1"}
    child = await stack.enter_async_context(running("services.analyzer", SERINUS_HTTP_PORT="0", **env))
    await child.said("connected to NATS")
    return child


async def drained(admin: Plain) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await admin.state("TICK"))["messages"] or (await admin.state("INBOX"))["messages"]:
            await asyncio.sleep(0.05)


async def test_one_to_four_to_one(nats: NatsServer, prometheus: Queries) -> None:
    rollouts = Rollouts(prometheus.url)
    async with (
        AsyncExitStack() as stack,
        as_user(nats, "admin") as admin,
        joined(nats, "router", rollouts.register) as router,
    ):
        await ack_wait(admin, ACK_WAIT)
        rollouts.publisher = router.publisher
        replicas = [await replica(stack, nats)]
        await rollouts.begin()
        await prometheus.become(AT_ONCE)
        replicas += [await replica(stack, nats) for _ in range(3)]
        await prometheus.become(4 * AT_ONCE)
        replicas[0].process.kill()
        await asyncio.gather(*(each.ended() for each in replicas[:1]))
        for leaving in replicas[1:3]:
            leaving.process.terminate()
            assert await leaving.ended() == 0
        rollouts.going = False
        await drained(admin)
        assert replicas[3].process.returncode is None
    assert all(verdict.outcome is Outcome.PASS for verdict in rollouts.verdicts)
    told: dict[str, list[int]] = defaultdict(list)
    for verdict in rollouts.verdicts:
        told[verdict.canary.name].append(verdict.tick.seq)
    assert len(told) == CANARIES
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in told.values()), told
    shares = Counter(verdict.judged_by.rpartition("/")[2] for verdict in rollouts.verdicts)
    assert shares.keys() == {str(each.process.pid) for each in replicas}
