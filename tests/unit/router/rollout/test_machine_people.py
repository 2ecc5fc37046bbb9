"""What people ask for, by annotation or by editing the Canary, and what they are told when we keep our hands off."""

from dataclasses import replace
from datetime import timedelta

from services.router.rollout.inputs import Check, Kind, Observation, Outcome, Request, Verb
from services.router.rollout.state import TAKEN_OVER, Phase, Purpose, Stage
from tests.unit.router.stage import FAILING, READY, UNREADY, initialized, progressing
from tests.unit.router.stage import Stage as Play

SHUT = Check("gate", Kind.GATE, Outcome.FAIL)


class TestPeople:
    def test_suspended_is_told_once_and_resumes(self) -> None:
        play = progressing()
        play.spec = replace(play.spec, suspended=True)
        play.look().look()
        assert play.heard() == ["skipping canary run as object is suspended"]
        play.spec = replace(play.spec, suspended=False)
        play.look().judge()
        assert play.state.weight == 20

    def test_refused_fields_hold_everything(self) -> None:
        play = Play(seen=Observation(revision="r1", refusals=("spec.analysis.match is not supported",))).look().look()
        assert (play.state.phase, play.state.supported) == (Phase.NEW, False)
        assert play.heard() == ["spec.analysis.match is not supported"]

    def test_abort(self) -> None:
        play = progressing().world(request=Request(Verb.ABORT, "abort:1"))
        assert play.state.phase is Phase.FAILED
        assert "Rolling back podinfo.test abort requested" in play.texts()

    def test_retry(self) -> None:
        play = progressing(threshold=1).judge(Outcome.FAIL, FAILING)
        play.judge()
        play.world(request=Request(Verb.RETRY, "retry:1"))
        assert (play.state.phase, play.state.revision) == (Phase.PROGRESSING, "r2")

    def test_a_retry_waits_for_the_primary(self) -> None:
        """An autoscaler that changes the primary's size just then doesn't cost the person the request."""
        play = progressing(threshold=1).judge(Outcome.FAIL, FAILING)
        play.judge()
        play.world(primary=UNREADY, request=Request(Verb.RETRY, "retry:1")).look()
        assert (play.state.phase, play.state.request) == (Phase.FAILED, "")
        assert play.heard()[-1] == "podinfo-primary.test not ready: " + UNREADY.text
        play.world(primary=READY)
        assert (play.state.phase, play.state.request) == (Phase.PROGRESSING, "retry:1")

    def test_a_promotion_waits_for_a_canary_that_is_unready_in_the_middle(self) -> None:
        play = progressing().world(canary=UNREADY, request=Request(Verb.PROMOTE, "promote:1"))
        assert (play.state.phase, play.state.request) == (Phase.PROGRESSING, "")
        play.world(canary=READY)
        assert (play.state.phase, play.state.request) == (Phase.FINALISING, "promote:1")

    def test_promote(self) -> None:
        play = progressing().world(request=Request(Verb.PROMOTE, "promote"))
        assert play.state.phase is Phase.FINALISING

    def test_a_request_out_of_place_is_used_up(self) -> None:
        play = initialized().world(request=Request(Verb.ABORT, "abort:1"))
        assert play.state.request == "abort:1"
        play.world(revision="r2")
        assert play.state.phase is Phase.PROGRESSING

    def test_once_its_annotation_is_off_the_same_request_may_be_made_again(self) -> None:
        play = initialized().world(request=Request(Verb.ABORT, "abort"))
        assert play.state.request == "abort"
        play.world(request=None, revision="r2")
        assert (play.state.phase, play.state.request) == (Phase.PROGRESSING, "")
        play.world(request=Request(Verb.ABORT, "abort"))
        assert play.state.phase is Phase.FAILED

    def test_skip_analysis_waits_for_the_primary(self) -> None:
        """W-G22."""
        play = initialized(skip_analysis=True).world(revision="r2", canary=UNREADY)
        play.world(canary=READY)
        play.judge()
        assert play.heard()[-1] == "Promotion completed! Canary analysis was skipped for podinfo.test"

    def test_skipping_in_the_middle_promotes(self) -> None:
        play = progressing()
        play.spec = replace(play.spec, skip_analysis=True)
        play.look().judge()
        assert (play.state.phase, play.state.promoted) == (Phase.SUCCEEDED, "r2")

    def test_skipping_ends_when_the_spec_says_so_and_providers_are_asked(self) -> None:
        """Asked they were never, since nobody needed them."""
        play = Play(seen=Observation(revision="r1", primary=UNREADY))
        play.spec = replace(play.spec, skip_analysis=True)
        play.look()
        assert play.asks() is None
        play.spec = replace(play.spec, skip_analysis=False)
        play.look()
        assert play.asks() == Purpose.PROVIDERS


