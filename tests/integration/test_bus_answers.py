"""Is the bus there? Asked of a real server that is there, dead, silent, or without what we need."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.nats import NatsServer
from shared.bus.broker import make_broker
from shared.runtime.settings import BusSettings
from tests.integration.bus_stage import ADMINS, DEADLINE, bootstrapped, joined, until

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path / "nats", more=ADMINS) as running:
        await bootstrapped(running)
        yield running


async def comes(answers: Callable[[], Awaitable[bool]]) -> None:
    """An answer: a machine that stands still for the door's three seconds hides any server, for once."""
    async with asyncio.timeout(DEADLINE):
        while not await answers():
            await asyncio.sleep(0.01)


async def test_it_answers_while_it_can_do_its_work_and_only_then(server: NatsServer) -> None:
    async with joined(server, "router", lambda _, __: None) as place:
        answers = place.broker.answers
        await comes(answers)
        server.kill()
        await until(place.broker.link.down.is_set)
        assert not await answers()
        server.wipe()
        await server.start()
        await until(lambda: not place.broker.link.down.is_set())
        assert not await answers(), "a server without our streams is of no use"
        await bootstrapped(server)
        await comes(answers)


async def test_a_server_that_holds_its_breath_does_not_answer(server: NatsServer) -> None:
    async with joined(server, "router", lambda _, __: None) as place:
        server.signal(signal.SIGSTOP)
        try:
            assert not await place.broker.answers()
            assert not place.broker.link.down.is_set(), "the connection is still taken for one"
        finally:
            server.signal(signal.SIGCONT)
        await comes(place.broker.answers)


async def test_before_the_first_connection_there_is_nobody_to_ask() -> None:
    broker = make_broker(BusSettings(), "router", lambda: None)
    assert not await broker.answers()
