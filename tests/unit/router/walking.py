"""One canary, its cluster and its people, moved about by somebody else: the world of the random walk.

The machine and the rules of size and restraint (`wanted.target_replicas`, `wanted.hands_off`) are the real ones; gateway
and workloads are numbers. Every decision is checked against the promises as it is made.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.router import idle, parse, wanted
from services.router.found import Found
from services.router.rollout import reach
from services.router.rollout.inputs import Judged, Look, Message, Observation, Outcome, Raised
from services.router.rollout.machine import RULES, Decision, Rule, decide, stale
from services.router.rollout.readiness import READY, Readiness
from services.router.rollout.spec import Spec, first_gates
from services.router.rollout.state import ANALYSING, SETTLED, TAKEN_OVER, Phase, Stage, State, invariants
from shared.kube.json import Json
from tests.story.theatre import guide
from tests.unit.router.stage import START, UNREADY

GONE = Readiness(False, False, 'deployment podinfo.test get query error: deployments.apps "podinfo" not found')
OVER = SETTLED | {Phase.TERMINATING}
LONG_AGO = START - timedelta(days=1)
CANARY = parse.canary(guide("canary"), timedelta(seconds=10))


@dataclass
class World:
    """Plays shell, cluster and gateway around `decide`."""

    spec: Spec
    state: State = field(default_factory=State)
    seen: Observation = field(
        default_factory=lambda: Observation(revision="r0", primary=UNREADY, primary_revision="r0")
    )
    now: datetime = START
    replicas: int = 1
    gateway: int = 0
    """The canary's percent as the gateway has it."""
    generation: int = 1
    scaler: str = ""
    """Who gave the target its number of replicas, if it wasn't us."""
    revision: str = "r0"
    restorable: bool = True
    """Does the API server let a deletion have its way?"""
    last: Judged | None = None
    """The last verdict that counted, for doubles."""
    testers: bool = False
    """Does the gateway send testers to it?"""
    passed: tuple[str, int, int, Phase] | None = None
    """Where (revision, weight, iterations, phase) the last verdict passed."""
    decisions: list[Decision] = field(default_factory=list)

    def change(self, **changes: object) -> None:
        """The cluster looks different now, and a fact says so."""
        self.seen = replace(self.seen, **changes)  # type: ignore[arg-type]  # names and types are the caller's
        self.send(Look("fact"))

    def target(self, revision: str) -> None:
        """The target shows this revision, or isn't there (empty)."""
        self.revision = revision or self.revision
        problem = "" if revision else GONE.text
        canary = READY if self.seen.target_missing and revision else GONE if not revision else self.seen.canary
        self.change(revision=revision, problem=problem, target_missing=not revision, canary=canary)

    def delete(self, *, fronted: bool, restorable: bool) -> None:
        """Somebody deletes the Canary."""
        self.restorable = restorable
        unpromoted = self.seen.revision != self.seen.primary_revision
        self.seen = replace(
            self.seen, fronted=fronted, unpromoted=unpromoted, canary_sized=False, routed=self.gateway,
            belongings=("Deployment podinfo-primary",),
        )  # fmt: skip
        self.edit(deleting=True)

    def scale(self, manager: str, replicas: int) -> None:
        """Somebody scales the target."""
        self.replicas, self.scaler, self.generation = replicas, manager, self.generation + 1
        self.change(canary_scaled=replicas > 0)

    def edit(self, **changes: object) -> None:
        """Somebody edits the Canary."""
        self.spec = replace(self.spec, **changes)  # type: ignore[arg-type]  # as above
        self.send(Look("edit"))

    def send(self, message: Message) -> None:
        """Deliver one message, and look again until nothing changes, as the reconciler does."""
        current = isinstance(message, Judged) and not stale(self.state, message)
        for _ in range(20):
            self.converge()
            decision = decide(self.spec, self.state, self.seen, message, self.now)
            if decision is None:
                return
            if isinstance(message, Judged) and current:
                self.last = message
                here = (self.state.revision, self.state.weight, self.state.iterations)
                self.passed = (*here, decision.state.phase) if message.outcome is Outcome.PASS else None
            self._check(decision, message if current else Look("again"))
            self.state = decision.state
            self.decisions.append(decision)
            message, current = Look("again"), False
        raise AssertionError(f"livelock: {[each.rule for each in self.decisions[-8:]]}")

    def judge(self, outcome: Outcome, *checks: object) -> None:
        """The pending tick comes due and is judged so."""
        tick = self.state.tick
        assert tick is not None
        self.now = max(self.now, tick.due)
        verdict = Judged("v", tick.revision, tick.seq, tick.due, tick.purpose, outcome, checks)  # type: ignore[arg-type]
        self.send(verdict)

    # --- the shell -------------------------------------------------------------------------------------------

    def converge(self) -> None:
        known = self.seen.revision in {self.state.revision, self.state.promoted}
        found = Found(
            target=None if self.seen.target_missing else self._target(),
            hold=self.seen.hold,
            config_problem="not a new revision" if known else "",  # its hash would never be one of the walk's names
        )
        canary = replace(CANARY, spec=self.spec, document=self._resting())
        self.seen = replace(self.seen, raised=idle.raised(canary, self.state, found), sized_by=idle.claimed(found))
        if wanted.hands_off(canary, self.state, found, bool(self.seen.refusals)):
            return
        if self.state.phase is Phase.TERMINATING:
            self._hand_back()
            return
        self._copy()
        self.gateway, self.testers = self.state.weight, reach.testers(self.spec, self.state)
        size = wanted.target_replicas(canary, self.state, found)
        if size is not None:
            assert size > 0 or (self.gateway == 0 and not self.testers), (
                "scaled to zero while the gateway sends it traffic"
            )
            self.replicas, self.scaler, self.generation = size, "", self.generation + 1
            self.seen = replace(self.seen, canary_scaled=size > 0, raised=Raised(), sized_by=frozenset())

    def _target(self) -> Json:
        entry = {"manager": self.scaler, "time": self.now.isoformat(), "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        metadata = {"generation": self.generation, "managedFields": [entry] if self.scaler else []}
        return {"metadata": metadata, "spec": {"replicas": self.replicas}}

    def _resting(self) -> Json:
        """The Canary came to where it is long ago."""
        came = {"phase": str(self.state.phase), "stage": str(self.state.stage), "at": LONG_AGO.isoformat()}
        return {"status": {"serinus": {"transitions": [came]}}}

    def _hand_back(self) -> None:
        """What services.router.handing_back makes of the stage."""
        if self.state.stage is Stage.DRAINING:
            self.gateway = self.state.weight
        if self.state.stage is Stage.RESTORING and self.restorable:
            assert self.gateway == 0, "the template changes under traffic"
            self.seen = replace(self.seen, unpromoted=False)
        if self.state.stage in {Stage.RESTORING, Stage.RETURNING}:
            self.replicas = max(self.replicas, 1)
            self.seen = replace(self.seen, canary_sized=True, canary_scaled=True)
        if self.state.stage is Stage.LEAVING and self.restorable:
            self.gateway, self.seen = 0, replace(self.seen, fronted=False)

    def _copy(self) -> None:
        if self.state.promotion == TAKEN_OVER:
            same = self.seen.primary_revision == self.state.revision
            self.seen = replace(self.seen, primary_promotion=TAKEN_OVER if same else "")
            return
        carrying = self.seen.primary_promotion == self.state.promotion
        if self.state.phase is Phase.PROMOTING and self.seen.revision == self.state.revision and not carrying:
            self.seen = replace(
                self.seen, primary_promotion=self.state.promotion, primary_revision=self.state.revision, primary=UNREADY
            )

    # --- the promises ----------------------------------------------------------------------------------------

    def _check(self, decision: Decision, message: Message) -> None:
        before, after = self.state, decision.state
        assert invariants(after) == [], (decision.rule, before, after)
        assert after.phase in self._rule(decision).leads, decision.rule
        assert (after.transition, after.seq) == (before.transition + 1, before.seq + len(decision.events))
        if after.weight > before.weight or after.iterations > before.iterations:
            self._rose(decision, message)
        assert after.phase in ANALYSING | {Phase.PROMOTING} or not reach.testers(self.spec, after)
        assert (after.phase in ANALYSING and after.weight == 0) or not reach.mirrored(self.spec, after)
        told = [draft.message for draft in decision.events]
        beyond = any("threshold reached" in text or "deadline exceeded" in text for text in told)
        if beyond and after.phase is not Phase.TERMINATING:
            assert after.phase is Phase.FAILED
            assert after.weight == 0 or (before.weight == 100 and not self.seen.primary.ready)
        if after.stage is not before.stage and before.stage is Stage.DRAINING and after.phase in SETTLED:
            over = isinstance(message, Judged) or after.phase is Phase.FAILED
            assert over, "a drain is cut short by nothing but a new rollout"

    def _rose(self, decision: Decision, message: Message) -> None:
        before, after = self.state, decision.state
        if after.phase is Phase.FAILED:
            assert (decision.rule, after.weight) == ("primary beyond its deadline", 100)
            return
        assert self.seen.canary.ready, "weight rose while the canary was not ready"
        assert before.phase in ANALYSING
        if before.stage is Stage.READYING:
            assert not self.spec.hooks & first_gates(self.spec)
            assert before.weight == 0
        elif decision.rule == "approved":
            assert self.passed == (before.revision, before.weight, before.iterations, before.phase)
        else:
            assert isinstance(message, Judged)
            assert message.outcome is Outcome.PASS
            assert message.revision == before.revision == self.seen.revision
            assert before.tick is not None
            assert message.seq == before.tick.seq, "the verdict is of this step"

    def _rule(self, decision: Decision) -> Rule:
        return next(rule for rule in RULES if rule.when == decision.rule and self.state.phase in rule.phases)
