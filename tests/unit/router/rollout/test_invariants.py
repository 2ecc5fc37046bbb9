"""The invariant checker itself: what holds passes, and each promise is noticed when it's broken."""

from dataclasses import replace

import pytest

from services.router.rollout.context import Context
from services.router.rollout.inputs import Look, Observation
from services.router.rollout.state import Cookies, PendingTick, Phase, Purpose, Stage, State, invariants, untouched
from tests.unit.router.stage import START, spec

TICK = PendingTick(1, START, Purpose.ANALYSIS, "r2")
SOUND = State(phase=Phase.PROGRESSING, stage=Stage.JUDGING, weight=10, tick=TICK)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"weight": 110}, "is no percentage"),
        ({"phase": Phase.SUCCEEDED, "stage": Stage.IDLE, "weight": 100, "tick": None}, "Succeeded with canary weight"),
        ({"phase": Phase.FAILED, "stage": Stage.IDLE, "tick": None}, "traffic on both sides"),
        ({"stage": Stage.READYING}, "traffic on both sides"),
        ({"phase": Phase.FINALISING, "stage": Stage.DRAINING, "weight": 0, "iterations": 2}, "with iteration 2"),
        ({"stage": Stage.COPYING}, "copying in Progressing"),
        ({"weight": 0, "cookies": Cookies("side=x")}, "and cookie side=x"),
        ({"tick": None}, "waits for no tick"),
        ({"noticed": ("block:suspended",)}, "which nobody will take"),
        ({"phase": Phase.FAILED, "stage": Stage.DRAINING, "weight": 0, "tick": None}, "with tick None"),
        ({"phase": Phase.FAILED, "stage": Stage.IDLE, "weight": 0}, "with tick Pending"),
    ],
)
def test_a_broken_promise_is_named(changes: dict[str, object], text: str) -> None:
    broken = invariants(replace(SOUND, **changes))  # type: ignore[arg-type]  # a table's fields
    assert len(broken) == 1
    assert text in broken[0]


def test_sound_states() -> None:
    assert invariants(SOUND) == []
    assert invariants(State()) == []
    assert invariants(replace(SOUND, tick=None, noticed=("block:suspended",))) == []


def test_only_verdicts_are_judged() -> None:
    """An action for verdicts that gets something else is a fault of the table, and no silent one."""
    with pytest.raises(TypeError, match="given something else"):
        Context(spec(), SOUND, Observation(), Look(), START).verdict  # noqa: B018 # reading it is the test


@pytest.mark.parametrize("phase", Phase)
def test_what_another_controller_began_is_untouched_until_we_decided_on_it(phase: Phase) -> None:
    begun = phase not in {Phase.NEW, Phase.INITIALIZING, Phase.TERMINATING}

    assert untouched(State(phase=phase)) is begun
    assert not untouched(State(phase=phase, revision="r2"))
    assert not untouched(State(phase=phase, promoted="r1"))
