"""Given this state, when this message, then this state and exactly these events."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.router.rollout.inputs import Check, Judged, Kind, Look, Observation, Outcome, Request, Verb
from services.router.rollout.machine import decide, stale
from services.router.rollout.state import Phase, Purpose, Stage, State
from tests.unit.router.stage import FAILING, READY, START, UNREADY, initialized, progressing, spec
from tests.unit.router.stage import Stage as Play

PASSED = Check("request-success-rate", Kind.METRIC, Outcome.PASS)


def gate(name: str, outcome: Outcome, message: str = "") -> Check:
    return Check(name, Kind.GATE, outcome, message)


class TestInitialization:
    def test_goes_on_without_providers_and_says_so(self) -> None:
        text = "Error checking metric providers: prometheus not avaiable: running query failed: no values found"
        play = Play(seen=Observation(revision="r1", primary=UNREADY, canary_scaled=True)).look()
        play.judge(Outcome.ERROR, Check("p", Kind.PROVIDER, Outcome.ERROR, text))
        play.world(primary=READY, primary_revision="r1")
        assert play.texts()[1:] == [text, "Initialization done! podinfo.test"]

    def test_tells_the_guides_first_lines_in_order(self) -> None:
        play = Play(seen=Observation(revision="r1", primary=UNREADY, canary_scaled=True)).look()
        play.judge(Outcome.PASS, Check("p", Kind.PROVIDER, Outcome.PASS, ""))
        play.world(primary=READY, primary_revision="r1")
        assert play.texts() == [
            "podinfo-primary.test not ready: " + UNREADY.text,
            "all the metrics providers are available!",
            "Initialization done! podinfo.test",
        ]
        assert play.state.phase is Phase.INITIALIZED
        assert (play.state.revision, play.state.promoted) == ("r1", "r1")

    def test_a_template_changed_meanwhile_is_a_new_revision(self) -> None:
        """W-G7: what the primary was made from counts, not what the target shows when it is ready."""
        play = Play(seen=Observation(revision="r1", primary=UNREADY, canary_scaled=True)).look()
        play.judge()
        play.world(primary=READY, primary_revision="r1", revision="r2")
        assert play.state.phase is Phase.PROGRESSING
        assert (play.state.promoted, play.state.revision) == ("r1", "r2")

    def test_without_analysis_nobody_is_asked(self) -> None:
        assert initialized(skip_analysis=True).state.phase is Phase.INITIALIZED

    def test_missing_target_is_told_once_and_healed(self) -> None:
        play = Play(seen=Observation(problem="deployment podinfo.test get query error: not found")).look().look()
        assert play.heard() == ["deployment podinfo.test get query error: not found"]
        play.world(problem="", revision="r1", primary_revision="r1")
        assert play.state.phase is Phase.INITIALIZING


class TestTheGuide:
    def test_promotion(self) -> None:
        play = initialized().world(revision="r2", canary=UNREADY)
        assert play.state.stage is Stage.READYING
        play.world(canary=READY)
        for _ in range(5):
            play.judge(Outcome.PASS, PASSED)
        play.judge()
        assert play.heard() == [
            "New revision detected! Scaling up podinfo.test",
            "canary deployment podinfo.test not ready: " + UNREADY.text,
            "Starting canary analysis for podinfo.test",
            *(f"Advance podinfo.test canary weight {weight}" for weight in (10, 20, 30, 40, 50)),
            "Copying podinfo.test template spec to podinfo-primary.test",
            "Routing all traffic to primary",
            "Promotion completed! Scaling down podinfo.test",
        ]
        assert play.state.phase is Phase.SUCCEEDED
        assert play.state.promoted == "r2"
        assert play.state.tick is None

    def test_rollback_after_ten_failed_checks(self) -> None:
        play = progressing()
        for _ in range(10):
            play.judge(Outcome.FAIL, FAILING)
        assert play.heard() == [
            *[FAILING.message] * 10,
            "Rolling back podinfo.test failed checks threshold reached 10",
            "Canary failed! Scaling down podinfo.test",
        ]
        assert (play.state.phase, play.state.weight, play.state.failed_checks) == (Phase.FAILED, 0, 0)
        assert play.state.stage is Stage.DRAINING
        play.judge()
        assert (play.state.stage, play.state.tick) == (Stage.IDLE, None)

    def test_due_times_never_drift(self) -> None:
        play = progressing()
        first = play.state.tick
        assert first is not None
        play.now = first.due + timedelta(seconds=3)
        play.judge(Outcome.PASS)
        # a step counts from its application; a failed check keeps the beat
        second = play.state.tick
        assert second is not None
        play.now = second.due + timedelta(seconds=3)
        play.judge(Outcome.FAIL, FAILING)
        assert play.state.tick is not None
        assert play.state.tick.due == second.due + timedelta(seconds=10)


class TestWeights:
    @pytest.mark.parametrize(
        ("changes", "weights"),
        [
            ({"step": 20, "max_weight": 50}, [20, 40, 60]),
            ({"step": 60, "max_weight": 100}, [60, 100]),
            ({"step": 0, "steps": (1, 5, 80)}, [1, 5, 80]),
            ({"step": 10, "max_weight": 10}, [10]),
        ],
    )
    def test_steps(self, changes: dict[str, object], weights: list[int]) -> None:
        play, seen = progressing(**changes), []
        while play.state.phase is Phase.PROGRESSING:
            seen.append(play.state.weight)
            play.judge()
        assert seen == weights

    def test_an_edited_list_never_jumps(self) -> None:
        """W-G11: a weight that is no element any more goes on with the next larger one."""
        play = progressing(step=0, steps=(10, 30, 60))
        play.spec = replace(play.spec, steps=(5, 20, 60))
        play.judge()
        assert play.state.weight == 20

    def test_promotion_in_steps(self) -> None:
        play = progressing(step=50, max_weight=50, promotion_step=20)
        play.judge()
        seen = []
        while play.state.phase is Phase.PROMOTING:
            seen.append(100 - play.state.weight)
            play.judge()
        assert seen == [70, 90]
        assert "Advance podinfo.test primary weight 100" in play.texts()
        assert play.state.phase is Phase.FINALISING


class TestRevisions:
    def test_restart_in_analysis(self) -> None:
        play = progressing()
        play.judge()
        play.world(revision="r3")
        assert play.heard()[-3:] == [
            "New revision detected! Restarting analysis for podinfo.test",
            "Starting canary analysis for podinfo.test",
            "Advance podinfo.test canary weight 10",
        ]
        assert (play.state.revision, play.state.failed_checks) == ("r3", 0)

    def test_a_verdict_on_the_old_revision_changes_nothing(self) -> None:
        play = progressing()
        old = play.state.tick
        assert old is not None
        play.world(revision="r3")
        before = play.state
        verdict = Judged("late", old.revision, old.seq, old.due, old.purpose, Outcome.PASS)
        assert stale(play.state, verdict)
        play.send(verdict)
        assert play.state == before

    def test_a_doubled_verdict_changes_nothing(self) -> None:
        play = progressing()
        tick = play.state.tick
        assert tick is not None
        verdict = Judged("v", tick.revision, tick.seq, tick.due, tick.purpose, Outcome.PASS)
        play.send(verdict)
        assert play.state.weight == 20
        play.send(verdict)
        assert play.state.weight == 20

    def test_the_failed_revision_does_not_start_again(self) -> None:
        play = progressing(threshold=1)
        play.judge(Outcome.FAIL, FAILING)
        play.judge()
        play.look()
        assert play.state.phase is Phase.FAILED
        play.world(revision="r1")
        assert (play.state.phase, play.state.revision) == (Phase.FAILED, "r1")
        play.world(revision="r2")
        assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 10)

    def test_another_revision_while_the_primary_copies(self) -> None:
        """Traffic leaves the unjudged pods at once; what was approved stays promoted."""
        play = progressing(step=50, max_weight=50)
        play.seen = replace(play.seen, primary=UNREADY)
        play.judge()
        assert play.state.phase is Phase.PROGRESSING, "an unready primary stops the promotion"
        play.world(primary=READY).judge()
        play = progressing(step=50, max_weight=50)
        tick = play.state.tick
        assert tick is not None
        play.now = tick.due
        decision = decide(
            play.spec,
            play.state,
            play.seen,
            Judged("v", tick.revision, tick.seq, tick.due, tick.purpose, Outcome.PASS),
            play.now,
        )
        assert decision is not None
        play.state = decision.state
        play.world(primary=UNREADY)
        assert play.state.phase is Phase.PROMOTING
        play.world(revision="r3")
        assert (play.state.phase, play.state.weight, play.state.promoted) == (Phase.PROGRESSING, 0, "r2")


class TestGates:
    def test_a_rollback_hook_ends_the_wait_for_confirm_rollout(self) -> None:
        play = initialized(hooks=frozenset({"confirm-rollout", "rollback"})).world(revision="r2")
        play.judge(Outcome.HOLD, Check("undo", Kind.ROLLBACK, Outcome.PASS, "Rollback check undo passed"))
        assert (play.state.phase, play.state.revision) == (Phase.FAILED, "r2")
        assert play.texts()[-3:-1] == ["Rollback check undo passed", "Rolling back podinfo.test manual webhook invoked"]

    def test_confirm_rollout(self) -> None:
        play = initialized(hooks=frozenset({"confirm-rollout"})).world(revision="r2")
        assert play.state.tick is not None
        assert play.state.tick.purpose is Purpose.CONFIRM_ROLLOUT
        play.judge(Outcome.PASS, gate("gate", Outcome.FAIL))
        assert play.state.phase is Phase.WAITING
        play.judge(Outcome.PASS, gate("gate", Outcome.FAIL))
        assert play.heard() == ["Halt podinfo.test advancement waiting for approval gate"]
        play.judge(Outcome.PASS, gate("gate", Outcome.PASS, "Confirm-rollout check gate passed"))
        assert play.heard()[:2] == [
            "Confirm-rollout check gate passed",
            "New revision detected! Scaling up podinfo.test",
        ]

    def test_confirm_promotion_and_approval(self) -> None:
        play = progressing(step=50, max_weight=50, hooks=frozenset({"confirm-promotion"}))
        for _ in range(3):
            play.judge(Outcome.PASS, gate("gate", Outcome.FAIL))
        assert (play.state.phase, play.state.weight) == (Phase.WAITING_PROMOTION, 50)
        assert play.heard() == ["Halt podinfo.test advancement waiting for promotion approval gate"]
        play.world(request=Request(Verb.APPROVE, "approve:1"))
        assert play.state.phase is Phase.FINALISING

    def test_confirm_traffic_increase_alerts_once(self) -> None:
        """W-G17."""
        play = progressing(hooks=frozenset({"rollout"}))
        for _ in range(3):
            play.judge(Outcome.PASS, gate("gate", Outcome.FAIL))
        assert play.heard() == ["Halt podinfo.test advancement waiting for traffic increase approval gate"]
        assert play.state.weight == 10
        play.judge(Outcome.PASS, gate("gate", Outcome.PASS, "Confirm-traffic-increase check gate passed"))
        assert play.state.weight == 20

    def test_pre_rollout_failures_count(self) -> None:
        play = progressing(hooks=frozenset({"pre-rollout"}), threshold=2)
        assert (play.state.stage, play.state.weight) == (Stage.PREPARING, 0)
        failed = Check(
            "smoke", Kind.HOOK, Outcome.FAIL, "Halt podinfo.test advancement pre-rollout check smoke failed x"
        )
        play.judge(Outcome.FAIL, failed)
        assert play.state.failed_checks == 1
        play.judge(Outcome.FAIL, failed)
        assert play.state.phase is Phase.FAILED

    def test_rollback_hook(self) -> None:
        play = progressing(hooks=frozenset({"rollback"}))
        play.judge(Outcome.PASS, Check("undo", Kind.ROLLBACK, Outcome.PASS, "Rollback check undo passed"))
        assert play.heard() == [
            "Rollback check undo passed",
            "Rolling back podinfo.test manual webhook invoked",
            "Canary failed! Scaling down podinfo.test",
        ]

    def test_post_rollout_hooks_answer_before_the_next_start(self) -> None:
        play = progressing(step=50, max_weight=50, hooks=frozenset({"post-rollout"}))
        play.judge()
        play.judge()
        assert play.state.phase is Phase.SUCCEEDED
        play.world(revision="r3")
        assert play.state.phase is Phase.SUCCEEDED
        play.judge(Outcome.PASS, Check("load", Kind.HOOK, Outcome.PASS, "Post-rollout check load passed"))
        assert (play.state.phase, play.state.revision) == (Phase.PROGRESSING, "r3")


def test_a_new_canary_without_a_revision_waits() -> None:
    seen = Observation(problem="apisix route selector is empty")
    decision = decide(spec(), State(), seen, Look(), START)
    assert decision is not None
    assert decision.state.phase is Phase.NEW
