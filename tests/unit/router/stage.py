"""A canary on a stage: builds specs, observations and verdicts, and runs the machine until it rests."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.router.rollout.inputs import Check, Judged, Kind, Look, Message, Observation, Outcome
from services.router.rollout.machine import Decision, decide
from services.router.rollout.readiness import READY, Readiness
from services.router.rollout.spec import Spec
from services.router.rollout.state import Phase, Purpose, State, invariants
from services.router.rollout.texts import Draft

START = datetime(2026, 1, 1, tzinfo=UTC)
UNREADY = Readiness(
    False, True, "waiting for rollout to finish: 0 of 1 (readyThreshold 100%) updated replicas are available"
)
BROKEN = Readiness(False, False, 'deployment "podinfo" exceeded its progress deadline')


def spec(**changes: Any) -> Spec:
    """The guide's canary: steps of 10 up to 50, every 10 s, threshold 10."""
    base = Spec(
        namespace="test", name="podinfo", uid="u1", target="podinfo", interval=timedelta(seconds=10), threshold=10,
        step=10, max_weight=50, deadline=timedelta(seconds=60), drain=timedelta(seconds=10),
    )  # fmt: skip
    return replace(base, **changes)


@dataclass
class Stage:
    """One canary, its clock and its world. `converge` plays the shell: the primary gets what a promotion asks for."""

    spec: Spec = field(default_factory=spec)
    state: State = field(default_factory=State)
    seen: Observation = field(
        default_factory=lambda: Observation(revision="r1", primary_revision="r1", canary_scaled=False)
    )
    now: datetime = START
    told: list[Draft] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def look(self) -> "Stage":
        return self.send(Look("fact"))

    def send(self, message: Message) -> "Stage":
        """Deliver one message and look again until nothing changes, as the reconciler does."""
        for _ in range(30):
            self._converge()
            decision = decide(self.spec, self.state, self.seen, message, self.now)
            if decision is None:
                return self
            assert decision.state.transition == self.state.transition + 1
            assert decision.state.seq == self.state.seq + len(decision.events)
            self.state = decision.state
            assert invariants(self.state) == []
            self.told += decision.events
            self.decisions.append(decision)
            message = Look("again")
        raise AssertionError(f"livelock: {[each.rule for each in self.decisions[-10:]]}")

    def _converge(self) -> None:
        if self.spec.suspended or self.seen.refusals or self.seen.hold:
            return
        if self.state.phase is Phase.PROMOTING and self.seen.revision == self.state.revision:
            if self.seen.primary_promotion != self.state.promotion and not self.seen.primary.retriable:
                self.seen = replace(self.seen, primary=UNREADY)  # a new template starts a new deadline
            self.seen = replace(self.seen, primary_promotion=self.state.promotion, primary_revision=self.state.revision)
        busy = {Phase.PROGRESSING, Phase.WAITING_PROMOTION, Phase.PROMOTING, Phase.FINALISING}
        if self.state.phase in busy:
            self.seen = replace(self.seen, canary_scaled=True)

    def judge(self, outcome: Outcome = Outcome.PASS, *checks: Check) -> "Stage":
        """The pending tick comes due and is judged so."""
        tick = self.state.tick
        assert tick is not None, f"no tick pending in {self.state.phase}/{self.state.stage}"
        self.now = max(self.now, tick.due)
        return self.send(Judged("verdict", tick.revision, tick.seq, tick.due, tick.purpose, outcome, checks))

    def world(self, **changes: Any) -> "Stage":
        self.seen = replace(self.seen, **changes)
        return self.look()

    def asks(self) -> Purpose | None:
        """What the pending tick asks, if there's one."""
        return self.state.tick.purpose if self.state.tick else None

    def copying(self) -> "Stage":
        """The last step passes, and the primary starts to roll out."""
        tick = self.state.tick
        assert tick is not None
        self.now = tick.due
        verdict = Judged("v", tick.revision, tick.seq, tick.due, tick.purpose, Outcome.PASS)
        decision = decide(self.spec, self.state, self.seen, verdict, self.now)
        assert decision is not None
        assert decision.state.phase is Phase.PROMOTING
        self.state = decision.state
        self.told += decision.events
        return self.world(primary=UNREADY)

    def texts(self) -> list[str]:
        return [draft.message for draft in self.told]

    def heard(self) -> list[str]:
        """Texts since the last call."""
        texts, self.told = self.texts(), []
        return texts


def initialized(**changes: Any) -> Stage:
    """A canary after its initialization, at rest."""
    stage = Stage(spec(**changes)).look()
    if not stage.spec.skip_analysis:
        stage.judge(
            Outcome.PASS, Check("prometheus", Kind.PROVIDER, Outcome.PASS, "all the metrics providers are available!")
        )
    assert stage.state.phase is Phase.INITIALIZED
    stage.judge()
    stage.heard()
    return stage


def progressing(**changes: Any) -> Stage:
    """A canary at its first weight."""
    stage = initialized(**changes).world(revision="r2")
    stage.heard()
    return stage


FAILING = Check(
    "request-success-rate", Kind.METRIC, Outcome.FAIL, "Halt podinfo.test advancement success rate 50.00% < 99%"
)
__all__ = ["BROKEN", "FAILING", "READY", "START", "UNREADY", "Purpose", "Stage", "initialized", "progressing", "spec"]