class TestApproval:
    def test_waits_for_a_verdict_that_finds_only_the_gate_in_the_way(self) -> None:
        play = progressing(hooks=frozenset({"rollout"})).judge(Outcome.PASS, SHUT)
        play.judge(Outcome.FAIL, FAILING)
        play.world(request=Request(Verb.APPROVE, "approve:1"))
        assert (play.state.weight, play.state.request) == (10, ""), "the last check failed"
        play.judge(Outcome.PASS, SHUT)
        assert (play.state.weight, play.state.request) == (20, "approve:1")

    def test_waits_for_a_canary_that_is_ready(self) -> None:
        play = progressing(hooks=frozenset({"rollout"})).judge(Outcome.PASS, SHUT)
        play.seen = replace(play.seen, canary=UNREADY)
        play.world(request=Request(Verb.APPROVE, "approve:1"))
        assert play.state.weight == 10
        play.world(canary=READY)
        assert play.state.weight == 20

    def test_without_a_gate_is_used_up(self) -> None:
        play = progressing().world(request=Request(Verb.APPROVE, "approve:1"))
        assert (play.state.weight, play.state.request) == (10, "approve:1")

    def test_of_a_start(self) -> None:
        play = initialized(hooks=frozenset({"confirm-rollout"})).world(revision="r2").judge(Outcome.PASS, SHUT)
        play.world(request=Request(Verb.APPROVE, "approve:1"))
        assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 10)


class TestConfirmation:
    def test_asking_waits_for_the_drain(self) -> None:
        """Asking scales the target to zero, and it may still be serving."""
        play = Play()
        play.spec = replace(play.spec, hooks=frozenset({"confirm-rollout"}))
        play.look().judge()
        play.world(revision="r2")
        assert play.state.stage is Stage.DRAINING
        play.judge()
        assert (play.state.stage, play.state.phase) == (Stage.CONFIRMING, Phase.INITIALIZED)

    def test_what_was_taken_back_is_not_started(self) -> None:
        play = initialized(hooks=frozenset({"confirm-rollout"})).world(revision="r2")
        play.world(revision="r1")
        play.judge()
        assert (play.state.phase, play.state.stage, play.heard()) == (Phase.INITIALIZED, Stage.IDLE, [])

    def test_what_is_taken_back_while_it_waits_is_over(self) -> None:
        play = initialized(hooks=frozenset({"confirm-rollout"})).world(revision="r2").judge(Outcome.PASS, SHUT)
        play.world(revision="r1")
        assert (play.state.phase, play.state.tick) == (Phase.SUCCEEDED, None)

    def test_an_answer_while_suspended_starts_nothing(self) -> None:
        play = initialized(hooks=frozenset({"confirm-rollout"})).world(revision="r2")
        play.spec = replace(play.spec, suspended=True)
        play.judge()
        assert (play.state.phase, play.state.stage) == (Phase.INITIALIZED, Stage.IDLE)
        play.spec = replace(play.spec, suspended=False)
        play.look()
        assert play.state.stage is Stage.CONFIRMING


class TestHandsOff:
    def test_a_suspended_rollout_waits_for_no_tick_and_goes_on_where_it_was(self) -> None:
        for stage, hooks in ((Stage.JUDGING, frozenset[str]()), (Stage.PREPARING, frozenset({"pre-rollout"}))):
            play = progressing(hooks=hooks)
            before = play.asks()
            assert (play.state.stage, before is not None) == (stage, True)
            play.spec = replace(play.spec, suspended=True)
            play.now += timedelta(hours=1)
            play.look()
            assert play.asks() is None
            play.spec = replace(play.spec, suspended=False)
            play.look()
            assert play.asks() == before

    def test_a_suspended_gate_is_asked_again(self) -> None:
        play = initialized(hooks=frozenset({"confirm-rollout"})).world(revision="r2").judge(Outcome.PASS, SHUT)
        play.spec = replace(play.spec, suspended=True)
        play.look()
        assert play.asks() is None
        play.spec = replace(play.spec, suspended=False)
        play.look()
        assert play.asks() == Purpose.CONFIRM_ROLLOUT

    def test_a_drain_runs_out_while_suspended(self) -> None:
        play = progressing(threshold=1).judge(Outcome.FAIL, FAILING)
        play.spec = replace(play.spec, suspended=True)
        play.look().judge()
        assert (play.state.phase, play.state.stage, play.state.tick) == (Phase.FAILED, Stage.IDLE, None)

    def test_a_suspension_isnt_counted_into_a_hold(self) -> None:
        play = progressing()
        play.spec = replace(play.spec, suspended=True)
        play.look()
        play.now += timedelta(hours=2)
        play.spec = replace(play.spec, suspended=False)
        play.world(problem="apisix route selector is empty", revision="")
        assert play.state.phase is Phase.PROGRESSING

    def test_a_hold_says_when_it_begins_and_ends_and_is_bounded(self) -> None:
        play = progressing().world(hold="another controller (flagger) writes this Canary").look()
        assert play.heard() == ["Holding podinfo.test: another controller (flagger) writes this Canary"]
        play.world(hold="")
        assert play.heard() == ["Resuming podinfo.test: another controller (flagger) no longer writes this Canary"]
        play.world(hold="another controller (flagger) writes this Canary").judge()
        assert (play.state.phase, play.state.weight) == (Phase.FAILED, 0)
        assert (
            "Rolling back podinfo.test progress deadline exceeded another controller (flagger) writes this Canary"
            in play.texts()
        )

    def test_a_missing_target_loses_its_traffic_at_once_and_gets_a_new_analysis(self) -> None:
        play = progressing().judge()
        gone = "deployment podinfo.test get query error: not found"
        play.world(problem=gone, target_missing=True, revision="")
        assert (play.state.phase, play.state.stage, play.state.weight) == (Phase.PROGRESSING, Stage.READYING, 0)
        assert play.heard()[-1] == gone
        play.world(problem="", target_missing=False, revision="r2")
        assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 10)

    def test_a_missing_route_doesnt_stop_a_promotion_that_has_its_copy(self) -> None:
        play = progressing(step=50, max_weight=50).copying()
        play.world(problem="APISIX route podinfo.test get query error", revision="", primary=READY)
        assert play.state.phase is Phase.FINALISING
        play.judge()
        assert (play.state.phase, play.heard()[-1]) == (Phase.SUCCEEDED, "APISIX route podinfo.test get query error")

    def test_warnings_are_told_once(self) -> None:
        play = initialized().world(warnings=("HorizontalPodAutoscaler podinfo.test scales podinfo.test",)).look()
        assert play.heard() == ["HorizontalPodAutoscaler podinfo.test scales podinfo.test"]


