"""Strategies beside weights, as their people see them."""

from typing import Any

from shared.kube.json import Json
from tests.story.theatre import guide, progressing


def canary(**analysis: Any) -> Json:
    """The guide's, judged otherwise."""
    found = guide("canary")
    kept = {key: value for key, value in found["spec"]["analysis"].items() if key not in {"stepWeight", "maxWeight"}}
    found["spec"]["analysis"] = {**kept, **analysis}
    return found


async def test_blue_green_switches_the_public_over_and_back() -> None:
    theatre = await progressing(canary(iterations=2), steps=0)
    shown = []
    while theatre.phase == "Progressing":
        shown.append((theatre.weights(), theatre.canary["status"]["iterations"]))
        await theatre.tick()
    assert shown == [((100, 0), 1), ((100, 0), 2), ((0, 100), 3)]
    assert (theatre.phase, theatre.weights()) == ("Promoting", (0, 100))
    await theatre.settle()
    await theatre.tick()
    assert (theatre.phase, theatre.weights(), theatre.replicas) == ("Succeeded", (100, 0), 0)
    assert theatre.canary["status"]["iterations"] == 0
    assert [event.data.iterations for event in theatre.bus.events()][-4:] == [3, 3, 0, 0]
    details = [each.alert.fields for each in theatre.bus.notices() if each.alert and each.alert.fields]
    assert ("Traffic routing", "Blue/Green") in details[0]
