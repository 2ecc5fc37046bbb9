"""Without a bus: the machine holds what is under way, or ends it when the settings or a person say so."""

from datetime import timedelta

import pytest

from services.router.rollout.inputs import Request, Verb
from services.router.rollout.state import Phase, Purpose
from tests.unit.router.stage import BROKEN, READY, Stage, initialized, progressing

LATER = timedelta(minutes=5)


def cut_off(play: Stage, longest: timedelta | None = None) -> Stage:
    return play.world(cut_off=True, cut_off_for=longest)


def test_it_is_held_once_and_goes_on_where_it_was() -> None:
    play = cut_off(progressing())
    play.look()
    assert play.heard() == ["Holding podinfo.test: cut off from the bus"]
    assert (play.state.weight, play.asks()) == (10, None)
    play.world(cut_off=False)
    assert play.heard() == ["Resuming podinfo.test: no longer cut off from the bus"]
    assert (play.state.weight, play.asks(), play.state.failed_checks) == (10, Purpose.ANALYSIS, 0)
    play.judge()
    assert play.state.weight == 20


def test_a_hold_for_the_bus_outlasts_every_deadline_of_the_canary() -> None:
    play = cut_off(progressing())
    play.now += play.spec.deadline * 100
    play.look()
    assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 10)


def test_it_is_rolled_back_when_the_settings_say_so_and_not_before() -> None:
    play = cut_off(progressing(), LATER)
    play.now += LATER - timedelta(seconds=1)
    play.look()
    assert play.state.weight == 10
    play.now += timedelta(seconds=1)
    play.heard()
    play.look()
    assert (play.state.phase, play.state.weight) == (Phase.FAILED, 0)
    assert play.heard() == [
        "Rolling back podinfo.test cut off from the bus",
        "Canary failed! Scaling down podinfo.test",
    ]
    play.world(cut_off=False)
    assert play.heard() == [], "there is nothing to resume"


def test_a_promotion_that_is_under_way_is_ended_too() -> None:
    play = progressing()
    for _ in range(4):
        play.judge()
    cut_off(play.copying(), LATER)
    play.now += LATER
    play.look()
    assert (play.state.phase, play.state.weight) == (Phase.FAILED, 0)


def test_an_outage_is_counted_from_its_own_beginning() -> None:
    """What held the canary before has had its own time."""
    play = progressing(deadline=LATER * 2)
    play.world(hold="another controller (x) writes this Canary")
    play.now += LATER
    play.world(hold="", cut_off=True, cut_off_for=LATER)
    assert play.state.weight == 10
    play.now += LATER
    play.look()
    assert (play.state.phase, play.state.weight) == (Phase.FAILED, 0)


def test_what_holds_it_after_an_outage_has_its_own_time_as_well() -> None:
    play = cut_off(progressing())
    play.now += play.spec.deadline * 2
    play.world(cut_off=False, hold="another controller (x) writes this Canary")
    assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 10)


@pytest.mark.parametrize(
    "hands_off", [{"hold": "another controller (x) writes this Canary"}, {"refusals": ("spec.x is not supported",)}]
)
def test_whoever_else_holds_it_is_not_overruled(hands_off: dict[str, object]) -> None:
    play = progressing(deadline=LATER * 10).world(**hands_off, cut_off=True, cut_off_for=timedelta())
    play.now += LATER
    play.look()
    assert play.state.weight == 10


def test_a_person_can_abort_without_a_bus() -> None:
    play = cut_off(progressing()).world(request=Request(Verb.ABORT, "abort"))
    assert (play.state.phase, play.state.weight, play.state.request) == (Phase.FAILED, 0, "abort")
    play.heard()
    play.world(cut_off=False)
    assert play.heard() == []


def test_other_requests_wait_for_the_bus() -> None:
    play = cut_off(progressing()).world(request=Request(Verb.PROMOTE, "promote"))
    assert (play.state.phase, play.state.weight, play.state.request) == (Phase.PROGRESSING, 10, "")
    play.world(cut_off=False)
    assert play.state.phase is Phase.FINALISING


def test_a_gate_and_a_drain_go_on_afterwards() -> None:
    play = initialized(hooks=frozenset({"confirm-rollout"})).world(revision="r2")
    cut_off(play).world(cut_off=False)
    assert play.asks() is Purpose.CONFIRM_ROLLOUT


def test_a_canary_that_serves_everybody_keeps_them_while_its_primary_is_broken() -> None:
    """W-G5."""
    play = progressing()
    for _ in range(4):
        play.judge()
    play.copying().world(primary=BROKEN)
    play.world(revision="r3", canary=READY)
    assert (play.state.phase, play.state.weight) == (Phase.PROGRESSING, 100)
    cut_off(play, timedelta())
    play.look()
    assert (play.state.phase, play.state.weight) == (Phase.FAILED, 100)
