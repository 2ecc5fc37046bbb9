"""Looks through the caches now and then for what no message has told: a tick that is overdue, a fact that was lost,
an object that isn't as wanted. After an outage of the bus it asks for each pending tick whether it is still there.

It decides nothing: it nudges, and the nudge goes through the inbox like everything else.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from services.router.ports import Bus, Cache
from services.router.reconcile import Reconciler
from shared.errors import Never, RetryLater
from shared.kube import json
from shared.runtime.clock import Clock
from shared.runtime.metrics import Metrics
from shared.wire import subjects
from shared.wire.messages import CanaryRef, Nudge

log = logging.getLogger(__name__)
GRACE: Final = timedelta(seconds=5)
"""A tick this late is asked after: longer than the bus is ever late, shorter than any interval."""


class Sweep:
    """One pass over all Canaries that are ours."""

    def __init__(
        self,
        canaries: Cache,
        reconciler: Reconciler,
        bus: Bus,
        clock: Clock,
        metrics: Metrics,
        period: float,
        outages: Callable[[], int],
    ) -> None:
        """`outages` counts how often the bus was away."""
        self._canaries, self._reconciler, self._bus = canaries, reconciler, bus
        self._clock, self._metrics, self._period, self._outages = clock, metrics, period, outages
        self._asked_after = outages()

    async def once(self) -> int:
        """Nudge whom nobody has told; the number of nudges. All replicas do it, and the bus drops the doubles."""
        now, nudged, outages = self._clock.now(), 0, self._outages()
        doubtful, answered = outages != self._asked_after, True
        beat = int(now.timestamp() / self._period)
        for document in list(self._canaries.all()):
            await asyncio.sleep(0)  # one look takes half a millisecond, and ticks shall not wait for all of them
            try:
                reason = await self._reconciler.due_for_a_look(document, now, GRACE)
                if not reason and doubtful and await self._reconciler.lost_its_tick(document):
                    reason = "overdue"  # it would be, and nobody has to wait until then
                if not reason:
                    continue
                await self._nudge(document, reason, beat)
            except (RetryLater, Never) as error:
                log.info("sweep of %s.%s: %s", json.name(document), json.namespace(document), error)
                answered = False
                continue
            nudged += 1
            if reason == "overdue":
                self._metrics.inc("serinus_overdue_ticks_total")
        if answered:
            self._asked_after = outages
        return nudged

    async def _nudge(self, document: json.Json, reason: str, beat: int) -> None:
        ref = CanaryRef(namespace=json.namespace(document), name=json.name(document), uid=json.uid(document))
        transition = json.number(document, "status", "serinus", "transition")
        message = Nudge(id=f"nudge/{ref.uid}/{transition}/{beat}", canary=ref, reason=reason)
        subject = subjects.inbox(ref.namespace, ref.name)
        await self._bus.publish(subject, message, stream=subjects.INBOX_STREAM, message_id=message.id)
