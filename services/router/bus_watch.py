"""Watches the bus itself. While it is gone, rolling canaries are held, or after a while rolled back if the settings say
so, and people hear of it: all through the Kubernetes API alone.

Nothing else in the router acts without a message. All replicas do it: the version of the Canary decides who acts, and
Kubernetes Events have names that follow from what they tell. One replica that is cut off alone disturbs the others
once: it sees that they go on, and leaves them to it.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.router import status
from services.router.converge import Trouble
from services.router.ports import Cache
from services.router.reconcile import Reconciler
from shared.errors import Never, RetryLater
from shared.kube import json
from shared.kube.events import Events
from shared.kube.json import Json
from shared.runtime import logs
from shared.runtime.clock import Clock
from shared.runtime.metrics import Metrics

log = logging.getLogger(__name__)
LOOK: Final = 2.0
"""Seconds between looks; each asks the bus one question."""
GRACE: Final = 6.0
"""Seconds of silence before anything is done: a server that restarts, or a cluster that elects, is back by then."""
SETTLING: Final = timedelta(seconds=3)
"""What was committed this soon after the last answer was decided before."""
OTHERS: Final = timedelta(minutes=15)
"""For so long a commit of another replica counts as a sign that it has the bus. If that one is gone too, the one that
takes its place finds out by itself; so this may be long."""


@dataclass(frozen=True, slots=True)
class Outage:
    """When the first question without an answer was asked, by both clocks, and after how many of the connection's."""

    began: float
    since: datetime
    after: int


class BusWatch:
    """`answers` asks the bus whether it is there, and may take a few seconds to find out. `outages` counts how often the
    connection came back: what happened before that, this replica may have done itself."""

    def __init__(
        self,
        answers: Callable[[], Awaitable[bool]],
        canaries: Cache,
        reconciler: Reconciler,
        events: Events,
        clock: Clock,
        metrics: Metrics,
        outages: Callable[[], int],
    ) -> None:
        self._answers, self._canaries, self._reconciler, self._events = answers, canaries, reconciler, events
        self._clock, self._metrics, self._outages = clock, metrics, outages
        self._outage: Outage | None = None
        self._told: dict[str, int] = {}

    async def once(self) -> None:
        """Ask, and do what must be done without an answer."""
        now = Outage(self._clock.monotonic(), self._clock.now(), self._outages())
        there = await self._answers()
        self._metrics.set("serinus_bus_gone", 0 if there else 1)
        if there:
            if self._outage:
                log.info("the bus answers again")
            self._outage = None
            self._told.clear()
            return
        if self._outage is None:
            log.warning("the bus doesn't answer")
            self._outage = now
        elif self._outage.after != now.after:
            self._outage = replace(now, began=self._outage.began)
        if self._clock.monotonic() - self._outage.began >= GRACE:
            await self._alone(self._outage)

    async def _alone(self, outage: Outage) -> None:
        documents = [each for each in self._canaries.all() if self._reconciler.concerns(each)]
        served = max(outage.since + SETTLING, self._clock.now() - OTHERS)
        if any(_served(each, served) for each in documents):
            return
        for document in documents:
            with logs.bound(canary=f"{json.name(document)}.{json.namespace(document)}"):
                try:
                    await self._one(document)
                except (RetryLater, Never, Trouble) as error:
                    log.warning("without the bus: %s", error)

    async def _one(self, document: Json) -> None:
        uid = json.uid(document)
        for event in await self._reconciler.alone(document):
            if event.seq > self._told.get(uid, 0):
                await self._events.tell(event)
                log.warning("%s", event.message)
                self._told[uid] = event.seq


def _served(document: Json, since: datetime) -> bool:
    """Has somebody with a bus moved this canary since?"""
    last = status.last_transition(document)
    return bool(last) and not status.direct(last) and datetime.fromisoformat(json.text(last, "at")) > since
