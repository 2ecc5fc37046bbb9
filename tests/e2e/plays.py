"""Plays: what is done to one canary and expected of it, in a namespace of its own. They run side by side.

Most of a rollout is waiting for the next interval, so the shared scene (`gentle/conftest.py`) begins every play of the
collected tests when it opens, and each test waits for the play that it looks at.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pytest

from sandbox.scene import Scene
from tests.e2e.rollouts import Rollout

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
AT_ONCE = 18
"""With many more, two cores are a gateway that answers in half a second, and that is what canaries are rolled back for."""


@dataclass(frozen=True, slots=True)
class Play(Generic[T_co]):
    """`seconds` is about how long it takes: the longest begin first."""

    namespace: str
    act: Callable[[Rollout], Awaitable[T_co]]
    seconds: int = 60

    def __str__(self) -> str:
        return self.namespace


def play(act: Callable[[Rollout], Awaitable[T]]) -> Play[T]:
    """A function as a play, in the namespace of its name."""
    return Play(act.__name__.replace("_", "-"), act)


def lasting(seconds: int) -> Callable[[Callable[[Rollout], Awaitable[T]]], Play[T]]:
    """The same for one that takes much longer than a minute."""
    return lambda act: Play(act.__name__.replace("_", "-"), act, seconds)


def declared(module: Mapping[str, Any]) -> list[Play[Any]]:
    """Every play of a module, for `parametrize`: none can be forgotten."""
    return [value for value in module.values() if isinstance(value, Play)]


def looked_at(item: pytest.Item) -> list[Play[Any]]:
    """The play that a test is a case of, otherwise all of its module; none where it's skipped."""
    if not isinstance(item, pytest.Function) or "programme" not in item.fixturenames or item.get_closest_marker("skip"):
        return []
    case = item.callspec.params.get("play") if hasattr(item, "callspec") else None
    return [case] if isinstance(case, Play) else declared(vars(item.module))


def wanted(items: Iterable[pytest.Item]) -> list[Play[Any]]:
    """What these tests look at, the longest first."""
    found = {each.namespace: each for item in items for each in looked_at(item)}
    return sorted(found.values(), key=lambda play: -play.seconds)


class Programme:
    """The plays of a scene. Leave it with `closed`."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[str, asyncio.Task[Any]] = {}

    def begin(self, play: Play[T]) -> "asyncio.Task[T]":
        """As soon as there is a place for it, if it hasn't begun."""
        if play.namespace not in self._tasks:
            self._tasks[play.namespace] = asyncio.ensure_future(self._played(play))
        return self._tasks[play.namespace]

    async def of(self, play: Play[T]) -> T:
        """Wait until it's over; answers what it left, and raises what went wrong in it."""
        return await self.begin(play)

    async def over(self) -> None:
        """Wait until nothing is played any more, whatever became of it."""
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def closed(self) -> None:
        """End what is still going on."""
        for task in self._tasks.values():
            task.cancel()
        await self.over()

    async def _played(self, play: Play[T]) -> T:
        async with self._places:
            return await play.act(Rollout(self.scene, play.namespace))
