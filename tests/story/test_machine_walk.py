"""A random walk over everything that can happen to a canary; Hypothesis looks for the order that breaks a promise.

What is checked at each decision stands in `tests/unit/router/walking.py`; here is what may happen, what must hold at
rest, and that every rollout ends, whatever came before and however it is judged from then on.
"""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from services.router import idle
from services.router.rollout.inputs import Check, Judged, Kind, Look, Outcome, Request, Verb
from services.router.rollout.machine import decide
from services.router.rollout.readiness import READY, Readiness
from services.router.rollout.state import ANALYSING, UNDER_WAY, Phase, Purpose, Stage, State, blocked, invariants
from tests.unit.router.stage import BROKEN, UNREADY, spec
from tests.unit.router.walking import OVER, World

HOOKS = ("confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout")
ENDINGS = (Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.HOLD)
ADOPTABLE = [phase for phase in Phase if phase not in {Phase.NEW, Phase.TERMINATING}]
MANY = 60
"""Ticks within which every rollout ends: ten steps, ten failed checks, a gate, a promotion in steps, hooks, drains."""


class Walk(RuleBasedStateMachine):
    """One canary through whatever Hypothesis thinks of."""

    @initialize(
        step=st.sampled_from([10, 30, 50, 100]), top=st.sampled_from([10, 50, 100]), back=st.sampled_from([0, 20, 60]),
        hooks=st.sets(st.sampled_from(HOOKS)), threshold=st.integers(1, 3), skip=st.booleans(),
        ending=st.sampled_from(ENDINGS), trouble=st.booleans(), ticks=st.sampled_from([0, 1, 3, 6, 15]),
        failed_promotion=st.booleans(), adopted=st.sampled_from([Phase.NEW] * 9 + ADOPTABLE),
        share=st.sampled_from([0, 10, 50]), iterations=st.sampled_from([0, 0, 1, 3]), testers=st.booleans(),
        mirror=st.booleans(), cookie=st.sampled_from(["", "side"]),
    )  # fmt: skip
    def begin(
        self, step: int, top: int, back: int, hooks: set[str], threshold: int, skip: bool, ending: Outcome,
        trouble: bool, ticks: int, failed_promotion: bool, adopted: Phase, share: int, iterations: int, testers: bool,
        mirror: bool, cookie: str,
    ) -> None:  # fmt: skip
        """A walk begins some way into a first rollout, or after its promotion has failed: walks seldom get so far.

        Now and then it begins with what another controller left.
        """
        self.ending, self.trouble, self.counter = ending, trouble, 1
        self.world = World(spec(
            step=step, max_weight=top, promotion_step=back, hooks=frozenset(hooks), threshold=threshold,
            skip_analysis=skip, deadline=timedelta(seconds=60), iterations=iterations, testers=testers, mirror=mirror,
            cookie=cookie,
        ))  # fmt: skip
        if adopted in ANALYSING | {Phase.PROMOTING}:
            self.world.state = State(phase=adopted, weight=share)
            self.world.seen, self.world.gateway = replace(self.world.seen, routed=share, canary=READY), share
        else:
            self.world.state = State(phase=adopted)
        self.world.send(Look("created"))
        if ticks > 0:
            self.world.change(primary=READY, canary=READY)
            self._pass(3)
            self.world.target("r1")
            self._pass(MANY if failed_promotion else ticks)
            if failed_promotion:
                self.world.change(primary=BROKEN)

    # --- verdicts --------------------------------------------------------------------------------------------

    @rule(outcome=st.sampled_from([Outcome.PASS, Outcome.PASS, *ENDINGS]), gate=st.booleans(), undo=st.integers(0, 9))
    def tick(self, outcome: Outcome, gate: bool, undo: int) -> None:
        if self.world.state.tick is not None:
            self._judge(outcome, gate, undo == 0)

    @rule(ticks=st.integers(1, 4))
    def good_ticks(self, ticks: int) -> None:
        self._pass(ticks)

    @rule(outcome=st.sampled_from(ENDINGS))
    def stale_verdict(self, outcome: Outcome) -> None:
        """Of an earlier transition, another due time, another revision, another purpose."""
        tick = self.world.state.tick
        if tick is None:
            return
        due, seq = tick.due, tick.seq
        for verdict in (
            Judged("late", tick.revision, seq - 1, due, tick.purpose, outcome),
            Judged("early", tick.revision, seq, due - timedelta(seconds=1), tick.purpose, outcome),
            Judged("other", "elsewhere", seq, due, tick.purpose, outcome),
            Judged("wrong", tick.revision, seq, due,
                   Purpose.TIMER if tick.purpose is not Purpose.TIMER else Purpose.ANALYSIS, outcome),
        ):  # fmt: skip
            self._changes_nothing(verdict)

    @rule()
    def fast_abort(self) -> None:
        """A look between two ticks finds the canary broken: before the tick is due, and only ever to the primary."""
        tick, weight = self.world.state.tick, self.world.state.weight
        if tick is not None and tick.purpose is Purpose.ANALYSIS:
            found = (tick.revision, tick.seq, tick.due, tick.purpose, Outcome.FAIL)
            self.world.send(Judged("abort", *found, abort="canary failed 80 of 100 requests"))
            assert self.world.state.weight in {0, weight}, "it advances nothing"

    @rule(note=st.sampled_from(["", "podinfo.test is scaled down although it had 12 requests"]))
    def drained(self, note: str) -> None:
        """A look between two ticks finds that nothing reaches the canary: its drain is over before its time."""
        state = self.world.state
        if state.stage is Stage.DRAINING and state.tick is not None and state.phase is not Phase.TERMINATING:
            found = (state.tick.revision, state.tick.seq, state.tick.due, state.tick.purpose)
            check = Check("drain", Kind.EVIDENCE, Outcome.PASS, note=note)
            self.world.send(Judged("drained", *found, Outcome.PASS, (check,)))

    @rule()
    def doubled_verdict(self) -> None:
        if self.world.last is not None:
            self._changes_nothing(self.world.last)

    # --- the cluster -----------------------------------------------------------------------------------------

    @rule()
    def new_revision(self) -> None:
        """Another template, or a tracked config that changed: both are in the revision."""
        self.counter += 1
        self.world.target(f"r{self.counter}")

    @rule()
    def back_to_promoted(self) -> None:
        if self.world.state.promoted:
            self.world.target(self.world.state.promoted)

    @rule(gone=st.booleans())
    def target_deleted(self, gone: bool) -> None:
        self.world.target("" if gone else self.world.revision)

    @rule(side=st.sampled_from(["canary", "primary"]), readiness=st.sampled_from([READY, READY, UNREADY, BROKEN]))
    def readiness(self, side: str, readiness: Readiness) -> None:
        if side == "primary" or not self.world.seen.target_missing:
            self.world.change(**{side: readiness})

    @rule(text=st.sampled_from(["", "", "apisix route selector is empty"]))
    def problem(self, text: str) -> None:
        if not self.world.seen.target_missing:
            self.world.change(problem=text, revision="" if text else self.world.revision)

    @rule(text=st.sampled_from(["", "", "another controller (flagger) writes this Canary"]))
    def contested(self, text: str) -> None:
        self.world.change(hold=text)

    @rule(manager=st.sampled_from(["argo", "argo", "hpa"]), replicas=st.integers(0, 2), times=st.integers(1, 5))
    def scale(self, manager: str, replicas: int, times: int) -> None:
        for _ in range(times):
            self.world.scale(manager, replicas)

    @rule(gone=st.booleans(), longest=st.sampled_from([None, timedelta(seconds=30)]))
    def bus(self, gone: bool, longest: timedelta | None) -> None:
        self.world.change(cut_off=gone, cut_off_for=longest)

    # --- people ----------------------------------------------------------------------------------------------

    @rule(on=st.booleans())
    def suspend(self, on: bool) -> None:
        self.world.edit(suspended=on)

    @rule(on=st.booleans())
    def refused(self, on: bool) -> None:
        self.world.change(refusals=("spec.analysis.match is not supported",) if on else ())

    @rule(verb=st.sampled_from(list(Verb)))
    def ask(self, verb: Verb) -> None:
        self.counter += 1
        self.world.change(request=Request(verb, f"{verb}:{self.counter}"))

    @rule(threshold=st.integers(1, 3), step=st.sampled_from([0, 10, 50]), top=st.sampled_from([20, 100]))
    def edit(self, threshold: int, step: int, top: int) -> None:
        self.world.edit(threshold=threshold, step=step, steps=(5, 40) if step == 0 else (), max_weight=top)

    @rule(iterations=st.sampled_from([0, 1, 2, 5]), testers=st.booleans(), mirror=st.booleans())
    def edit_strategy(self, iterations: int, testers: bool, mirror: bool) -> None:
        self.world.edit(iterations=iterations, testers=testers, mirror=mirror)

    @rule(hooks=st.sets(st.sampled_from(HOOKS)), skip=st.booleans(), back=st.sampled_from([0, 30]))
    def edit_more(self, hooks: set[str], skip: bool, back: int) -> None:
        self.world.edit(hooks=frozenset(hooks), skip_analysis=skip, promotion_step=back)

    @rule(chance=st.integers(0, 9), fronted=st.booleans(), restorable=st.booleans())
    def delete(self, chance: int, fronted: bool, restorable: bool) -> None:
        if chance == 0 and not self.world.spec.deleting:
            self.world.delete(fronted=fronted, restorable=restorable)

    @rule(seconds=st.integers(1, 90))
    def wait(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)
        self.world.send(Look("time"))

    # --- what must always hold -------------------------------------------------------------------------------

    @invariant()
    def sound(self) -> None:
        assert invariants(self.world.state) == []

    @invariant()
    def rests(self) -> None:
        """Nothing is left to do once the machine has said so: the same look changes nothing."""
        world = self.world
        assert decide(world.spec, world.state, world.seen, Look("again"), world.now) is None

    @invariant()
    def idle_is_idle(self) -> None:
        """At rest the target stands at zero, unless somebody has kept it up so often that it was left to them."""
        world, state = self.world, self.world.state
        known = world.seen.revision in {state.revision, state.promoted}
        hands_off = world.spec.suspended or world.spec.deleting or world.seen.refusals or world.seen.hold
        if idle.at_rest(state.phase, state.stage) and known and not hands_off and not world.seen.cut_off:
            assert world.replicas == 0 or state.yielded or state.weight > 0 or world.seen.target_missing
        assert all(Counter(each.manager for each in state.raises)[name] <= 3 for name in ("argo", "hpa"))

    @invariant()
    def never_waits_for_ever(self) -> None:
        """Whoever is under way waits for a tick, or for something that people have been told of."""
        if self.world.state.phase in UNDER_WAY:
            assert self.world.state.tick is not None or blocked(self.world.state)

    def teardown(self) -> None:
        """Every rollout ends within a bounded number of ticks: in a healthy world however it is judged, and in one
        where something is missing for good by its deadline."""
        if not hasattr(self, "world"):
            return
        if self.trouble:
            self._ends_in_trouble()
        self._heal()
        for _ in range(MANY):
            if self.world.state.tick is None:
                break
            self._judge(self.ending, True, False)  # in the end, every gate opens
            self._heal()
        state = self.world.state
        assert state.phase in OVER, f"ended in {state.phase}/{state.stage}"
        assert state.tick is None
        assert state.weight in {0, 100} or "terminated" in state.noticed
        assert state.weight == 0 or state.phase is Phase.FAILED or "terminated" in state.noticed
        assert state.phase is not Phase.TERMINATING or "terminated" in state.noticed

    # --- means -----------------------------------------------------------------------------------------------

    def _judge(self, outcome: Outcome, gate: bool, undo: bool) -> None:
        world = self.world
        tick = world.state.tick
        assert tick is not None
        checks = [Check("metric", Kind.METRIC, outcome, f"metric is {outcome}")]
        if world.spec.hooks & {"confirm-rollout", "confirm-traffic-increase", "confirm-promotion"}:
            passed = Outcome.PASS if gate else Outcome.FAIL
            checks.append(Check("gate", Kind.GATE, passed, "gate passed" if gate else ""))
        if undo:
            checks.append(Check("undo", Kind.ROLLBACK, Outcome.PASS, "Rollback check undo passed"))
        if tick.purpose in {Purpose.TIMER, Purpose.CONFIRM_ROLLOUT}:  # nothing but gates can be asked there
            outcome, checks = Outcome.PASS, [each for each in checks if each.kind is Kind.GATE]
        world.judge(outcome, *(checks if tick.purpose is not Purpose.TIMER else ()))

    def _pass(self, ticks: int) -> None:
        """Up to so many ticks of a rollout that goes well, as long as its primary needn't roll out."""
        for _ in range(ticks):
            if self.world.state.tick is not None and self.world.state.phase is not Phase.PROMOTING:
                self._judge(Outcome.PASS, True, False)

    def _changes_nothing(self, verdict: Judged) -> None:
        before = self.world.state
        self.world.send(verdict)
        assert self.world.state == before

    def _heal(self) -> None:
        world = self.world
        world.edit(suspended=False)
        world.change(refusals=(), hold="", cut_off=False, request=None)
        world.target(world.revision)
        world.change(canary=READY, primary=READY)

    def _ends_in_trouble(self) -> None:
        """Something is missing, and nobody comes to mend it."""
        world = self.world
        world.edit(suspended=False)
        world.change(refusals=(), hold="", cut_off=False, request=None)
        world.change(problem="missing", revision="", canary=UNREADY)
        for _ in range(MANY):
            world.now += timedelta(seconds=20)
            world.send(Look("time"))
            if world.state.tick is not None:
                self._judge(self.ending, False, False)
        allowed = OVER | {Phase.NEW, Phase.INITIALIZING, Phase.WAITING, Phase.PROMOTING}
        assert world.state.phase in allowed, world.state.phase
        assert world.state.phase is not Phase.PROMOTING or world.seen.primary_promotion == world.state.promotion


Walk.TestCase.settings = settings(
    max_examples=250, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestWalk = Walk.TestCase
