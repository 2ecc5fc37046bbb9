"""A Canary is deleted: what comes before what, from every phase, and that it ends whatever the world is like."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.router.rollout.inputs import Look
from services.router.rollout.state import Phase, Stage, State, invariants, released
from tests.unit.router.stage import BROKEN, READY, UNREADY, initialized, progressing
from tests.unit.router.stage import Stage as Play

TERMINATING, TERMINATED = "Terminating canary podinfo.test", "Terminated canary podinfo.test"
RESTORING = "Restoring podinfo.test to the template of podinfo-primary.test: what it shows was not promoted"
BELONGINGS = ("Deployment podinfo-primary", "Service podinfo")


def deleted(play: Play, **world: object) -> Play:
    """Somebody deletes the Canary; by default everything leads to its primary, and the target is too small."""
    play.heard()
    play.spec = replace(play.spec, deleting=True)
    seen = {"fronted": True, "canary_sized": False, "belongings": BELONGINGS, **world}
    return play.world(**seen)


def at(play: Play) -> Stage:
    return play.state.stage


def waiting_promotion() -> Play:
    play = progressing()
    play.state = replace(play.state, phase=Phase.WAITING_PROMOTION)
    return play


def served_by_the_canary() -> Play:
    """A failed promotion: all traffic is the canary's, and the primary can't."""
    play = progressing(max_weight=10).copying()
    play.world(primary=BROKEN)
    assert (play.state.phase, play.state.weight) == (Phase.FAILED, 100)
    return play


def test_at_rest_the_target_grows_then_everything_leads_to_it_then_the_canary_goes() -> None:
    play = deleted(initialized(), canary=UNREADY)
    assert (play.state.phase, play.state.stage) == (Phase.TERMINATING, Stage.RETURNING)
    assert play.heard() == [TERMINATING]
    play.world(canary_sized=True)
    assert at(play) == Stage.RETURNING, "sized, and not ready"
    play.world(canary=READY)
    assert at(play) == Stage.LEAVING
    play.world(fronted=False)
    assert (at(play), play.heard()) == (Stage.LEAVING, []), "gateways lag behind"
    play.judge()
    assert play.heard() == [TERMINATED]
    assert released(play.state)
    assert play.look().heard() == []


@pytest.mark.parametrize("begun", [progressing, waiting_promotion])
def test_an_unpromoted_template_goes_back_once_it_has_no_traffic(begun: type[Play]) -> None:
    play = deleted(begun(), unpromoted=True)
    assert (at(play), play.state.weight) == (Stage.DRAINING, 0)
    assert play.heard() == [TERMINATING, RESTORING]
    play.judge()
    assert at(play) == Stage.RESTORING
    play.world(canary_sized=True, canary=READY)
    assert at(play) == Stage.RESTORING
    play.world(unpromoted=False)
    assert at(play) == Stage.LEAVING


def test_without_traffic_the_template_goes_back_at_once_and_is_its_owners_from_then_on() -> None:
    play = deleted(initialized(), unpromoted=True)
    assert at(play) == Stage.RESTORING
    play.world(unpromoted=False)
    assert at(play) == Stage.RETURNING
    play.world(unpromoted=True, canary_sized=True)
    assert at(play) == Stage.LEAVING


def test_traffic_that_the_gateway_still_has_is_drained_too() -> None:
    play = deleted(initialized(), unpromoted=True, routed=10)
    assert at(play) == Stage.DRAINING


def test_who_serves_everybody_keeps_template_and_traffic() -> None:
    play = deleted(served_by_the_canary(), unpromoted=True)
    assert (at(play), play.state.weight) == (Stage.RETURNING, 100)
    play.world(canary_sized=True)
    assert (at(play), play.state.weight) == (Stage.LEAVING, 0)


@pytest.mark.parametrize("world", [{"fronted": False}, {"target_missing": True}])
def test_nothing_to_hand_back_is_over_at_once(world: dict[str, bool]) -> None:
    play = deleted(initialized(), **world)
    assert play.heard() == [TERMINATING, TERMINATED]
    assert play.state.tick is None


def test_a_target_that_goes_meanwhile_is_not_waited_for() -> None:
    play = deleted(progressing(), unpromoted=True)
    play.world(target_missing=True)
    assert play.heard()[-1] == TERMINATED


def test_a_target_that_never_serves_is_left_to_its_primary() -> None:
    play = deleted(initialized(), canary=UNREADY)
    play.heard()
    play.judge()
    assert play.heard() == [
        f"Leaving {', '.join(BELONGINGS)} in place: progress deadline exceeded "
        f"canary deployment podinfo.test not ready: {UNREADY.text}",
        TERMINATED,
    ]
    assert (released(play.state), "left" in play.state.noticed) == (True, True)


def test_what_the_api_server_refuses_is_tried_until_the_deadline() -> None:
    play = deleted(initialized(), canary_sized=True, canary=READY, problem="service podinfo.test update error: no")
    assert at(play) == Stage.LEAVING
    for _ in range(6):
        assert at(play) == Stage.LEAVING
        play.judge()
    play.judge()
    assert play.heard()[-2:] == [
        f"Leaving {', '.join(BELONGINGS)} in place: progress deadline exceeded service podinfo.test update error: no",
        TERMINATED,
    ]


def test_a_longer_deadline_is_waited_for() -> None:
    play = deleted(initialized(), canary=UNREADY)
    play.spec = replace(play.spec, deadline=timedelta(seconds=300))
    play.judge()
    assert at(play) == Stage.RETURNING
    play.judge()
    assert play.heard()[-1] == TERMINATED


def test_a_timer_that_nobody_answers_is_over_all_the_same() -> None:
    play = deleted(progressing(), unpromoted=True)
    play.now += timedelta(seconds=9)
    assert play.look().state.stage is Stage.DRAINING
    play.now += timedelta(seconds=1)
    assert play.look().state.stage is Stage.RESTORING


def test_a_deletion_that_another_controller_began_begins_anew() -> None:
    play = Play(state=State(phase=Phase.TERMINATING))
    deleted(play, canary=UNREADY)
    assert (at(play), play.heard()) == (Stage.RETURNING, [TERMINATING])


def test_without_a_deletion_nothing_happens_in_this_phase() -> None:
    play = Play(state=State(phase=Phase.TERMINATING))
    assert play.send(Look("fact")).decisions == []


def test_a_deletion_without_its_timer_is_no_state() -> None:
    state = State(phase=Phase.TERMINATING, stage=Stage.RETURNING)
    assert invariants(state) == ["Terminating/returning with tick None"]
