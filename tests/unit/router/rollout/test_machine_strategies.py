"""Blue/Green, A/B and mirroring: who reaches the canary at which step, and that each of them ends as weights do."""

import re
from dataclasses import replace

import pytest

from services.router.rollout import reach
from services.router.rollout.inputs import Check, Kind, Outcome, Request, Verb
from services.router.rollout.spec import Strategy
from services.router.rollout.state import Cookies, Phase
from services.router.rollout.state import Stage as At
from tests.unit.router.stage import BROKEN, FAILING, READY, UNREADY, Stage, initialized, progressing, spec

OPEN = Check("gate", Kind.GATE, Outcome.PASS, "Confirm-promotion check gate passed")
SHUT = Check("gate", Kind.GATE, Outcome.FAIL)
SILENT = Check("evidence", Kind.EVIDENCE, Outcome.FAIL)


def reached(play: Stage) -> tuple[int, bool, bool]:
    """The public's share, testers, copies."""
    return play.state.weight, reach.testers(play.spec, play.state), reach.mirrored(play.spec, play.state)


def test_what_a_strategy_is_called() -> None:
    assert spec().strategy is Strategy.CANARY
    assert spec(testers=True, mirror=True).strategy is Strategy.CANARY, "beside weights"
    assert spec(iterations=3).strategy is Strategy.BLUE_GREEN
    assert spec(iterations=3, testers=True).strategy is Strategy.AB_TESTING


class TestABTesting:
    def test_testers_reach_it_and_the_public_never_does(self) -> None:
        """W-A2."""
        play = progressing(iterations=3, testers=True)
        assert (reached(play), play.state.iterations) == ((0, True, False), 1)
        shares = []
        while play.state.phase is Phase.PROGRESSING:
            shares.append(reached(play))
            play.judge()
        assert shares == [(0, True, False)] * 3
        assert (play.state.phase, reached(play)) == (Phase.FINALISING, (0, False, False))
        play.judge()
        assert (play.state.phase, play.state.promoted, play.state.iterations) == (Phase.SUCCEEDED, "r2", 0)

    def test_it_tells_iterations(self) -> None:
        play = initialized(iterations=2, testers=True).world(revision="r2")
        play.judge().judge().judge()
        assert play.heard() == [
            "New revision detected! Scaling up podinfo.test",
            "Starting canary analysis for podinfo.test",
            "Advance podinfo.test canary iteration 1/2",
            "Advance podinfo.test canary iteration 2/2",
            "Copying podinfo.test template spec to podinfo-primary.test",
            "Routing all traffic to primary",
            "Promotion completed! Scaling down podinfo.test",
        ]

    def test_testers_stay_while_the_primary_rolls_out(self) -> None:
        play = progressing(iterations=1, testers=True).copying()
        assert reached(play) == (0, True, False)
        play.world(primary=READY)
        assert (play.state.phase, reached(play)) == (Phase.FINALISING, (0, False, False))

    def test_a_canary_that_breaks_meanwhile_loses_them(self) -> None:
        play = progressing(iterations=1, testers=True).copying()
        play.world(canary=BROKEN)
        assert (play.state.phase, reached(play)) == (Phase.FAILED, (0, False, False))

    def test_a_primary_that_breaks_gives_everybody_to_it(self) -> None:
        play = progressing(iterations=1, testers=True).copying()
        play.world(primary=BROKEN)
        assert (play.state.phase, reached(play)) == (Phase.FAILED, (100, False, False))
        play.world(revision="r3")
        assert (play.state.iterations, reached(play)) == (0, (100, True, False))
        play.judge()
        assert (play.state.iterations, reached(play)) == (1, (100, True, False))

    def test_failures_count_and_roll_back(self) -> None:
        play = progressing(iterations=5, testers=True, threshold=2).judge().judge(Outcome.FAIL, FAILING)
        assert (play.state.failed_checks, play.state.iterations) == (1, 2)
        play.judge(Outcome.FAIL, FAILING)
        assert (play.state.phase, play.state.iterations, reached(play)) == (Phase.FAILED, 0, (0, False, False))

    def test_fewer_iterations_than_done_are_enough(self) -> None:
        """W-G11."""
        play = progressing(iterations=5, testers=True).judge().judge()
        play.spec = replace(play.spec, iterations=2)
        play.judge()
        assert play.state.phase is Phase.FINALISING

    def test_its_promotion_is_gated_and_its_steps_are_not(self) -> None:
        """W-G19: the count stays."""
        hooks = frozenset({"confirm-promotion", "confirm-traffic-increase"})
        play = progressing(iterations=1, testers=True, hooks=hooks)
        assert play.state.stage is At.JUDGING, "nobody is asked before the first step"
        play.judge(Outcome.PASS, SHUT)
        assert (play.state.phase, play.state.iterations, reached(play)) == (
            Phase.WAITING_PROMOTION, 1, (0, True, False),
        )  # fmt: skip
        play.judge(Outcome.PASS, OPEN)
        assert play.state.phase is Phase.FINALISING

    def test_a_person_may_open_the_gate(self) -> None:
        play = progressing(iterations=1, testers=True, hooks=frozenset({"confirm-promotion"}))
        play.judge(Outcome.PASS, SHUT).world(request=Request(Verb.APPROVE, "approve"))
        assert play.state.phase is Phase.FINALISING

    @pytest.mark.parametrize("change", [{"spec": "suspended"}, {"target_missing": True, "problem": "gone"}])
    def test_hands_off_keeps_or_takes_them(self, change: dict[str, object]) -> None:
        play = progressing(iterations=3, testers=True).judge()
        if "spec" in change:
            play.spec = replace(play.spec, suspended=True)
            assert reached(play.look()) == (0, True, False)
            return
        play.world(**change, revision="")
        assert (play.state.iterations, reached(play)) == (0, (0, False, False))


