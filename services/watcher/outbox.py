"""Facts on their way to the bus: each is sent until it's stored, and memory stays bounded however long that takes.

One place per (canary, object): a newer fact takes the older one's, since the router looks at what is, not at what was.
Facts of one canary go out one by one, in order; many canaries at a time. A config that can't be read holds up itself
only; a bus that can't be reached holds up everything, so there a failure ends the turn.
"""

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from services.watcher.policy import Address
from shared.errors import Never, RetryLater
from shared.runtime import tasks
from shared.wire.messages import CanaryRef, Fact

log = logging.getLogger(__name__)

WIDTH: Final = 16
"""Canaries that are served at a time."""

FIRST: Final = 0.1
"""Seconds before a canary's second attempt; doubled each time and jittered."""

MOST: Final = 5.0
"""The longest wait between attempts."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A fact to be sent. `prepare` reads what is still missing; None: there is nothing to tell any more."""

    canary: CanaryRef
    object: Address
    prepare: Callable[[], Awaitable[Fact | None]]
    heard: float


@dataclass(slots=True)
class _Desk:
    """What waits for one canary."""

    pending: OrderedDict[Address, Pending] = field(default_factory=OrderedDict)
    attempt: int = 0
    busy: bool = False
    retry: asyncio.TimerHandle | None = None


class Outbox:
    """`put` never waits; `run` sends."""

    def __init__(
        self,
        send: Callable[[Fact], Awaitable[None]],
        published: Callable[[str, float], None],
        *,
        width: int = WIDTH,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`published` gets (kind, seconds since the change was heard of) of every fact that was stored."""
        self._send = send
        self._published = published
        self._width = width
        self._chance = chance
        self._desks: dict[str, _Desk] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()

    def __len__(self) -> int:
        """Facts that aren't stored yet."""
        return sum(len(desk.pending) for desk in self._desks.values())

    def put(self, pending: Pending) -> None:
        desk = self._desks.setdefault(pending.canary.uid, _Desk())
        desk.pending[pending.object] = pending
        desk.pending.move_to_end(pending.object)
        self._call(pending.canary.uid)

    async def run(self) -> None:
        """Sends until it's cancelled."""
        desks = [asyncio.create_task(self._serve(), name=f"outbox {number}") for number in range(self._width)]
        try:
            await asyncio.gather(*desks)
        finally:
            await tasks.ended(*desks)

    def _call(self, uid: str) -> None:
        """Puts a canary in the queue, unless it's there or being served."""
        desk = self._desks.get(uid)
        if desk is None or desk.busy:
            return
        if desk.retry:
            desk.retry.cancel()
            desk.retry = None
        desk.busy = True
        self._ready.put_nowait(uid)

    async def _serve(self) -> None:
        while True:
            uid = await self._ready.get()
            desk = self._desks[uid]
            failed = await self._turn(desk)
            desk.busy = False
            if failed:
                delay = min(MOST, FIRST * 2.0 ** min(desk.attempt, 10)) * (0.5 + self._chance() / 2)
                desk.attempt += 1
                desk.retry = asyncio.get_running_loop().call_later(delay, self._call, uid)
            elif desk.pending:
                self._call(uid)
            else:
                del self._desks[uid]

    async def _turn(self, desk: _Desk) -> bool:
        """Everything that waits now or comes meanwhile; answers whether something has to be tried again."""
        tried: set[int] = set()
        while pending := next((each for each in desk.pending.values() if id(each) not in tried), None):
            tried.add(id(pending))
            try:
                fact = await pending.prepare()
            except RetryLater as error:
                log.debug("a fact about %s waits: %s", "/".join(pending.object), error)
                continue
            except Never as error:
                self._refuse(desk, pending, error)
                continue
            try:
                await self._tell(pending, fact)
            except RetryLater as error:
                log.debug("facts of canary %s wait: %s", pending.canary.name, error)
                return True
            except Never as error:
                self._refuse(desk, pending, error)
                continue
            self._done(desk, pending)
            desk.attempt = 0
        return bool(desk.pending)

    async def _tell(self, pending: Pending, fact: Fact | None) -> None:
        if fact is not None:
            await self._send(fact)
            self._published(pending.object.kind, asyncio.get_running_loop().time() - pending.heard)

    def _refuse(self, desk: _Desk, pending: Pending, error: Never) -> None:
        log.error("a fact about %s can't be told: %s", "/".join(pending.object), error)
        self._done(desk, pending)

    def _done(self, desk: _Desk, pending: Pending) -> None:
        if desk.pending.get(pending.object) is pending:  # else a newer one came meanwhile
            del desk.pending[pending.object]
