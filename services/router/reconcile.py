"""The router's heart: load → converge → publish → decide → commit, until nothing changes.

Always the same lines for every message, so that a crash anywhere, a redelivery, a lost race or somebody's manual edit
is healed by running them again. Nothing is remembered outside the status.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.router import beyond, inbound, nodes, notices, observe, parse, policy, status
from services.router.converge import Converge, Trouble
from services.router.found import Found
from services.router.objects import NoSelector, Options, selector
from services.router.outgoing import Outgoing
from services.router.parse import Canary
from services.router.patches import merge_patch, whole
from services.router.ports import Bus, Writes
from services.router.rollout import machine
from services.router.rollout.inputs import Judged, Look, Message
from services.router.rollout.machine import Decision
from services.router.rollout.state import UNDER_WAY, State, untouched
from services.router.scene import Scene
from services.router.schema import FOREIGN
from services.router.world import World
from shared.canary import ownership
from shared.canary.resource import InvalidCanary
from shared.errors import Conflict, RetryLater
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.runtime.clock import Clock
from shared.wire import messages as wire

MOST_STEPS: Final = 20
"""Transitions that one message may cause; more would be a livelock, so the message goes back instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Settings of the router that decisions rest on."""

    default_provider: str
    metrics_server: str
    drain: timedelta
    options: Options
    gateway_workers: int = 1
    """Worker processes of the gateway, over all its replicas."""
    cut_off_for: timedelta | None = None
    """How long a canary with traffic is held without a bus; None: for as long as it takes."""


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
        self._world, self._cluster, self._clock, self._rules = world, cluster, clock, rules
        self._converge = Converge(cluster, world, rules.options)
        self._outgoing = Outgoing(bus)
        self._schema_problem = schema_problem
        self._on_commit = on_commit
        self._on_stale = on_stale

    async def handle(self, received: wire.Fact | wire.Verdict | wire.Nudge) -> None:
        """Bring this canary as far as it can go now. Raises Conflict, RetryLater or Never."""
        if problem := self._schema_problem():
            raise RetryLater(problem, delay=5.0)
        if isinstance(received, wire.Fact):
            await self._world.catch_up(received)
            if not self._world.tells(received):
                return
        self._world.news.forget(received.canary.uid)
        if isinstance(received, wire.Nudge) and received.reason == "overdue":
            self._outgoing.doubt(received.canary.uid)
        message, checks = inbound.message(received), inbound.checks(received)
        await self._world.assure(received.canary.namespace, received.canary.name)
        for _ in range(MOST_STEPS):
            document = self._world.canary(received.canary.namespace, received.canary.name)
            if document is not None and self.ours(document) and (problem := beyond.problem(document)):
                await self._leave(document, problem)
            if document is None or json.uid(document) != received.canary.uid or not self.concerns(document):
                self._outgoing.forget(received.canary.uid)
                self._world.memory.forget(received.canary.uid)
                if document is not None and not self.ours(document):
                    await self._converge.disown(document)
                return
            if not await self._step(document, message, checks):
                return
            message = Look(received.id)
        raise RetryLater(f"more than {MOST_STEPS} transitions at once", delay=5.0)

    def ours(self, document: Json) -> bool:
        """Design: a Canary of provider apisix, or of none while apisix is the default."""
        return ownership.ours(document, self._rules.default_provider)

    def concerns(self, document: Json) -> bool:
        """Ours, with a status that we can read, and not on its way out without anything left to do."""
        return self.ours(document) and not parse.leaving(document) and not beyond.problem(document)

    async def _leave(self, document: Json, problem: str) -> None:
        """To a newer replica, which may be there still; or, told to people, as it stands."""
        now = self._clock.now()
        if beyond.moved_lately(document, now):
            raise RetryLater(problem, delay=1.0)
        if (patch := beyond.patch(document, problem, now)) is None:
            return
        await self._outgoing.tell(beyond.notice(self._read(document)[0], problem, now))
        namespace, name = json.namespace(document), json.name(document)
        answer = await self._cluster.patch(kinds.CANARY, namespace, name, patch, subresource="status")
        self._world.cache(kinds.CANARY).absorb(answer)

    async def _step(self, document: Json, message: Message, checks: tuple[wire.Check, ...]) -> bool:
        """One round; True if another one may find more to do."""
        moment = self._world.news.moment()
        canary, invalid = self._read(document)
        state = status.decode(document)
        if untouched(state):  # numbers that were given once are never given again
            state = replace(state, seq=await self._outgoing.last_published(canary))
        found = await self._found(canary, invalid)
        try:
            if await self._converge.run(canary, state, found):
                canary = self._again(canary)
                found = await self._found(canary, invalid)
        except Trouble as trouble:
            canary, found = self._again(canary), replace(found, trouble=str(trouble))
        now = self._clock.now()
        await self._outgoing.publish(canary, state, message.cause, checks)
        await self._outgoing.arm(self._scene(canary, state, found, now), now)
        if await self._converge.take_off(canary, state):
            canary = self._again(canary)
        if await self._converge.release(canary, state, found):
            canary = self._again(canary)
        if isinstance(message, Judged) and machine.stale(state, message):
            self._on_stale()
        seen = observe.observe(canary, state, found, self._rules.options, now)
        decision = machine.decide(canary.spec, state, seen, message, now)
        if decision is None:
            self._world.news.quiet(canary.spec.uid, moment)
            return False
        await self._commit(canary, decision, found, message, now)
        self._outgoing.committed(canary.spec.uid, decision.state.seq)
        self._on_commit(Committed(canary, state, decision, checks if isinstance(message, Judged) else ()))
        return True

    async def alone(self, document: Json) -> list[wire.RolloutEvent]:
        """Without a bus: converge → decide → commit. Answers what people haven't been told since it is gone.

        Only what is under way is decided on, and the machine either holds it or ends it. Raises as `handle`, and
        Trouble.
        """
        if problem := self._schema_problem():
            raise RetryLater(problem, delay=5.0)
        document = self._world.memory.recalled(document)
        for _ in range(MOST_STEPS):
            canary, invalid = self._read(document)
            state, found = status.decode(document), await self._found(canary, invalid)
            if status.direct(status.last_transition(document)) and self._converge.pending(canary, state, found):
                await self.look_up(canary.ref)  # another replica may have rolled back what is still held here
                await self._converge.run(self._again(canary), state, found)
                canary = self._again(canary)
                found = await self._found(canary, invalid)
            now, message = self._clock.now(), Look(f"{status.DIRECT}{canary.spec.uid}/{state.transition + 1}")
            seen = observe.observe(canary, state, found, self._rules.options, now)
            seen = replace(seen, cut_off=True, cut_off_for=self._rules.cut_off_for)
            rolling = state.phase in UNDER_WAY and not canary.spec.deleting
            decision = machine.decide(canary.spec, state, seen, message, now) if rolling else None
            if decision is None:
                told = [each for each in status.in_doubt(canary.document) if status.direct(each)]
                return [each.event.data for one in told for each in notices.of(canary, one, (), state.revision)]
            document = await self._commit(canary, decision, found, message, now)
            self._on_commit(Committed(canary, state, decision, ()))
        raise RetryLater(f"more than {MOST_STEPS} transitions at once", delay=5.0)

    def _again(self, canary: Canary) -> Canary:
        """With the version that our own write has made. Raises Conflict where the watch has brought another replica's commit,
        or another spec, with it: what was decided on one state must not be stored on top of the next."""
        latest = self._world.canary(canary.spec.namespace, canary.spec.name)
        if latest is None:
            return canary
        if parse.decided_on(latest) != parse.decided_on(canary.document):
            raise Conflict(f"Canary {canary.spec.name}.{canary.spec.namespace} has moved on meanwhile")
        return replace(canary, document=latest)

    def _read(self, document: Json) -> tuple[Canary, str]:
        try:
            return parse.canary(document, self._rules.drain), ""
        except InvalidCanary as error:
            return parse.broken(document, self._rules.drain), str(error)

    async def _found(self, canary: Canary, invalid: str) -> Found:
        hold = policy.contested(canary.document, canary.spec.interval, self._clock.now())
        found = replace(await self._world.found(canary, invalid=invalid, hold=hold), at=self._clock.now())
        if found.target is None or found.config_problem:
            return found
        try:
            selector(canary, found, self._rules.options)
        except NoSelector as error:
            return replace(found, config_problem=str(error))
        return found

    def _scene(self, canary: Canary, state: State, found: Found, now: datetime) -> Scene:
        counted = nodes.counted(
            canary,
            found,
            canary.names.canary_service,
            nodes.own(nodes.of(canary, found, status.known_nodes(canary.document), now)),
        )
        return Scene(canary, state, found, counted, self._rules.metrics_server, self._rules.gateway_workers)

    async def _commit(self, canary: Canary, decision: Decision, found: Found, message: Message, now: datetime) -> Json:
        """Store the transition against the version it was decided on; a lost race is decided anew. Answers the Canary."""
        document = canary.document
        own = json.mapping(document, "status", "serinus")
        superseded = decision.state.revision != json.text(own, "revision")
        fresh = superseded or not own or found.configs is None
        writers = ownership.status_writers(document)
        writers.pop(ownership.ROUTER, None)
        recorded = status.Recorded(
            kind=canary.spec.target_kind,
            configs=found.configs if fresh else json.mapping(own, "configs"),
            nodes=(nodes.of_another if superseded else nodes.of)(
                canary, found, status.known_nodes(canary.document), now
            ),
            cause=message.cause,
            generation=json.number(document, "metadata", "generation"),
            writers=json.mapping(own, "writers") if found.hold else writers,
        )
        new = status.encode(document, decision, recorded, now)
        namespace, name = canary.spec.namespace, canary.spec.name
        change = merge_patch(json.mapping(document, "status"), new)
        if self._world.wiped(namespace, name):
            change = whole(new, change)
        patch = {"metadata": {"resourceVersion": json.version(document)}, "status": change}
        answer = await self._cluster.patch(kinds.CANARY, namespace, name, patch, subresource="status")
        if json.number(answer, "status", "serinus", "transition") != decision.state.transition:
            raise RetryLater(FOREIGN, delay=10.0)
        self._world.memory.learn(answer)
        self._world.cache(kinds.CANARY).absorb(answer)
        return self._world.canary(namespace, name) or answer

    async def look_up(self, ref: wire.CanaryRef) -> None:
        """Another replica may have committed what the watch hasn't brought yet."""
        await self._world.reread(kinds.CANARY, ref.namespace, ref.name)

    async def refresh(self, ref: wire.CanaryRef) -> None:
        """After a lost race: read what the watch hasn't brought yet."""
        await self._world.reread(kinds.CANARY, ref.namespace, ref.name)
        document = self._world.cache(kinds.CANARY).get(ref.namespace, ref.name)
        if document is not None:
            await self._world.reread_parts(ref.namespace, self._read(document)[0].names)

    async def lost_its_tick(self, document: Json) -> bool:
        """Asks the bus whether the tick that this canary waits for is still there. Raises RetryLater."""
        tick = status.decode(document).tick if self.concerns(document) else None
        ref = wire.CanaryRef(namespace=json.namespace(document), name=json.name(document), uid=json.uid(document))
        return tick is not None and await self._outgoing.lost(ref, tick.seq)

    async def due_for_a_look(self, document: Json, now: datetime, grace: timedelta) -> str:
        """Why this canary needs a nudge, or an empty text: an overdue tick, a fact that never arrived, or an object
        that isn't as wanted.

        Reads caches only; a canary that isn't rolling out costs nothing but this.
        """
        if not self.concerns(document) or self._schema_problem():
            return ""
        document = self._world.memory.recalled(document)
        state = status.decode(document)
        if state.tick is not None and state.tick.due + grace < now:
            return "overdue"
        canary, invalid = self._read(document)
        found = await self._found(canary, invalid)
        if self._converge.pending(canary, state, found):
            return "unconverged"
        seen = observe.observe(canary, state, found, self._rules.options, now)
        pending = machine.decide(canary.spec, state, seen, Look("sweep"), now)
        return "pending" if pending is not None else ""
