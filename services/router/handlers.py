"""From the inbox to the reconciler: one durable a partition, one message of a partition at a time."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, Protocol

from pydantic import TypeAdapter

from services.router.succession import Succession
from shared.bus import streams
from shared.bus.broker import Broker
from shared.bus.consume import consume
from shared.bus.delivery import Delivery
from shared.errors import Conflict
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import CanaryRef, Fact, Inbound, Nudge, Verdict

INBOUND: Final[TypeAdapter[Fact | Verdict | Nudge]] = TypeAdapter(Inbound)
LONGEST_DELAY: Final = 5.0
"""Seconds that a message goes back for at most: its whole partition waits behind it."""
MOST_CONFLICTS: Final = 5
"""Lost races that are decided anew at once; a sixth goes back to the queue."""


Message = Fact | Verdict | Nudge


class Handles(Protocol):
    """What a message needs of the reconciler."""

    async def look_up(self, ref: CanaryRef) -> None: ...
    async def handle(self, received: Message) -> None: ...
    async def refresh(self, ref: CanaryRef) -> None: ...


def register(
    broker: Broker,
    reconciler: Handles,
    runtime: Runtime,
    passed: Callable[[], Awaitable[None]],
    counts: Iterable[int],
) -> None:
    """All replicas serve all partitions; the bus lets one message of a partition be under way.

    `passed` returns when writing is possible: a message that waits there doesn't use up its attempts. `counts` are the
    numbers of partitions that the inbox has: another one beside the first in the middle of a change.
    """

    def on_conflict() -> None:
        runtime.metrics.inc("serinus_commit_conflicts_total")

    async def handle(succession: Succession, message: Message, delivery: Delivery) -> None:
        await passed()
        await take(reconciler, succession, message, delivery.number, on_conflict)

    for count, partition in [(each, number) for each in counts for number in range(each)]:
        consume(
            broker,
            stream=subjects.INBOX_STREAM,
            durable=subjects.router_durable(count, partition),
            filter_subject=subjects.inbox_partition(count, partition),
            decode=INBOUND,
            handler=partial(handle, Succession()),
            runtime=runtime,
            service="router",
            max_deliver=streams.INBOX_DELIVERIES,
            longest_delay=LONGEST_DELAY,
        )


async def take(
    reconciler: Handles, succession: Succession, message: Message, number: int, on_conflict: Callable[[], None]
) -> None:
    """What another replica has committed first: `number` is the delivery's."""
    uid = message.canary.uid
    if not succession.unbroken(number, uid):
        await reconciler.look_up(message.canary)
        succession.looked_up(uid)
    await decide(reconciler, message, on_conflict)


async def decide(reconciler: Handles, message: Message, on_conflict: Callable[[], None]) -> None:
    """A lost race is decided anew, on what is there now."""
    for attempt in range(MOST_CONFLICTS + 1):
        try:
            await reconciler.handle(message)
            return
        except Conflict:
            on_conflict()
            if attempt == MOST_CONFLICTS:
                raise
            await reconciler.refresh(message.canary)
