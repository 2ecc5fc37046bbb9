"""Asks the same question once: answers under way are joined, answers just given are used for a moment longer.

Both doors that ask others use it: many canaries share a Prometheus and a secret, and their ticks often coincide.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


class Sharing(Generic[Answer]):
    """Answers by key. A question that raised is asked again by the next one who wants to know."""

    def __init__(self, keep: float, monotonic: Callable[[], float]) -> None:
        """`keep` is in seconds, counted from the moment of the answer."""
        self._keep = keep
        self._monotonic = monotonic
        self._asked: dict[Hashable, asyncio.Task[Answer]] = {}
        self._until: dict[Hashable, float] = {}

    async def get(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """The answer of `ask`, or of somebody's who asked the same. Cancelling one who waits cancels nobody else."""
        self._forget()
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(ask())
            task.add_done_callback(lambda ended: self._ended(key, ended))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Ends what is under way."""
        under_way = [task for task in self._asked.values() if not task.done()]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def _ended(self, key: Hashable, task: asyncio.Task[Answer]) -> None:
        if task.cancelled() or task.exception() is not None:
            self._asked.pop(key, None)
        else:
            self._until[key] = self._monotonic() + self._keep

    def _forget(self) -> None:
        """Answers end in the order in which they were given, so the oldest are in front."""
        now = self._monotonic()
        while self._until:
            key, until = next(iter(self._until.items()))
            if until > now:
                return
            del self._until[key], self._asked[key]
