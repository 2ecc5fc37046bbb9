"""Runs the controllers: each change of an object asks those who care to look at what depends on it, one after the other."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from sandbox.apiserver.errors import ApiFailure
from sandbox.apiserver.store import Event, Key, Store

_log = logging.getLogger(__name__)
_AGAIN: Final = 1.0  # seconds until a refused write is tried again


class Controller(Protocol):
    """Levels, not edges: it is told where to look, never what happened."""

    def touched(self, kind: str, event: Event) -> Iterable[Key]:
        """The keys of its own objects that a change concerns."""

    def reconcile(self, key: Key) -> float | None:
        """Look at one of them, which may be gone, and write what is due. Seconds until time alone is a reason to look."""


class Loop:
    """A task of the server. Every controller works synchronously, so nobody sees half of what one did."""

    def __init__(self, store: Store, controllers: Sequence[Controller]) -> None:
        self._controllers = controllers
        self._due: dict[tuple[int, Key], None] = {}
        self._woken = asyncio.Event()
        self._timers: dict[tuple[int, Key], asyncio.TimerHandle] = {}
        store.listen_everywhere(self._hear)

    async def run(self) -> None:
        """Work until cancelled. Anything but a refusal is an error of ours and ends it."""
        try:
            while True:
                await self._woken.wait()
                while self._due:
                    self._look(next(iter(self._due)))
                    await asyncio.sleep(0)  # requests come first
                self._woken.clear()
        finally:
            for item, timer in self._timers.items():
                timer.cancel()
                self._add(item)  # for the next run, if there is one
            self._timers.clear()

    def _hear(self, kind: str, event: Event) -> None:
        for index, controller in enumerate(self._controllers):
            for key in controller.touched(kind, event):
                self._add((index, key))

    def _add(self, item: tuple[int, Key]) -> None:
        self._due[item] = None
        self._woken.set()

    def _look(self, item: tuple[int, Key]) -> None:
        del self._due[item]
        if timer := self._timers.pop(item, None):
            timer.cancel()
        try:
            delay = self._controllers[item[0]].reconcile(item[1])
        except ApiFailure as failure:
            _log.info("a controller was refused: %s", failure)
            delay = _AGAIN
        if delay is not None:
            self._timers[item] = asyncio.get_running_loop().call_later(delay, self._add, item)