class TestBlueGreen:
    def test_the_public_is_switched_over_once_and_judged_there(self) -> None:
        play = initialized(iterations=2).world(revision="r2")
        assert reached(play) == (0, False, False)
        play.judge().judge()
        assert (play.state.phase, reached(play), play.state.iterations) == (Phase.PROGRESSING, (100, False, False), 3)
        play.judge().judge()
        assert play.heard() == [
            "New revision detected! Scaling up podinfo.test",
            "Starting canary analysis for podinfo.test",
            "Advance podinfo.test canary iteration 1/2",
            "Advance podinfo.test canary iteration 2/2",
            "Routing all traffic to canary",
            "Copying podinfo.test template spec to podinfo-primary.test",
            "Routing all traffic to primary",
            "Promotion completed! Scaling down podinfo.test",
        ]

    def test_what_fails_after_the_switch_goes_back(self) -> None:
        play = progressing(iterations=1, threshold=1).judge()
        assert reached(play)[0] == 100
        play.judge(Outcome.FAIL, FAILING)
        assert (play.state.phase, reached(play)[0]) == (Phase.FAILED, 0)

    def test_the_gate_is_asked_before_the_switch_and_before_the_promotion(self) -> None:
        play = progressing(iterations=1, hooks=frozenset({"confirm-promotion"})).judge(Outcome.PASS, SHUT)
        assert (play.state.phase, reached(play)[0]) == (Phase.WAITING_PROMOTION, 0)
        play.world(request=Request(Verb.APPROVE, "approve:1"))
        assert (play.state.phase, reached(play)[0]) == (Phase.PROGRESSING, 100)
        play.judge(Outcome.PASS, SHUT)
        assert (play.state.phase, reached(play)[0]) == (Phase.WAITING_PROMOTION, 100)
        play.judge(Outcome.PASS, OPEN)
        assert play.state.phase is Phase.FINALISING

    def test_traffic_goes_back_in_steps_if_asked(self) -> None:
        play = progressing(iterations=1, promotion_step=50).judge().judge()
        assert (play.state.phase, play.state.weight) == (Phase.PROMOTING, 50)

    def test_another_revision_starts_over(self) -> None:
        play = progressing(iterations=1).judge().world(revision="r3", canary=UNREADY)
        assert (play.state.stage, play.state.iterations, reached(play)) == (At.READYING, 0, (0, False, False))

    def test_one_that_serves_everybody_needs_no_switch(self) -> None:
        """W-G5: after a failed promotion the next revision is judged where the public is."""
        play = progressing(iterations=1).judge().copying().world(primary=BROKEN)
        play.world(revision="r3").judge()
        assert (play.state.iterations, play.state.weight) == (1, 100)
        play.judge()
        assert play.state.phase is Phase.PROMOTING

    def test_silence_of_a_canary_without_traffic_has_its_own_reason_told_once(self) -> None:
        """W-A7."""
        play = progressing(iterations=3).judge(Outcome.FAIL, SILENT).judge(Outcome.FAIL, SILENT)
        told = [text for text in play.texts() if text.startswith("No numbers of podinfo.test while no traffic")]
        assert len(told) == 1
        assert play.state.failed_checks == 2
        waiting = replace(SILENT, outcome=Outcome.HOLD)
        patient = progressing(iterations=3).judge(Outcome.HOLD, waiting)
        assert not any(text.startswith("No numbers") for text in patient.texts()), "its numbers may be on their way"
        patient.judge(Outcome.HOLD, waiting)
        assert any(text.startswith("No numbers") for text in patient.texts())
        testers = progressing(iterations=3, testers=True).judge(Outcome.FAIL, SILENT)
        assert not any(text.startswith("No numbers") for text in testers.texts())