def another(phase: Phase, **changes: object) -> Play:
    """A Canary as another controller leaves it behind: a phase, no memory of ours."""
    play = Play(seen=Observation(revision="r2", primary_revision="r1", canary_scaled=False))
    play.state = replace(play.state, phase=phase)
    return play.world(**changes)


class TestAdoption:
    def test_of_a_canary_at_rest_starts_nothing(self) -> None:
        for phase in (Phase.INITIALIZED, Phase.SUCCEEDED):
            play = another(phase, primary_revision="r2")
            assert (play.state.phase, play.state.promoted, play.heard()) == (phase, "r2", [])

    def test_of_a_canary_whose_target_moved_on_starts_a_rollout(self) -> None:
        assert another(Phase.SUCCEEDED).state.phase is Phase.PROGRESSING
        assert another(Phase.SUCCEEDED, primary_revision="").state.phase is Phase.PROGRESSING

    def test_of_a_failed_one_doesnt_try_the_same_again(self) -> None:
        assert another(Phase.FAILED).state.phase is Phase.FAILED

    def test_of_a_waiting_one_asks_its_gate(self) -> None:
        play = another(Phase.WAITING)
        assert play.asks() == Purpose.CONFIRM_ROLLOUT

    def test_of_an_analysis_goes_on_at_the_weight_that_the_route_shows(self) -> None:
        for phase in (Phase.PROGRESSING, Phase.WAITING_PROMOTION):
            play = another(phase, routed=30, canary_scaled=True)
            assert (play.state.phase, play.state.weight, play.state.promoted) == (phase, 30, "r1")
            assert (play.heard(), play.asks(), play.state.revision) == ([], Purpose.ANALYSIS, "r2")
            play.judge()
            assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 40)

    def test_of_an_analysis_without_weight_begins_it(self) -> None:
        play = another(Phase.PROGRESSING, canary=UNREADY)
        assert (play.state.stage, play.state.weight, play.state.failed_checks) == (Stage.READYING, 0, 0)
        play.world(canary=READY, canary_scaled=True)
        assert play.heard()[-2:] == [
            "Starting canary analysis for podinfo.test", "Advance podinfo.test canary weight 10",
        ]  # fmt: skip

    def test_of_a_promotion_whose_copy_is_made_finishes_it(self) -> None:
        play = another(
            Phase.PROMOTING, routed=50, primary_revision="r2", primary_promotion=TAKEN_OVER, canary_scaled=True,
            primary=UNREADY,
        )  # fmt: skip
        assert (play.state.stage, play.state.weight) == (Stage.COPYING, 50)
        assert "Copying podinfo.test template spec to podinfo-primary.test" not in play.texts()
        play.world(primary=READY)
        play.judge()
        assert (play.state.phase, play.state.promoted, play.state.weight) == (Phase.SUCCEEDED, "r2", 0)

    def test_of_a_promotion_that_has_copied_nothing_yet_copies(self) -> None:
        play = another(Phase.PROMOTING, routed=50, canary_scaled=True, canary=UNREADY, primary=UNREADY)
        assert play.texts()[0] == "Copying podinfo.test template spec to podinfo-primary.test"

    def test_of_the_end_of_a_promotion_ends_it(self) -> None:
        play = another(Phase.FINALISING, primary_revision="r2")
        assert (play.state.phase, play.state.stage, play.asks()) == (Phase.FINALISING, Stage.DRAINING, Purpose.TIMER)
        play.judge()
        assert (play.state.phase, play.state.promoted) == (Phase.SUCCEEDED, "r2")

    def test_of_an_initialization_begins_it(self) -> None:
        assert another(Phase.INITIALIZING).state.revision == "r2"
