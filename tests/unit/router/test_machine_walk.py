"""A random walk over everything that can happen to a canary, with what must always hold checked after each step.

The walk plays the shell, the cluster and people; Hypothesis looks for the order of things that breaks a promise.
"""

from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.router.rollout.inputs import Check, Judged, Kind, Look, Observation, Outcome, Request, Verb
from services.router.rollout.machine import RULES, Decision, decide
from services.router.rollout.readiness import READY
from services.router.rollout.spec import Spec
from services.router.rollout.state import SETTLED, Phase, Purpose, Stage, State, invariants
from tests.unit.router.stage import BROKEN, START, UNREADY, spec

LEADS = {rule.when: rule.leads for rule in RULES}
HOOKS = ("confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout")


class Walk(RuleBasedStateMachine):
    """One canary through whatever Hypothesis thinks of."""

    @initialize(
        step=st.sampled_from([10, 30, 50, 100]), top=st.sampled_from([10, 50, 100]), back=st.sampled_from([0, 20, 60]),
        hooks=st.sets(st.sampled_from(HOOKS)), threshold=st.integers(1, 3), skip=st.booleans(),
    )  # fmt: skip
    def begin(self, step: int, top: int, back: int, hooks: set[str], threshold: int, skip: bool) -> None:
        self.spec: Spec = spec(
            step=step,
            max_weight=top,
            promotion_step=back,
            hooks=frozenset(hooks),
            threshold=threshold,
            skip_analysis=skip,
        )
        self.state = State()
        self.seen = Observation(revision="r0", primary=UNREADY, primary_revision="r0", canary_scaled=True)
        self.now = START
        self.counter = 0
        self.last: Decision | None = None
        self._send(Look("created"))

    # --- what can happen -------------------------------------------------------------------------------------

    @rule(outcome=st.sampled_from(list(Outcome)), gate=st.booleans(), undo=st.integers(0, 9))
    def tick(self, outcome: Outcome, gate: bool, undo: int) -> None:
        tick = self.state.tick
        if tick is None:
            return
        self.now = max(self.now, tick.due)
        checks = [Check("metric", Kind.METRIC, outcome, f"metric is {outcome}")]
        if self.spec.hooks & {"confirm-rollout", "confirm-traffic-increase", "confirm-promotion"}:
            checks.append(
                Check("gate", Kind.GATE, Outcome.PASS if gate else Outcome.FAIL, "gate passed" if gate else "")
            )
        if undo == 0:
            checks.append(Check("undo", Kind.ROLLBACK, Outcome.PASS, "Rollback check undo passed"))
        if tick.purpose is Purpose.TIMER:
            outcome, checks = Outcome.PASS, []
        self._send(Judged("v", tick.revision, tick.seq, tick.due, tick.purpose, outcome, tuple(checks)))

    @rule(outcome=st.sampled_from(list(Outcome)), behind=st.integers(1, 3))
    def stale_verdict(self, outcome: Outcome, behind: int) -> None:
        before = self.state
        due = self.now - timedelta(seconds=behind)
        decision = decide(
            self.spec, self.state, self.seen,
            Judged("late", self.state.revision, self.state.transition - behind, due, Purpose.ANALYSIS, outcome), self.now,
        )  # fmt: skip
        assert decision is None or decision.state.weight <= before.weight

    @rule()
    def new_revision(self) -> None:
        self.counter += 1
        self.seen = replace(self.seen, revision=f"r{self.counter}")
        self._send(Look("revision"))

    @rule()
    def back_to_promoted(self) -> None:
        if self.state.promoted:
            self.seen = replace(self.seen, revision=self.state.promoted)
            self._send(Look("revision"))

    @rule(side=st.sampled_from(["canary", "primary"]), readiness=st.sampled_from([READY, READY, UNREADY, BROKEN]))
    def readiness(self, side: str, readiness: object) -> None:
        self.seen = replace(self.seen, **{side: readiness})  # type: ignore[arg-type] # the two fields have this type
        self._send(Look("readiness"))

    @rule(text=st.sampled_from(["", "", "apisix route selector is empty"]))
    def problem(self, text: str) -> None:
        self.seen = replace(self.seen, problem=text)
        self._send(Look("problem"))

    @rule(on=st.booleans())
    def suspend(self, on: bool) -> None:
        self.spec = replace(self.spec, suspended=on)
        self._send(Look("suspend"))

    @rule(verb=st.sampled_from(list(Verb)))
    def ask(self, verb: Verb) -> None:
        self.counter += 1
        self.seen = replace(self.seen, request=Request(verb, f"{verb}:{self.counter}"))
        self._send(Look("request"))

    @rule(threshold=st.integers(1, 3), step=st.sampled_from([10, 50]))
    def edit(self, threshold: int, step: int) -> None:
        self.spec = replace(self.spec, threshold=threshold, step=step)
        self._send(Look("edit"))

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self._send(Look("time"))

    # --- the shell -------------------------------------------------------------------------------------------

    def _send(self, message: Look | Judged) -> None:
        for _ in range(30):
            self._converge()
            decision = decide(self.spec, self.state, self.seen, message, self.now)
            if decision is None:
                return
            self._check(decision, message)
            self.state, self.last = decision.state, decision
            message = Look("again")
        raise AssertionError("livelock")

    def _converge(self) -> None:
        if self.spec.suspended:
            return
        carrying = self.seen.primary_promotion == self.state.promotion
        if self.state.phase is Phase.PROMOTING and self.seen.revision == self.state.revision and not carrying:
            self.seen = replace(
                self.seen, primary_promotion=self.state.promotion, primary_revision=self.state.revision, primary=UNREADY
            )
        idle = self.state.phase in SETTLED and self.state.stage in {Stage.IDLE, Stage.CONFIRMING}
        if (idle and self.state.weight == 0) or self.state.phase is Phase.WAITING:
            assert self.state.weight == 0, "a canary is never scaled to zero while it has weight"
            self.seen = replace(self.seen, canary_scaled=False)
        elif self.state.phase not in SETTLED | {Phase.NEW, Phase.INITIALIZING}:
            self.seen = replace(self.seen, canary_scaled=True)

    def _check(self, decision: Decision, message: Look | Judged) -> None:
        before, after = self.state, decision.state
        assert after.phase in LEADS[decision.rule] or decision.rule in LEADS, decision.rule
        assert after.seq == before.seq + len(decision.events)
        assert after.transition == before.transition + 1
        if after.weight > before.weight:
            promotion_failed = after.phase is Phase.FAILED and after.weight == 100
            first = before.stage is Stage.READYING and not self.spec.hooks & {"pre-rollout", "confirm-traffic-increase"}
            asked = self.seen.request is not None and after.request == self.seen.request.id
            judged = isinstance(message, Judged) and message.outcome is Outcome.PASS
            assert promotion_failed or first or asked or judged, f"weight rose by {decision.rule}"
            assert promotion_failed or self.seen.canary.ready, "weight rose while the canary was not ready"
        if any("threshold reached" in draft.message for draft in decision.events):
            assert after.phase is Phase.FAILED
            assert after.weight == 0 or (before.weight == 100 and not self.seen.primary.ready)

    # --- what must always hold -------------------------------------------------------------------------------

    @invariant()
    def sound(self) -> None:
        assert invariants(self.state) == []

    @invariant()
    def rests(self) -> None:
        """Nothing is left to do once the machine has said so: the same look changes nothing."""
        assert decide(self.spec, self.state, self.seen, Look("again"), self.now) is None

    @precondition(lambda self: self.state.phase not in SETTLED | {Phase.NEW})
    @invariant()
    def never_waits_for_ever(self) -> None:
        """Whoever is under way waits for a tick, or for something that a person or the cluster has to mend."""
        blocked = any(notice.startswith("block:") for notice in self.state.noticed)
        waits_for_primary = self.state.phase is Phase.INITIALIZING
        assert self.state.tick is not None or blocked or waits_for_primary

    def teardown(self) -> None:
        """Every rollout ends: with a healthy world and passing verdicts it succeeds within a bounded number of ticks."""
        self.spec = replace(self.spec, suspended=False)
        self.seen = replace(self.seen, problem="", canary=READY, primary=READY, request=None)
        self._send(Look("healed"))
        for _ in range(200):
            tick = self.state.tick
            if tick is None:
                break
            self.now = max(self.now, tick.due)
            self.seen = replace(self.seen, primary=READY)
            self._send(Judged("v", tick.revision, tick.seq, tick.due, tick.purpose, Outcome.PASS))
            self.seen = replace(self.seen, primary=READY)
            self._send(Look("ready"))
        assert self.state.phase in SETTLED, f"ended in {self.state.phase}/{self.state.stage}"
        if self.state.weight:
            assert self.state.phase is Phase.FAILED


Walk.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestWalk = Walk.TestCase