class TestMirroring:
    def test_copies_come_before_the_first_weight(self) -> None:
        """W-A3."""
        play = initialized(mirror=True).world(revision="r2")
        assert (play.state.stage, reached(play)) == (At.JUDGING, (0, False, True))
        play.judge()
        assert reached(play) == (10, False, False)
        assert play.heard()[-2:] == ["Advance podinfo.test canary weight 0", "Advance podinfo.test canary weight 10"]

    def test_the_first_weight_is_gated(self) -> None:
        play = progressing(mirror=True, hooks=frozenset({"confirm-traffic-increase"}))
        assert play.state.stage is At.PREPARING
        play.judge().judge(Outcome.PASS, SHUT)
        assert reached(play) == (0, False, True)
        assert play.texts()[-1] == "Halt podinfo.test advancement waiting for traffic increase approval gate"

    def test_blue_green_is_mirrored_until_the_switch(self) -> None:
        play = progressing(mirror=True, iterations=2)
        assert reached(play) == (0, False, True)
        assert reached(play.judge()) == (0, False, True)
        assert reached(play.judge()) == (100, False, False)
        assert play.texts()[-1] == "Stop traffic mirroring and route all traffic to canary"
        play.judge()
        assert play.state.phase is Phase.FINALISING

    def test_it_ends_with_the_analysis(self) -> None:
        play = progressing(mirror=True).world(request=Request(Verb.PROMOTE, "promote"))
        assert not reach.mirrored(play.spec, play.state)
        play = progressing(mirror=True, threshold=1).judge(Outcome.FAIL, FAILING)
        assert (play.state.phase, reached(play)) == (Phase.FAILED, (0, False, False))


class TestSessionAffinity:
    def test_one_cookie_for_all_of_a_rollouts_weights(self) -> None:
        play = initialized(cookie="side", max_weight=20).world(revision="r2")
        first = play.state.cookies
        assert re.fullmatch(r"side=[0-9a-f]{16}", first.canary)
        assert (first.primary, first.former) == ("", "")
        assert play.judge().state.cookies == first
        play.copying()
        assert play.state.cookies == first, "while the primary rolls out"
        play.world(primary=READY)
        assert play.state.cookies == Cookies(former=first.canary), "nobody gets it any more, some still have it"
        play.judge()
        assert play.state.cookies.former == first.canary

    def test_the_primarys_is_another_one_each_step(self) -> None:
        play = progressing(cookie="side", primary_cookie="other")
        first = play.state.cookies
        assert first.primary.startswith("other=")
        second = play.judge().state.cookies
        assert (second.canary, second.primary != first.primary) == (first.canary, True)
        assert play.judge(Outcome.FAIL, FAILING).state.cookies == second

    @pytest.mark.parametrize("end", ["failed", "restarted", "suspended"])
    def test_it_ends_with_its_rollout(self, end: str) -> None:
        play = progressing(cookie="side", threshold=1)
        given = play.state.cookies.canary
        if end == "failed":
            play.judge(Outcome.FAIL, FAILING)
        elif end == "restarted":
            play.world(revision="r3", canary=UNREADY)
        else:
            play.spec = replace(play.spec, suspended=True)
            assert play.look().state.cookies.canary == given
            return
        assert play.state.cookies == Cookies(former=given)

    def test_another_try_gives_another_one(self) -> None:
        play = progressing(cookie="side", threshold=1)
        given = play.state.cookies.canary
        play.judge(Outcome.FAIL, FAILING).judge().world(request=Request(Verb.RETRY, "retry"))
        assert play.state.weight == 10
        assert play.state.cookies.canary not in {"", given}
        assert play.state.cookies.former == given

    def test_none_without_a_share_of_the_public(self) -> None:
        play = progressing(cookie="side", mirror=True)
        assert play.state.cookies == Cookies()
        assert play.judge().state.cookies.canary

    def test_a_new_name_is_a_new_cookie(self) -> None:
        play = progressing(cookie="side")
        given = play.state.cookies.canary
        play.spec = replace(play.spec, cookie="another")
        play.judge()
        assert play.state.cookies.canary.startswith("another=")
        assert play.state.cookies.former == given


def test_testers_stay_pinned_while_the_public_comes_in_shares() -> None:
    play = progressing(testers=True)
    assert reached(play) == (10, True, False)
    assert reached(play.judge()) == (20, True, False)


def test_an_edited_strategy_goes_on_from_where_it_stands() -> None:
    play = progressing(iterations=5, testers=True).judge()
    play.spec = replace(play.spec, iterations=0, testers=False)
    assert reached(play.judge()) == (10, False, False)
    assert play.state.iterations == 0
    play.spec = replace(play.spec, iterations=1)
    play.judge()
    assert (reached(play), play.state.iterations) == ((10, False, False), 1), "the share stays until the switch"
    assert reached(play.judge()) == (100, False, False)
