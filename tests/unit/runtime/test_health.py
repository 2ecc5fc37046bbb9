"""Kubernetes is told the truth, whatever the truth is at the moment."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import aiohttp
import pytest

from shared.runtime import health
from shared.runtime.health import Health
from shared.runtime.metrics import CONTENT_TYPE, Metrics

Get = Callable[[str], Awaitable[tuple[int, object]]]


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 24, tzinfo=UTC)

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told(clock: Clock) -> Health:
    return Health(clock)


@pytest.fixture
async def get(told: Health) -> AsyncIterator[Get]:
    async with AsyncExitStack() as stack:
        port = await health.listen(told, Metrics("watcher"), host="127.0.0.1", port=0, stack=stack)
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def ask(path: str) -> tuple[int, object]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.json()

        yield ask


async def test_nothing_to_wait_for_is_ready(get: Get) -> None:
    assert await get("/readyz") == (200, {"status": "ready"})
    assert await get("/livez") == await get("/healthz") == (200, {"status": "alive"})


async def test_a_component_is_missing_until_it_says_otherwise_and_again_when_it_goes(told: Health, get: Get) -> None:
    told.component("nats")
    assert await get("/readyz") == (503, {"status": "no", "missing": {"nats": "not started yet"}})
    told.set("nats", True)
    assert (await get("/readyz"))[0] == 200
    told.set("nats", False)
    assert await get("/readyz") == (503, {"status": "no", "missing": {"nats": "not ok"}})
    assert (await get("/livez"))[0] == 200  # a missing bus is no reason to be restarted


async def test_registering_again_forgets_nothing(told: Health, get: Get) -> None:
    told.set("nats", True)
    told.component("nats")
    assert (await get("/readyz"))[0] == 200


async def test_a_probe_is_asked_each_time(told: Health, get: Get) -> None:
    problems = ["not connected", "", "not connected"]
    told.probe("nats", lambda: problems.pop(0))
    assert [(await get("/readyz"))[0] for _ in range(3)] == [503, 200, 503]


async def test_silence_is_death_until_the_next_beat(told: Health, get: Get, clock: Clock) -> None:
    beat = told.heartbeat("ears", within=10)
    clock.seconds = 10
    assert (await get("/livez"))[0] == 200
    clock.seconds = 11
    assert await get("/livez") == (503, {"status": "no", "missing": {"ears": "silent for 11 s"}})
    assert (await get("/healthz"))[0] == 503
    beat()
    assert (await get("/livez"))[0] == 200
    clock.seconds = 100
    told.stopped("ears")
    assert (await get("/livez"))[0] == 200
    told.beat("nobody")


async def test_metrics_are_served_as_prometheus_wants_them(told: Health) -> None:
    async with AsyncExitStack() as stack:
        port = await health.listen(told, Metrics("watcher"), host="127.0.0.1", port=0, stack=stack)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert answer.headers["Content-Type"] == CONTENT_TYPE
            assert "# TYPE serinus_facts_published_total counter" in await answer.text()
