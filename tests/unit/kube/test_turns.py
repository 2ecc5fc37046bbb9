"""Hundreds of lists and watches that begin in the same moment are asked for a few at a time."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from shared.kube import kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.kube.turns import Turns
from tests.unit.kube.moody import eventually

NAMESPACES = [f"team-{number}" for number in range(20)]


class Slow:
    """Answers when it's let. `asked` waits for an answer, `most` did so at once."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.asked = self.most = 0

    async def _answer(self) -> None:
        self.asked += 1
        self.most = max(self.most, self.asked)
        try:
            await self.let.wait()
        finally:
            self.asked -= 1

    async def pages(
        self, kind: Kind, namespace: str | None, label_selector: str = "", metadata_only: bool = False, limit: int = 500
    ) -> AsyncIterator[tuple[list[Json], str]]:
        await self._answer()
        yield [], namespace or ""

    async def watch(
        self, kind: Kind, namespace: str | None, version: str, seconds: int, *, metadata_only: bool = False
    ) -> AsyncGenerator[Json, None]:
        await self._answer()
        yield {}
        yield {"type": namespace}
        await asyncio.Event().wait()

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        return {"metadata": {"name": name}}


async def test_lists_wait_for_their_turn_and_all_are_answered() -> None:
    source = Slow()
    turns = Turns(source, at_once=3)

    async def listed(namespace: str) -> str:
        return "".join([version async for _, version in turns.pages(kinds.SERVICE, namespace)])

    lists = [asyncio.create_task(listed(each)) for each in NAMESPACES]
    await eventually(lambda: source.asked == 3)
    assert await turns.get(kinds.SERVICE, "team-1", "web") == {"metadata": {"name": "web"}}, "a read waits for nobody"
    source.let.set()
    assert await asyncio.gather(*lists) == NAMESPACES
    assert source.most == 3


async def test_a_watch_that_stands_keeps_nobody_waiting_and_a_cancelled_one_neither() -> None:
    source = Slow()
    turns = Turns(source, at_once=3)
    heard: list[Json] = []

    async def follow(namespace: str) -> None:
        async for event in turns.watch(kinds.SERVICE, namespace, "1", 60):
            heard.append(event)

    watches = [asyncio.create_task(follow(each)) for each in NAMESPACES]
    await eventually(lambda: source.asked == 3)
    for each in watches[:3]:
        each.cancel()
    await eventually(lambda: source.asked == 3 and all(each.done() for each in watches[:3]))
    source.let.set()
    await eventually(lambda: len(heard) == 2 * len(NAMESPACES[3:]))
    assert source.most == 3
    for each in watches:
        each.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(*watches)
