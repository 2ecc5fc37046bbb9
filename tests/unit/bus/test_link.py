"""The voice of a connection: each change once, and when it's over."""

import asyncio
import logging

import pytest
from nats.errors import Error

from shared.bus.link import Link, unless


class Owner:
    """Counts what it's told."""

    def __init__(self) -> None:
        self.closed = self.changes = 0

    def on_closed(self) -> None:
        self.closed += 1

    def on_change(self) -> None:
        self.changes += 1


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def link(owner: Owner) -> Link:
    return Link(owner.on_closed, owner.on_change)


async def test_each_text_is_told_once_until_the_connection_is_back(
    link: Link, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        await link.error(OSError("first server\nis away"))
        await link.error(OSError("second server is away"))
    await link.back()
    await link.error(OSError("second server is away"))
    assert caplog.messages == [
        "NATS: OSError: first server is away",
        "NATS: OSError: second server is away",
        "connected to NATS again",
        "NATS: OSError: second server is away",
    ]


async def test_a_refusal_for_good_ends_it_and_anything_else_doesnt(link: Link, owner: Owner) -> None:
    await link.error(OSError("away"))
    await link.error(Error("nats: permissions violation for publish to 'x'"))
    assert owner.closed == 0
    await link.error(Error("nats: 'Authorization Violation'"))
    assert owner.closed == 1


async def test_losing_a_connection_is_news_unless_it_is_what_we_want(
    link: Link, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    await link.lost()
    assert (link.down.is_set(), owner.changes) == (True, 1)
    await link.back()
    assert (link.down.is_set(), owner.changes) == (False, 2)
    caplog.clear()
    link.ending()
    await link.lost()
    await link.closed()
    assert (owner.closed, owner.changes, caplog.messages) == (0, 2, [])


async def test_work_is_given_up_when_the_event_comes_first_and_answers_otherwise() -> None:
    event, given_up = asyncio.Event(), asyncio.Event()

    async def quick() -> str:
        return "done"

    async def broken() -> str:
        raise OSError("broken")

    async def endless() -> str:
        try:
            return await asyncio.Future[str]()
        finally:
            given_up.set()

    assert await unless(event, quick()) == "done"
    with pytest.raises(OSError, match="broken"):
        await unless(event, broken())
    asyncio.get_running_loop().call_soon(event.set)
    assert await unless(event, endless()) is None
    assert given_up.is_set()
