"""Given an idle target, when somebody scales it up, then it is put back; not for ever, and never while hands are off."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.router.rollout.inputs import Raised, Request, Verb
from services.router.rollout.state import Phase
from tests.unit.router.stage import Stage, initialized

LEFT = "podinfo.test is idle, but argo keeps scaling it up, so it is left as it is: "


def raised(stage: Stage, manager: str = "argo", after: float = 60) -> Stage:
    """Scaled up, looked at, and put back by the shell if that is counted."""
    stage.now += timedelta(seconds=after)
    generation = stage.seen.raised.generation + 2
    stage.world(raised=Raised(manager, generation), canary_scaled=True, sized_by=frozenset({manager}))
    if not stage.state.yielded:
        stage.world(raised=Raised("", generation), canary_scaled=False, sized_by=frozenset())
    return stage


def times(stage: Stage) -> list[str]:
    return [each.manager for each in stage.state.raises]


def test_three_times_are_counted_and_the_fourth_is_left() -> None:
    stage = initialized()
    for count in (1, 2, 3):
        assert (times(raised(stage)), stage.heard()) == (["argo"] * count, [])
    raised(stage)
    assert (stage.state.yielded, stage.state.phase) == ("argo", Phase.INITIALIZED)
    assert [text.startswith(LEFT) for text in stage.heard()] == [True]
    assert (stage.look().heard(), stage.decisions[-1].rule) == ([], "idle target scaled up")


def test_one_generation_counts_once() -> None:
    stage = initialized().world(raised=Raised("argo", 7), canary_scaled=True)
    assert times(stage.look().look()) == ["argo"]


def test_what_is_long_past_doesnt_count_and_neither_does_another_manager() -> None:
    stage = initialized()
    for _ in range(5):
        raised(stage, after=240)
    for manager in ("a", "b", "c"):
        raised(stage, manager, after=1)
    assert (stage.state.yielded, stage.heard()) == ("", [])


@pytest.mark.parametrize("change", [{"canary_scaled": False}, {"sized_by": frozenset({"somebody"})}])
def test_it_is_taken_again_at_zero_or_when_nobody_claims_it(change: dict[str, object]) -> None:
    stage = initialized()
    for _ in range(4):
        raised(stage)
    stage.heard()
    stage.world(raised=Raised(), **change)
    assert stage.heard() == ["podinfo.test is idle: it is kept at zero replicas again"]
    assert (stage.state.yielded, stage.state.raises) == ("", ())


def test_a_rollout_forgets_it() -> None:
    stage = initialized()
    for _ in range(4):
        raised(stage)
    stage.world(revision="r2", raised=Raised())
    assert (stage.state.phase, stage.state.yielded, stage.state.raises) == (Phase.PROGRESSING, "", ())


@pytest.mark.parametrize(
    "world", [{"refusals": ("no",)}, {"hold": "another controller (x) writes this Canary"}, {"cut_off": True}]
)
def test_hands_off_means_this_too(world: dict[str, object]) -> None:
    stage = initialized().world(**world)
    stage.world(raised=Raised("argo", 7), canary_scaled=True)
    assert times(stage) == []


def test_a_suspended_canary_isnt_put_back() -> None:
    stage = initialized()
    stage.spec = replace(stage.spec, suspended=True)
    assert times(stage.look().world(raised=Raised("argo", 7))) == []


def test_a_problem_or_a_request_is_no_reason_to_leave_it_up() -> None:
    stage = initialized().world(problem="missing", revision="")
    assert times(raised(stage)) == ["argo"]
    stage.world(problem="", revision="r1", request=Request(Verb.ABORT, "abort:1"))
    assert times(raised(stage)) == ["argo", "argo"]
