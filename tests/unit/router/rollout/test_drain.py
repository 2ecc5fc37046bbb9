"""Which drains are looked at, and what is asked at their end."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.router import drain, parse, questions
from services.router.rollout.state import PendingTick, Phase, Purpose, Stage, State
from services.router.scene import Scene
from shared.canary import queries
from shared.wire import messages as wire
from tests.story.theatre import guide
from tests.unit.router.rollout.test_evidence import scene as analysed
from tests.unit.router.stage import START

TICK = PendingTick(9, START + timedelta(seconds=90), Purpose.TIMER, "r2")
STATE = State(phase=Phase.FAILED, stage=Stage.DRAINING, revision="r2", promoted="r1", tick=TICK)


def scene(state: State = STATE, *, skip: bool = False, **analysis: Any) -> Scene:
    canary = guide("canary")
    canary["spec"]["analysis"].update(analysis)
    canary["spec"]["skipAnalysis"] = skip
    return replace(analysed(state), canary=parse.canary(canary, timedelta(seconds=60)))


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.FINALISING])
def test_a_side_that_lost_its_traffic_is_looked_at_until_its_timer(phase: Phase) -> None:
    drained = scene(replace(STATE, phase=phase))
    found = drain.glance(drained, TICK)
    assert found is not None
    assert (found.drain, found.every_seconds, found.id) == (True, 5.0, f"drain/{drained.canary.spec.uid}/9")
    assert found.tick == wire.TickId(revision="r2", seq=9, due=TICK.due)
    asked = questions.question(drained, TICK).drain
    assert asked == wire.Sides(
        provider=wire.Provider(address="http://prometheus.default"),
        route=queries.route_pattern(["test_podinfo-podinfo-canary_method"]),
        canary=queries.node_pattern(["10.0.0.9"]),
        primary=queries.node_pattern(["10.0.0.1"]),
        since=START + timedelta(seconds=30),
    )
    assert wire.Sides(**{name: getattr(found.comparison, name) for name in wire.Sides.model_fields}) == asked


@pytest.mark.parametrize(
    "other",
    [
        scene(replace(STATE, phase=Phase.INITIALIZED)),  # its traffic came by another route
        scene(replace(STATE, phase=Phase.TERMINATING)),  # a deletion needs nobody
        scene(replace(STATE, phase=Phase.PROMOTING, stage=Stage.SHIFTING)),
        scene(metrics=[]),
        scene(skip=True),
        replace(scene(), nodes=()),
    ],
)
def test_elsewhere_time_decides(other: Scene) -> None:
    assert drain.glance(other, TICK) is None
    assert questions.question(other, TICK).drain is None


def test_last_hooks_are_no_drain() -> None:
    assert drain.asked(scene(), replace(TICK, purpose=Purpose.POST_ROLLOUT)) is None
