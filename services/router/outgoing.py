"""What the router sends: the events of the last transition, and the one tick that a canary waits for.

What is kept in memory here only saves work: the stream says what was published, and arming a tick twice is harmless.
"""

import hashlib
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from pydantic import ValidationError

from services.router import drain, evidence, notices, questions, status
from services.router.notices import Publication
from services.router.parse import Canary
from services.router.ports import Bus
from services.router.rollout.state import State
from services.router.scene import Scene
from shared.kube import json
from shared.wire import messages as wire
from shared.wire import subjects

log = logging.getLogger(__name__)
_ERRORS: Final = ("Prometheus query failed", "Metric query failed", "Metric template", "Error checking metric")
"""Beginnings of texts that are logged as errors, as in Flagger."""


class Outgoing:
    """Publishes and arms what isn't yet."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._published: dict[str, int] = {}
        self._committed: dict[str, int] = {}
        self._armed: dict[str, tuple[int, str]] = {}

    def forget(self, uid: str) -> None:
        """This Canary is gone, or none of ours."""
        self._published.pop(uid, None)
        self._committed.pop(uid, None)
        self._armed.pop(uid, None)

    def doubt(self, uid: str) -> None:
        """Its tick is overdue: the bus may have lost it."""
        self._armed.pop(uid, None)

    def committed(self, uid: str, seq: int) -> None:
        """This process has stored a transition with events up to this number, so nobody else has told of it before."""
        self._committed[uid] = seq

    async def publish(self, canary: Canary, state: State, cause: str, checks: tuple[wire.Check, ...]) -> None:
        """Events that the stream doesn't show yet. `checks` belong to transitions of `cause`.

        Notice first: the stream's last event is the proof that both are out.
        """
        uid, known = canary.spec.uid, self._published.get(canary.spec.uid)
        transitions = [each for each in status.in_doubt(canary.document) if json.items(each, "events")]
        if not transitions or (known or 0) >= state.seq:
            return
        # What another replica has told may be longer ago than the stream knows doubles.
        if known is None or len(transitions) > 1 or self._committed.get(uid) != state.seq:
            known = max(known or 0, await self.last_published(canary))
        for transition in transitions:
            behind = checks if json.text(transition, "cause") == cause else ()
            await self._publish(canary, notices.of(canary, transition, behind, state.revision), known)
        self._published[uid] = state.seq

    async def _publish(self, canary: Canary, publications: Iterable[Publication], known: int) -> None:
        for each in publications:
            if each.seq <= known:
                continue
            namespace, name = canary.spec.namespace, canary.spec.name
            subject = subjects.notice(namespace, name)
            await self._bus.publish(subject, each.notice, stream=subjects.NOTICE_STREAM, message_id=each.notice.id)
            subject = subjects.rollout(namespace, name, each.event.data.type)
            await self._bus.publish(subject, each.event, stream=subjects.ROLLOUT_STREAM, message_id=each.event.id)
            level = logging.ERROR if each.event.data.message.startswith(_ERRORS) else logging.INFO
            log.log(level, "%s", each.event.data.message)

    async def tell(self, notice: wire.Notice) -> None:
        """What is no event of a rollout."""
        event = notice.event
        subject = subjects.notice(event.canary.namespace, event.canary.name)
        await self._bus.publish(subject, notice, stream=subjects.NOTICE_STREAM, message_id=notice.id)
        log.warning("%s", event.message)

    async def last_published(self, canary: Canary) -> int:
        """The number of the last event that the stream shows of this Canary object."""
        subject = subjects.rollout(canary.spec.namespace, canary.spec.name, ">")
        last = await self._bus.last(subjects.ROLLOUT_STREAM, subject)
        # Its id says all that counts here; the event may be a newer version's, of a type that we don't know.
        uid, _, seq = last[0].get("Nats-Msg-Id", "").rpartition(":") if last else ("", "", "0")
        return int(seq) if uid == canary.spec.uid else 0

    async def arm(self, scene: Scene, now: datetime) -> None:
        """The one tick that the state waits for, replaced (same due) if its question changed meanwhile."""
        canary, state = scene.canary, scene.state
        tick, uid = state.tick, canary.spec.uid
        if tick is None:
            self._armed.pop(uid, None)
            return
        question = questions.question(scene, tick)
        glance = evidence.glance(scene, tick) or drain.glance(scene, tick)
        asked = question.model_dump_json() + (glance.model_dump_json() if glance else "")
        digest = hashlib.sha256(asked.encode()).hexdigest()[:16]
        if self._armed.get(uid) == (tick.seq, digest) or (tick.due <= now and await self._under_way(canary, tick.seq)):
            return
        message = wire.Tick(
            id=f"tick/{uid}/{tick.seq}/{digest}",
            cause=f"{uid}:{state.seq}",
            canary=canary.ref,
            tick=wire.TickId(revision=tick.revision, seq=tick.seq, due=tick.due),
            question=question,
        )
        if glance and (first := now + timedelta(seconds=glance.every_seconds)) < tick.due:
            await self._bus.glance(canary.spec.namespace, canary.spec.name, glance, first)
        await self._bus.schedule(canary.spec.namespace, canary.spec.name, message, tick.due)
        self._armed[uid] = (tick.seq, digest)

    async def lost(self, ref: wire.CanaryRef, seq: int) -> bool:
        """Does the bus hold this tick neither as one that waits for its time nor as one that is due?"""
        places = (subjects.schedule(ref.namespace, ref.name), subjects.tick(ref.namespace, ref.name))
        return not any([await self._holds(subject, ref.uid, seq) for subject in places])

    async def _under_way(self, canary: Canary, seq: int) -> bool:
        """Is a due tick with some analyzer already, or waiting for one? Its message stays until it's acknowledged."""
        held = await self._holds(subjects.tick(canary.spec.namespace, canary.spec.name), canary.spec.uid, seq)
        if held is None:
            # Judged already and the verdict is on its way, or lost: then the sweep forgets it and it is armed again.
            armed = self._armed.get(canary.spec.uid)
            return armed is not None and armed[0] == seq
        return held

    async def _holds(self, subject: str, uid: str, seq: int) -> bool | None:
        """Is the message there this tick, and in words of ours? None where there is none."""
        last = await self._bus.last(subjects.TICK_STREAM, subject)
        if last is None:
            return None
        try:
            tick = wire.Tick.model_validate_json(last[1])
        except ValidationError:  # of another version, or the empty one that ends a schedule
            return False
        return tick.wire <= wire.SCHEMA and tick.canary.uid == uid and tick.tick.seq == seq
