"""Looks between two ticks on a real bus: each has NATS hold the next, until one finds a broken canary or the tick is due."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from aiohttp import web

from sandbox.listener import Listener
from sandbox.nats import NatsServer
from shared.wire.messages import Comparison, Glance, Provider, TickId
from tests.integration import bus_messages, bus_stage
from tests.integration.bus_stage import DEADLINE, Plain, as_user, joined
from tests.integration.test_analyzer import analyzer, stored

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with bus_stage.nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture
async def admin(nats: NatsServer) -> AsyncIterator[Plain]:
    async with as_user(nats, "admin") as found:
        await found.purge("TICK", "INBOX", "DEAD")
        yield found


@dataclass
class Numbers:
    """A Prometheus with one answer, which may change."""

    failed: int = 0
    canary: int = 100
    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request.query["query"])
        counted = [
            ("10.0.0.7", "500", self.failed),
            ("10.0.0.7", "200", self.canary - self.failed),
            ("10.0.0.1", "200", 900),
        ]
        if "latency" in self.asked[-1]:
            result = [{"metric": {"node": "10.0.0.7", "le": le}, "value": [0, "100"]} for le in ("10", "+Inf")]
        else:
            result = [{"metric": {"node": node, "code": code}, "value": [0, str(n)]} for node, code, n in counted]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@pytest_asyncio.fixture
async def numbers() -> AsyncIterator[Numbers]:
    found = Numbers()
    async with Listener(found.answer, grace=0.1) as listener:
        found.url = listener.url
        yield found


def look(numbers: Numbers, seq: int, due: timedelta, *, drain: bool | None = None) -> Glance:
    now = datetime.now(UTC)
    comparison = Comparison(
        provider=Provider(address=numbers.url), route="r", canary="10[.]0[.]0[.]7", primary="10[.]0[.]0[.]1",
        since=now - timedelta(seconds=40), alpha=0.001, floor=0.1,
    )  # fmt: skip
    return Glance(
        id=f"glance/{seq}",
        canary=bus_messages.ref(),
        tick=TickId(revision="r1", seq=seq, due=now + due),
        comparison=comparison,
        every_seconds=1.0,
        drain=drain,
    )


async def test_looks_go_on_until_a_canary_is_broken(nats: NatsServer, admin: Plain, numbers: Numbers) -> None:
    async with joined(nats, "router") as router, analyzer(nats):
        glance = look(numbers, 1, timedelta(minutes=5))
        await router.publisher.glance("shop", "web", glance, datetime.now(UTC) + timedelta(seconds=1))
        async with asyncio.timeout(DEADLINE):
            while len(numbers.asked) < 2:
                await asyncio.sleep(0.05)
        assert await stored(admin) == []
        numbers.failed = 90
        async with asyncio.timeout(DEADLINE):
            while (await admin.state("INBOX"))["messages"] < 1 or (await admin.state("TICK"))["messages"]:
                await asyncio.sleep(0.05)
        [(_, verdict)] = await stored(admin)
    assert (verdict.tick, verdict.outcome) == (glance.tick, "fail")
    assert (verdict.abort or "").startswith("canary failed 90 of 100 requests, primary 0 of 900; more than 10%")


async def test_looks_at_a_drain_go_on_until_nothing_reaches_the_canary(
    nats: NatsServer, admin: Plain, numbers: Numbers
) -> None:
    async with joined(nats, "router") as router, analyzer(nats):
        glance = look(numbers, 5, timedelta(minutes=5), drain=True)
        await router.publisher.glance("shop", "web", glance, datetime.now(UTC) + timedelta(seconds=1))
        async with asyncio.timeout(DEADLINE):
            while len(numbers.asked) < 4:
                await asyncio.sleep(0.05)
        assert await stored(admin) == []
        numbers.canary = 0
        async with asyncio.timeout(DEADLINE):
            while (await admin.state("INBOX"))["messages"] < 1 or (await admin.state("TICK"))["messages"]:
                await asyncio.sleep(0.05)
        [(_, verdict)] = await stored(admin)
    assert (verdict.tick, verdict.purpose, verdict.outcome) == (glance.tick, "timer", "pass")


async def test_looks_end_when_the_tick_comes(nats: NatsServer, admin: Plain, numbers: Numbers) -> None:
    """And not before. A look that comes late, on a machine that stood still, may find the tick due and ask nothing."""
    async with joined(nats, "router") as router, analyzer(nats):
        glance = look(numbers, 2, timedelta(seconds=5))
        await router.publisher.glance("shop", "web", glance, datetime.now(UTC) + timedelta(seconds=1))
        async with asyncio.timeout(DEADLINE):
            while (await admin.state("TICK"))["messages"]:
                await asyncio.sleep(0.05)
    assert datetime.now(UTC) >= glance.tick.due - timedelta(seconds=glance.every_seconds)
    assert len(numbers.asked) <= 5
    assert await stored(admin) == []


async def test_a_next_look_gives_way_to_one_that_is_there(nats: NatsServer, admin: Plain, numbers: Numbers) -> None:
    """The router has armed a newer question meanwhile, or the look was delivered twice."""
    later = datetime.now(UTC) + timedelta(minutes=5)
    newer, older = (look(numbers, seq, timedelta(minutes=9)) for seq in (4, 3))
    async with joined(nats, "router") as router:
        await router.publisher.glance("shop", "web", newer, later)
        await router.publisher.glance("shop", "web", older, later, next_one=True)
        held = await router.publisher.last("TICK", "serinus.glance-schedule.shop.web")
        assert held is not None
        assert Glance.model_validate_json(held[1]) == newer
        await router.publisher.glance("shop", "web", older, later)
        held = await router.publisher.last("TICK", "serinus.glance-schedule.shop.web")
        assert held is not None
        assert Glance.model_validate_json(held[1]) == older
