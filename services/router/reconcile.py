"""The router's heart: load → converge → publish → decide → commit, until nothing changes.

Always the same lines for every message, so that a crash anywhere, a redelivery, a lost race or somebody's manual edit
is healed by running them again. Nothing is remembered outside the status; what is kept in memory here only saves work.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.router import notices, observe, parse, policy, questions, status, wanted
from services.router.converge import Converge
from services.router.observe import Found
from services.router.parse import Canary
from services.router.patches import merge_patch
from services.router.ports import Bus, Writes
from services.router.rollout import machine
from services.router.rollout.inputs import Check, Judged, Kind, Look, Message, Outcome
from services.router.rollout.machine import Decision
from services.router.rollout.state import Purpose, State
from services.router.wanted import NoSelector, Options
from services.router.world import WATCHED, World
from shared.canary.resource import InvalidCanary, seconds
from shared.errors import RetryLater
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.runtime.clock import Clock
from shared.wire import messages as wire
from shared.wire import subjects

log = logging.getLogger(__name__)
MOST_STEPS: Final = 20
"""Transitions that one message may cause; more would be a livelock, so the message goes back instead."""
ROLLOUT_WINDOW: Final = timedelta(minutes=1)
"""How long an address still counts after it left, at least: the rate window of the builtin checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Settings of the router that decisions rest on."""

    default_provider: str
    metrics_server: str
    drain: timedelta
    options: Options


@dataclass(frozen=True, slots=True)
class Checks:
    """What verdicts brought: the one under way, and the one behind the transition that isn't published yet."""

    of_message: tuple[wire.Check, ...]
    of_last_transition: tuple[wire.Check, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """One transition that was stored; for logs and metrics."""

    canary: Canary
    before: State
    decision: Decision
    checks: tuple[wire.Check, ...]


class Reconciler:
    """Handles one message of one canary at a time; the bus sees to that."""

    def __init__(
        self,
        world: World,
        cluster: Writes,
        bus: Bus,
        clock: Clock,
        rules: Rules,
        *,
        schema_problem: Callable[[], str],
        on_commit: Callable[[Committed], None],
        on_stale: Callable[[], None],
    ) -> None:
        self._world, self._cluster, self._bus, self._clock, self._rules = world, cluster, bus, clock, rules
        self._converge = Converge(cluster, world, rules.options)
        self._schema_problem = schema_problem
        self._on_commit = on_commit
        self._on_stale = on_stale
        self._published: dict[str, int] = {}
        self._armed: dict[str, tuple[int, str]] = {}

    async def handle(self, inbound: wire.Fact | wire.Verdict | wire.Nudge) -> None:
        """Bring this canary as far as it can go now. Raises Conflict, RetryLater or Never."""
        if problem := self._schema_problem():
            raise RetryLater(problem, delay=5.0)
        if isinstance(inbound, wire.Fact):
            await self._catch_up(inbound)
        if isinstance(inbound, wire.Nudge) and inbound.reason == "overdue":
            self._armed.pop(inbound.canary.uid, None)  # the bus may have lost the tick
        message, checks = _message(inbound)
        told: tuple[wire.Check, ...] = ()
        for _ in range(MOST_STEPS):
            document = self._world.cache(kinds.CANARY).get(inbound.canary.namespace, inbound.canary.name)
            if document is None or json.uid(document) != inbound.canary.uid or not self.ours(document):
                self._forget(inbound.canary.uid)
                return
            if not await self._step(document, message, Checks(checks, told)):
                return
            message, checks, told = Look(inbound.id), (), checks
        raise RetryLater(f"more than {MOST_STEPS} transitions at once", delay=5.0)

    def ours(self, document: Json) -> bool:
        """Design: a Canary of provider apisix, or of none while apisix is the default."""
        return policy.ours(json.text(document, "spec", "provider"), self._rules.default_provider)

    async def _catch_up(self, fact: wire.Fact) -> None:
        """Let the cache reach what the fact tells of; read if the watch is slow."""
        seen = fact.object
        cache = self._world.by_name(seen.kind)
        if cache is None:
            return
        self._world.seed(seen.kind, seen.namespace, seen.name, seen.resource_version, fact.checksum)
        if seen.deleted or await cache.at_least(seen.namespace, seen.name, seen.resource_version, 1.0):
            return
        kind = next((each for each in WATCHED if each.kind == seen.kind), None)
        fresh = await self._cluster.get(kind, seen.namespace, seen.name) if kind else None
        if fresh is not None:
            cache.absorb(_without_data(fresh))

    async def _step(self, document: Json, message: Message, checks: Checks) -> bool:
        """One round; True if another one may find more to do."""
        canary, invalid = self._read(document)
        state = status.decode(document)
        found = await self._found(canary, invalid)
        if await self._converge.run(canary, state, found):
            document = self._world.cache(kinds.CANARY).get(canary.spec.namespace, canary.spec.name) or document
            canary = replace(canary, document=document)
            found = await self._found(canary, invalid)
        now = self._clock.now()
        await self._publish(canary, state, checks.of_last_transition)
        await self._arm(canary, state, found, now)
        if isinstance(message, Judged) and machine.stale(state, message):
            self._on_stale()
        seen = observe.observe(canary, state, found, now)
        decision = machine.decide(canary.spec, state, seen, message, now)
        if decision is None:
            return False
        await self._commit(canary, state, decision, found, message, now)
        self._on_commit(Committed(canary, state, decision, checks.of_message))
        return True

    def _read(self, document: Json) -> tuple[Canary, str]:
        try:
            return parse.canary(document, self._rules.drain), ""
        except InvalidCanary as error:
            return parse.broken(document, error), str(error)

    async def _found(self, canary: Canary, invalid: str) -> Found:
        found = await self._world.found(canary, invalid=invalid)
        if found.target is None or invalid or found.config_problem:
            return found
        try:
            wanted.selector(canary, found, self._rules.options)
        except NoSelector as error:
            return replace(found, config_problem=str(error))
        return found

    # --- commit ----------------------------------------------------------------------------------------------

    async def _commit(
        self, canary: Canary, state: State, decision: Decision, found: Found, message: Message, now: datetime
    ) -> None:
        """Store the transition against the version it was decided on; a lost race is decided anew."""
        document = canary.document
        fresh_revision = decision.state.revision != state.revision or not json.value(document, "status", "serinus")
        known = json.mapping(document, "status", "serinus", "configs")
        recorded = status.Recorded(
            kind=canary.spec.target_kind,
            configs=found.configs if fresh_revision or found.configs is None else known,
            nodes=self._nodes(canary, found, now),
            cause=message.cause,
        )
        new = status.encode(document, decision, recorded, now)
        patch = {
            "metadata": {"resourceVersion": json.version(document)},
            "status": merge_patch(json.mapping(document, "status"), new),
        }
        namespace, name = canary.spec.namespace, canary.spec.name
        answer = await self._cluster.patch(kinds.CANARY, namespace, name, patch, subresource="status")
        if json.number(answer, "status", "serinus", "transition") != decision.state.transition:
            raise RetryLater("the Canary CRD drops our status fields: apply k8s/crds", delay=10.0)
        self._world.cache(kinds.CANARY).absorb(answer)

    def _nodes(self, canary: Canary, found: Found, now: datetime) -> tuple[tuple[str, datetime], ...]:
        current = questions.nodes_of(canary, found)
        return questions.remembered(status.known_nodes(canary.document), current, now, _window(canary))

    # --- publish ---------------------------------------------------------------------------------------------

    async def _publish(self, canary: Canary, state: State, checks: tuple[wire.Check, ...]) -> None:
        """Events of the last transition that the stream doesn't show yet. Notice first: the stream's last event is
        the proof that both are out."""
        transition = status.last_transition(canary.document)
        uid, events = canary.spec.uid, json.items(transition, "events")
        if not events or self._published.get(uid, 0) >= state.seq:
            return
        known = self._published.get(uid)
        if known is None:
            known = await self._last_published(canary)
        configs = json.mapping(canary.document, "status", "serinus").get("configs")
        for each in notices.publications(canary, transition, checks, state.revision, configs):
            if each.seq <= known:
                continue
            namespace, name = canary.spec.namespace, canary.spec.name
            subject = subjects.notice(namespace, name)
            await self._bus.publish(subject, each.notice, stream=subjects.NOTICE_STREAM, message_id=each.notice.id)
            subject = subjects.rollout(namespace, name, each.event.data.type)
            await self._bus.publish(subject, each.event, stream=subjects.ROLLOUT_STREAM, message_id=each.event.id)
            level = logging.ERROR if each.event.data.message.startswith(_ERRORS) else logging.INFO
            log.log(level, "%s", each.event.data.message)
        self._published[uid] = state.seq

    async def _last_published(self, canary: Canary) -> int:
        subject = subjects.rollout(canary.spec.namespace, canary.spec.name, ">")
        last = await self._bus.last(subjects.ROLLOUT_STREAM, subject)
        if last is None:
            return 0
        event = wire.CloudEvent.model_validate_json(last[1])
        return event.data.seq if event.data.canary.uid == canary.spec.uid else 0

    # --- ticks -----------------------------------------------------------------------------------------------

    async def _arm(self, canary: Canary, state: State, found: Found, now: datetime) -> None:
        """The one tick that the state waits for, replaced (same due) if its question changed meanwhile."""
        tick, uid = state.tick, canary.spec.uid
        if tick is None:
            self._armed.pop(uid, None)
            return
        nodes = tuple(address for address, _ in self._nodes(canary, found, now))
        scene = questions.Scene(canary, state, found, nodes, self._rules.metrics_server)
        question = questions.question(scene, tick)
        digest = hashlib.sha256(question.model_dump_json().encode()).hexdigest()[:16]
        armed = self._armed.get(uid)
        if armed == (tick.seq, digest) or (tick.due <= now and await self._under_way(canary, tick.seq)):
            return
        message = wire.Tick(
            id=f"tick/{uid}/{tick.seq}/{digest}",
            cause=f"{uid}:{state.seq}",
            canary=canary.ref,
            tick=wire.TickId(revision=tick.revision, seq=tick.seq, due=tick.due),
            question=question,
        )
        await self._bus.schedule(canary.spec.namespace, canary.spec.name, message, tick.due)
        self._armed[uid] = (tick.seq, digest)

    async def _under_way(self, canary: Canary, seq: int) -> bool:
        """Is a due tick with some analyzer already, or waiting for one? Its message stays until it's acknowledged."""
        subject = subjects.tick(canary.spec.namespace, canary.spec.name)
        last = await self._bus.last(subjects.TICK_STREAM, subject)
        if last is None:
            # Judged already and the verdict is on its way, or lost: then the sweep forgets it and it is armed again.
            armed = self._armed.get(canary.spec.uid)
            return armed is not None and armed[0] == seq
        tick = wire.Tick.model_validate_json(last[1])
        return tick.canary.uid == canary.spec.uid and tick.tick.seq == seq

    def _forget(self, uid: str) -> None:
        self._published.pop(uid, None)
        self._armed.pop(uid, None)

    async def refresh(self, ref: wire.CanaryRef) -> None:
        """After a lost race: read what the watch hasn't brought yet."""
        for kind in (kinds.CANARY, kinds.DEPLOYMENT, kinds.APISIX_ROUTE):
            cache = self._world.cache(kind)
            for name in self._names(ref, kind):
                fresh = await self._cluster.get(kind, ref.namespace, name)
                if fresh is not None:
                    cache.absorb(fresh)

    def _names(self, ref: wire.CanaryRef, kind: kinds.Kind) -> tuple[str, ...]:
        document = self._world.cache(kinds.CANARY).get(ref.namespace, ref.name)
        if kind is kinds.CANARY or document is None:
            return (ref.name,) if kind is kinds.CANARY else ()
        canary, _ = self._read(document)
        if kind is kinds.DEPLOYMENT:
            return canary.names.target, canary.names.primary
        return tuple(name for name in (canary.names.canary_route,) if name)

    # --- the sweep -------------------------------------------------------------------------------------------

    async def due_for_a_look(self, document: Json, now: datetime, grace: timedelta) -> str:
        """Why this canary needs a nudge, or an empty text: an overdue tick, or a fact that never arrived.

        Reads caches only; a canary that isn't rolling out costs nothing but this.
        """
        if not self.ours(document):
            return ""
        state = status.decode(document)
        if state.tick is not None and state.tick.due + grace < now:
            return "overdue"
        canary, invalid = self._read(document)
        found = await self._found(canary, invalid)
        seen = observe.observe(canary, state, found, now)
        pending = machine.decide(canary.spec, state, seen, Look("sweep"), now)
        return "pending" if pending is not None else ""


_ERRORS: Final = ("Prometheus query failed", "Metric query failed", "Metric template", "Error checking metric")


def _without_data(obj: Json) -> Json:
    """No foreign secret ever lies in the cache."""
    return {key: value for key, value in obj.items() if key not in {"data", "binaryData", "stringData"}}


def _window(canary: Canary) -> timedelta:
    metrics = canary.model.analysis.metrics if canary.model.analysis else ()
    spans = [timedelta(seconds=seconds(metric.interval)) for metric in metrics if metric.interval]
    return max([ROLLOUT_WINDOW, *spans])


def _message(inbound: wire.Fact | wire.Verdict | wire.Nudge) -> tuple[Message, tuple[wire.Check, ...]]:
    """From the wire to the core."""
    if not isinstance(inbound, wire.Verdict):
        return Look(inbound.id), ()
    checks = tuple(Check(each.name, Kind(each.kind), Outcome(each.outcome), each.message) for each in inbound.checks)
    judged = Judged(
        inbound.id, inbound.tick.revision, inbound.tick.seq, inbound.tick.due, Purpose(inbound.purpose),
        Outcome(inbound.outcome), checks,
    )  # fmt: skip
    return judged, inbound.checks
