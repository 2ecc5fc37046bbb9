"""One question for many who ask it."""

import asyncio

import pytest

from services.analyzer.sharing import Sharing


class Source:
    """Answers with how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 0.0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    def monotonic(self) -> float:
        return self.now

    async def ask(self) -> int:
        self.asked += 1
        await self.gate.wait()
        if self.error:
            raise self.error
        return self.asked


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def sharing(source: Source) -> Sharing[int]:
    return Sharing(1.0, source.monotonic)


async def test_an_answer_serves_for_a_moment(source: Source, sharing: Sharing[int]) -> None:
    assert await sharing.get("a", source.ask) == 1
    assert await sharing.get("b", source.ask) == 2
    source.now = 0.9
    assert await sharing.get("a", source.ask) == 1
    source.now = 1.0
    assert await sharing.get("a", source.ask) == 3


async def test_those_who_ask_meanwhile_are_joined_and_may_leave(source: Source, sharing: Sharing[int]) -> None:
    source.gate.clear()
    first, second = (asyncio.create_task(sharing.get("a", source.ask)) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    source.gate.set()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failure_is_everybodys_who_waited_and_nobodys_after(source: Source, sharing: Sharing[int]) -> None:
    source.error = LookupError("no")
    asked = (sharing.get("a", source.ask), sharing.get("a", source.ask))
    failed = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in failed] == [LookupError, LookupError]
    source.error = None
    assert await sharing.get("a", source.ask) == 2


async def test_close_ends_what_is_under_way(source: Source, sharing: Sharing[int]) -> None:
    assert await sharing.get("done", source.ask) == 1
    source.gate.clear()
    waiting = asyncio.create_task(sharing.get("a", source.ask))
    await asyncio.sleep(0)
    await sharing.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
