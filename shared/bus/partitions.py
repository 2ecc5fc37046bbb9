"""How many partitions the inbox has, and the change to another number.

The stream says it: its transform holds the count, and so do the names of its durables, of which the router serves all
that are there. No setting could disagree between services.

A change begins with durables of the new count that are held, then the transform. From that moment on, messages lie in
new partitions and wait, while the router works off those of before. Once all of these are empty they go, and the new
ones are let go: nothing is lost, and of one canary nothing is handled before what came earlier. Each look at the account
(`Inbox.ensure`) goes on where the change stands, so an end of the command in the middle of it does no harm.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

from nats.aio.client import Client

from shared.bus import content, streams
from shared.bus.content import Account, Look
from shared.errors import Never, RetryLater
from shared.wire import subjects

log = logging.getLogger(__name__)

MOST: Final = 256
"""The server names so many durables in one answer, twice over."""

_PAUSE: Final = 1.0
_LOOK: Final = 3.0
"""Seconds between two looks at the number of partitions, which hardly ever changes."""

_SETTING: Final = "SERINUS_INBOX_PARTITIONS"


async def served(client: Client) -> frozenset[int]:
    """The counts of which every partition has its durable: one, or two in the middle of a change. Raises RetryLater."""
    return frozenset(count for count, names in (await _durables(client)).items() if len(names) == count)


async def there(client: Client) -> bool:
    """Does JetStream answer, and hold an inbox? Raises RetryLater."""
    return bool(await _durables(client))


async def wait(client: Client) -> frozenset[int]:
    """What is served, once there is something; the bootstrap may have to make it first."""
    told = ""
    while True:
        try:
            if found := await served(client):
                return found
            why = "the bootstrap creates it"
        except (RetryLater, Never) as error:
            why = str(error)
        if why != told:
            log.warning("waiting for the inbox with its partitions: %s", why)
            told = why
        await asyncio.sleep(_PAUSE)


async def changed(client: Client, counts: frozenset[int], on_change: Callable[[], None]) -> None:
    """Looks now and then whether others are served by now. One that has gone altogether comes back as it was, mostly."""
    while True:
        await asyncio.sleep(_LOOK)
        with suppress(RetryLater, Never):
            if (found := await served(client)) and found != counts:
                log.info("the inbox has %s partitions by now: starting anew", " and ".join(map(str, sorted(found))))
                on_change()
                await asyncio.Event().wait()


async def _durables(client: Client) -> dict[int, list[str]]:
    """The durables of the inbox by the count that they are for."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    answer = await content.ask_if_there(client, f"CONSUMER.NAMES.{subjects.INBOX_STREAM}")
    names = answer.get("consumers")
    for name in map(str, names if isinstance(names, list) else ()):
        if of := subjects.partition_of(name):
            found[of[0]].append(name)
    return found


@dataclass(slots=True)
class Inbox:
    """The account SERINUS, whose content follows from the partitions that its inbox has."""

    client: Client
    replicas: int
    wanted: int = 0
    """0: as many as there are."""
    told: set[str] = field(default_factory=set)

    async def ensure(self) -> Look:
        """As `Account.ensure`, and one step further in a change that is under way."""
        await content.fit(self.client)
        there = await self._count()
        if there == 0:
            return Look(refused=(f"the subject transform of stream {subjects.INBOX_STREAM} is none of ours",))
        count = there or self.wanted or streams.PARTITIONS
        old = [name for each, names in (await _durables(self.client)).items() if each != count for name in names]
        account = Account(self.client, streams.streams(self.replicas, count), self._durables(count, old), self.told)
        look = await account.ensure()
        if not look.waiting and not look.refused:
            left = await self._hand_over(count, old)
            look = replace(look, waiting=(left,) if left else ())
        if self.wanted not in (0, count):
            look = replace(look, refused=(*look.refused, _refusal(count, self.wanted)))
        return look

    async def change(self, count: int) -> None:
        """Begins the change. Raises Never when that can't be, RetryLater when NATS doesn't answer."""
        there = await self._count()
        if not there:
            raise Never(f"there is no stream {subjects.INBOX_STREAM} yet, or its subject transform is none of ours")
        if there == count:
            return
        if others := sorted((await _durables(self.client)).keys() - {there}):
            raise Never(f"a change from {others[0]} partitions to {there} is under way: let it end first")
        await Account(self.client, (), self._durables(count, ["old"])).ensure()
        await content.change_stream(self.client, subjects.INBOX_STREAM, subject_transform={
            "src": subjects.INBOX_PUBLISHED, "dest": subjects.partitioning(count),
        })  # fmt: skip
        log.info("from now on messages go to %s partitions, and wait until those of before are empty", count)

    def _durables(self, count: int, old: Sequence[str]) -> tuple[streams.Durable, ...]:
        return tuple(
            replace(each, held=bool(old)) if each.stream == subjects.INBOX_STREAM else each
            for each in streams.durables(count)
        )

    async def _count(self) -> int | None:
        """None: there is no stream. 0: somebody else has partitioned it."""
        config = await content.stream(self.client, subjects.INBOX_STREAM)
        if config is None:
            return None
        transform = config.get("subject_transform")
        return subjects.partitions(str(transform.get("dest", ""))) if isinstance(transform, dict) else 0

    async def _hand_over(self, count: int, old: Sequence[str]) -> str:
        """What still keeps the new partitions waiting; empty once nothing does."""
        left = sum([await content.unfinished(self.client, subjects.INBOX_STREAM, name) for name in old])
        if left:
            return f"messages of {len(old)} partitions are left to work off before the {count} new ones begin"
        for name in old:
            await content.ask_if_there(self.client, f"CONSUMER.DELETE.{subjects.INBOX_STREAM}.{name}")
        for number in range(count):
            name = subjects.router_durable(count, number)
            if await content.held(self.client, subjects.INBOX_STREAM, name):
                await content.ask_if_there(self.client, f"CONSUMER.PAUSE.{subjects.INBOX_STREAM}.{name}")
        if old:
            log.info("the inbox has %s partitions", count)
        return ""


def _refusal(count: int, wanted: int) -> str:
    return (
        f"the inbox has {count} partitions and {_SETTING} says {wanted}: "
        f"run `python -m shared.bus.bootstrap repartition {wanted}`, or take the setting out"
    )
