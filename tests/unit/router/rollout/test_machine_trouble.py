"""What goes wrong in a rollout: no evidence, errors, workloads that don't come up, a promotion that fails."""

from dataclasses import replace

from services.router.rollout.inputs import Check, Judged, Kind, Look, Outcome, Request, Verb
from services.router.rollout.machine import decide
from services.router.rollout.state import Phase, Purpose, Stage
from tests.unit.router.stage import BROKEN, FAILING, READY, UNREADY, initialized, progressing
from tests.unit.router.stage import Stage as Play

PASSED = Check("request-success-rate", Kind.METRIC, Outcome.PASS)


class TestTrouble:
    def test_no_evidence_holds_and_ends(self) -> None:
        play = progressing()
        nothing = Check("evidence", Kind.EVIDENCE, Outcome.HOLD)
        play.judge(Outcome.HOLD, nothing)
        play.judge(Outcome.HOLD, nothing)
        assert play.heard() == ["Holding podinfo.test: without fresh numbers for evidence"]
        assert (play.state.weight, play.state.failed_checks) == (10, 0)
        play.judge(Outcome.PASS, PASSED)
        assert play.heard()[0] == "Resuming podinfo.test: no longer without fresh numbers for evidence"

    def test_a_hold_is_bounded(self) -> None:
        play = progressing()
        for _ in range(8):
            if play.state.phase is Phase.PROGRESSING:
                play.judge(Outcome.HOLD, Check("evidence", Kind.EVIDENCE, Outcome.HOLD))
        assert play.state.phase is Phase.FAILED

    def test_an_error_never_advances(self) -> None:
        play = progressing()
        play.judge(Outcome.ERROR, Check("m", Kind.METRIC, Outcome.ERROR, "Prometheus query failed: down"))
        assert (play.state.weight, play.state.failed_checks) == (10, 1)

    def test_deadline_is_told_and_alerted(self) -> None:
        """W-G8."""
        play = initialized().world(revision="r2", canary=UNREADY)
        play.world(canary=BROKEN)
        alerts = [draft.alert.message for draft in play.told if draft.alert and draft.alert.severity == "error"]
        assert alerts == [f"Progress deadline exceeded canary deployment podinfo.test not ready: {BROKEN.text}"]
        assert play.state.phase is Phase.FAILED

    def test_a_canary_that_breaks_mid_step_stops_the_step(self) -> None:
        play = progressing()
        play.seen = replace(play.seen, canary=UNREADY)
        play.judge()
        assert (play.state.weight, play.state.failed_checks) == (10, 0)
        assert play.heard()[-1].startswith("canary deployment podinfo.test not ready")

    def test_a_canary_that_stays_unready_though_its_numbers_are_fine_ends(self) -> None:
        play = progressing()
        play.seen = replace(play.seen, canary=UNREADY)
        for _ in range(8):
            if play.state.phase is Phase.PROGRESSING:
                play.judge(Outcome.PASS, PASSED)
        assert (play.state.phase, play.state.weight) == (Phase.FAILED, 0)
        assert play.texts()[-2].startswith("Rolling back podinfo.test progress deadline exceeded canary deployment")

    def test_a_canary_that_is_ready_again_goes_on_and_says_so(self) -> None:
        play = progressing()
        play.seen = replace(play.seen, canary=UNREADY)
        play.judge()
        play.seen = replace(play.seen, canary=READY)
        play.judge(Outcome.PASS, PASSED)
        assert play.state.weight == 20
        assert "Resuming podinfo.test: no longer short of ready replicas" in play.heard()

    def test_failed_promotion_keeps_the_canary_serving(self) -> None:
        play = self._failed_promotion()
        assert (play.state.phase, play.state.weight) == (Phase.FAILED, 100)
        # W-G5: a fix while the primary is still broken must not send traffic there
        play.world(revision="r3")
        assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 100)
        for _ in range(10):
            play.judge(Outcome.FAIL, FAILING)
        assert (play.state.phase, play.state.weight) == (Phase.FAILED, 100)

    def test_a_fix_after_a_failed_promotion_is_promoted(self) -> None:
        play = self._failed_promotion()
        play.world(revision="r3")
        play.judge()
        assert (play.state.phase, play.state.weight) == (Phase.PROMOTING, 100)
        play.world(primary=READY)
        play.judge()
        assert (play.state.phase, play.state.promoted) == (Phase.SUCCEEDED, "r3")

    @staticmethod
    def _failed_promotion() -> Play:
        play = progressing(step=50, max_weight=50)
        tick = play.state.tick
        assert tick is not None
        play.now = tick.due
        verdict = Judged("v", tick.revision, tick.seq, tick.due, tick.purpose, Outcome.PASS)
        decision = decide(play.spec, play.state, play.seen, verdict, play.now)
        assert decision is not None
        play.state = decision.state
        play.world(primary=UNREADY)
        return play.world(primary=BROKEN)

    def test_a_broken_primary_refuses_a_start(self) -> None:
        play = initialized().world(revision="r2", primary=BROKEN)
        assert play.state.phase is Phase.FAILED
        assert play.heard()[-1] == "Canary failed! Scaling down podinfo.test"

    def test_the_old_revision_is_a_fix_too(self) -> None:
        """The most natural one: back to the image of before. The primary carries the broken one, so it's no old news."""
        play = self._failed_promotion()
        play.world(revision="r1", canary=READY)
        assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 100)
        play.judge()
        play.world(primary=READY)
        play.judge()
        assert (play.state.phase, play.state.promoted, play.state.weight) == (Phase.SUCCEEDED, "r1", 0)

    def test_a_new_revision_before_the_copy_was_made_leaves_the_old_one_promoted(self) -> None:
        play = progressing(step=50, max_weight=50).copying()
        play.world(revision="r3", primary_promotion="", primary=READY)
        assert (play.state.phase, play.state.revision, play.state.promoted) == (Phase.PROGRESSING, "r3", "r1")

    def test_a_dead_canary_gets_no_traffic_from_a_failed_promotion(self) -> None:
        """The primary's old pods are the better bet."""
        play = progressing(step=50, max_weight=50)
        play.seen = replace(play.seen, primary=READY)
        play.copying()
        play.seen = replace(play.seen, canary=BROKEN)
        play.world(primary=BROKEN)
        assert (play.state.phase, play.state.weight, play.state.stage) == (Phase.FAILED, 0, Stage.DRAINING)

    def test_a_canary_that_dies_while_the_primary_copies_loses_its_traffic(self) -> None:
        play = progressing(step=50, max_weight=50).copying()
        play.world(canary=BROKEN)
        assert (play.state.phase, play.state.weight) == (Phase.FAILED, 0)
        assert play.state.promoted == "r2", "that is what the primary carries"

    def test_the_timer_of_a_copy_is_armed_again_until_the_primary_is_ready(self) -> None:
        play = progressing(step=50, max_weight=50).copying()
        play.judge().judge()
        assert (play.state.phase, play.state.weight) == (Phase.PROMOTING, 50)
        play.world(primary=READY)
        assert play.state.phase is Phase.FINALISING

    def test_a_primary_that_is_unready_between_two_shifts_stops_them(self) -> None:
        play = progressing(step=50, max_weight=50, promotion_step=20)
        play.judge()
        assert play.state.weight == 30
        play.world(primary=UNREADY)
        play.judge()
        assert play.heard()[-1] == "podinfo-primary.test not ready: " + UNREADY.text
        assert play.state.weight == 30
        play.judge()
        play.world(primary=READY)
        play.judge()
        assert play.state.weight == 10

    def test_retry_after_a_failed_promotion_whose_primary_came_up(self) -> None:
        play = self._failed_promotion()
        play.world(primary=READY)
        play.world(request=Request(Verb.RETRY, "retry:1"))
        assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 50)

    def test_a_retry_that_waits_for_the_primary_keeps_no_new_revision_from_starting(self) -> None:
        play = self._failed_promotion()
        play.world(request=Request(Verb.RETRY, "retry:1"))
        assert (play.state.phase, play.state.request) == (Phase.FAILED, "")
        play.world(revision="r3")
        assert (play.state.phase, play.state.revision) == (Phase.PROGRESSING, "r3")

    def test_an_unready_primary_lets_a_scaled_up_canary_wait(self) -> None:
        play = initialized().world(revision="r2", canary=UNREADY)
        play.world(canary=READY, primary=UNREADY)
        assert (play.state.stage, play.state.weight) == (Stage.READYING, 0)
        assert play.heard()[-1] == "podinfo-primary.test not ready: " + UNREADY.text
        play.judge()
        assert play.asks() == Purpose.TIMER
        play.world(primary=READY)
        assert play.state.weight == 10

    def test_a_canary_that_isnt_scaled_yet_isnt_complained_about(self) -> None:
        play = initialized()
        play.spec = replace(play.spec)
        decision = decide(play.spec, play.state, replace(play.seen, revision="r2"), Look(), play.now)
        assert decision is not None
        unscaled = replace(play.seen, revision="r2", canary_scaled=False, canary=UNREADY)
        assert decide(play.spec, decision.state, unscaled, Look(), play.now) is None

    def test_a_lower_threshold_ends_what_is_over_it(self) -> None:
        play = progressing()
        play.judge(Outcome.FAIL, FAILING).judge(Outcome.FAIL, FAILING)
        play.spec = replace(play.spec, threshold=2)
        play.look()
        assert play.state.phase is Phase.FAILED
        assert "Rolling back podinfo.test failed checks threshold reached 2" in play.texts()

    def test_a_primary_beyond_its_deadline_ends_the_analysis(self) -> None:
        play = progressing().world(primary=BROKEN)
        assert play.heard()[0] == "podinfo-primary.test not ready: " + BROKEN.text
        assert play.state.phase is Phase.FAILED

    def test_a_start_that_is_refused_lets_a_drain_go_on(self) -> None:
        """The traffic has left the target only just now."""
        play = Play().look().judge()
        assert play.state.stage is Stage.DRAINING
        play.world(revision="r2", primary=BROKEN)
        assert (play.state.phase, play.state.stage) == (Phase.FAILED, Stage.DRAINING)

    def test_new_revision_waits_for_the_primary(self) -> None:
        play = initialized().world(revision="r2", primary=UNREADY)
        assert (play.state.phase, play.heard()) == (
            Phase.INITIALIZED, ["podinfo-primary.test not ready: " + UNREADY.text],
        )  # fmt: skip
        play.world(primary=READY)
        assert play.state.weight == 10
