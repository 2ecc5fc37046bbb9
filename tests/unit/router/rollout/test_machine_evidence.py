"""Looks between two ticks, and what checks say beside their outcome."""

import pytest

from services.router.rollout.inputs import Check, Judged, Kind, Outcome
from services.router.rollout.state import BEHIND, Phase
from services.router.rollout.state import Stage as Stage_
from tests.unit.router.stage import Stage, progressing

WHY = "canary failed 80 of 100 requests, primary 9 of 909"


def _abort(play: Stage, *, seq: int = 0) -> Judged:
    tick = play.state.tick
    assert tick is not None
    return Judged("abort", tick.revision, tick.seq + seq, tick.due, tick.purpose, Outcome.FAIL, abort=WHY)


def test_plain_breakage_ends_the_rollout_before_the_tick_is_due_whatever_the_threshold() -> None:
    play = progressing(threshold=10).judge()
    play.heard()
    play.send(_abort(play))
    assert (play.state.phase, play.state.weight) == (Phase.FAILED, 0)
    first = play.told[0]
    assert (first.message, first.warning) == (f"Rolling back podinfo.test fast abort: {WHY}", True)
    assert first.alert is not None
    assert (first.alert.severity, first.alert.message) == ("error", f"Rolling back, fast abort: {WHY}")


def test_a_look_at_an_earlier_step_changes_nothing() -> None:
    play = progressing().judge()
    before = play.state
    assert play.send(_abort(play, seq=-1)).state == before


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL, Outcome.HOLD])
def test_what_a_check_says_beside_its_outcome_is_told_once(outcome: Outcome) -> None:
    play = progressing()
    play.heard()
    lint = Check("evidence", Kind.EVIDENCE, outcome, "", "podinfo.test can't have had a request yet")
    assert play.judge(outcome, lint).heard().count(lint.note) == 1
    assert lint.note not in play.judge(outcome, lint).heard()
    again = Check("evidence", Kind.EVIDENCE, outcome, "", "another sentence")
    assert again.note in play.judge(outcome, again).heard()


def test_a_gateway_that_does_not_follow_is_told_of_once_a_step() -> None:
    play = progressing().judge()
    late = Check(
        "weight", Kind.EVIDENCE, Outcome.HOLD, "", "podinfo.test has 10 of 100 requests where its weight is 20%"
    )
    play.judge(Outcome.HOLD, late)
    assert any(notice.startswith(BEHIND) for notice in play.state.noticed)
    assert late.note in play.heard()
    play.judge()
    assert not any(notice.startswith(BEHIND) for notice in play.state.noticed), "the next step may say so again"


def test_a_weight_that_never_arrives_ends_at_the_deadline() -> None:
    play = progressing().judge()
    late = Check("weight", Kind.EVIDENCE, Outcome.HOLD)
    while play.state.phase is Phase.PROGRESSING:
        play.judge(Outcome.HOLD, late)
        assert play.state.weight in {0, 20}
    assert "Rolling back podinfo.test progress deadline exceeded without fresh numbers for weight" in play.heard()


def _drained(play: Stage, note: str = "") -> Judged:
    """Nothing reaches the canary: said by a look before the timer fires, or with a note when it does."""
    tick = play.state.tick
    assert tick is not None
    check = Check("drain", Kind.EVIDENCE, Outcome.PASS, "", note)
    return Judged("drained", tick.revision, tick.seq, tick.due, tick.purpose, Outcome.PASS, (check,))


@pytest.mark.parametrize("outcome", [Outcome.PASS, Outcome.FAIL])
@pytest.mark.parametrize("note", ["", "podinfo.test is scaled down although it had 12 requests in the last 15s"])
def test_a_drain_ends_when_nothing_reaches_the_canary_and_says_if_something_still_does(
    outcome: Outcome, note: str
) -> None:
    play = progressing(threshold=1)
    while play.state.stage is not Stage_.DRAINING:
        play.judge(outcome)
    play.heard()
    before = play.now
    play.send(_drained(play, note))
    over = Phase.SUCCEEDED if outcome is Outcome.PASS else Phase.FAILED
    assert (play.state.phase, play.state.stage, play.state.tick) == (over, Stage_.IDLE, None)
    assert play.now == before
    assert [text for text in play.heard() if "Promotion completed" not in text] == ([note] if note else [])


def test_a_look_at_a_drain_that_is_over_changes_nothing() -> None:
    play = progressing(threshold=1).judge(Outcome.FAIL)
    late = _drained(play)
    play.judge()
    before = play.state
    assert play.send(late).state == before
