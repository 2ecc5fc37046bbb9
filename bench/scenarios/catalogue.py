"""All scenarios, and how the table is made: the gentle ones side by side, the rough ones after each other."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from bench.scenarios import arrival, beside, bus, definitions, deletion, orders, removal, taking_over, upgrading
from bench.scenarios.scenario import Outcome, Scenario, row
from sandbox.scene import Scene, opened
from sandbox.stage import Options
from tests.e2e.rollouts import Rollout
from tests.e2e.short import SETTINGS

ALL: Final[tuple[Scenario, ...]] = (
    *arrival.SCENARIOS, *taking_over.SCENARIOS, *deletion.SCENARIOS, *removal.SCENARIOS, *upgrading.SCENARIOS,
    *orders.SCENARIOS, *bus.SCENARIOS, *beside.SCENARIOS, *definitions.SCENARIOS,
)  # fmt: skip
_AT_ONCE: Final = 12
"""Each brings visitors of its own, and two cores serve them all."""


async def played(names: Sequence[str]) -> list[tuple[str, Outcome]]:
    """Those whose names begin so, or all; in the order of the list. Prints each as it
    comes; the first that can't be played to its end ends it all."""
    wanted = [each for each in ALL if not names or any(each.name.startswith(name) for name in names)]
    rows: dict[str, Outcome] = {}
    places = asyncio.Semaphore(_AT_ONCE)

    async def play(scenario: Scenario, scene: Scene) -> None:
        async with places:
            outcome = rows[scenario.name] = await scenario.act(Rollout(scene, scenario.namespace))
        print(row(scenario.name, outcome), flush=True)

    if gentle := sorted((each for each in wanted if not each.rough), key=lambda each: -each.seconds):
        async with _scene() as scene, asyncio.TaskGroup() as group:
            for each in gentle:
                group.create_task(play(each, scene))
    if rough := [each for each in wanted if each.rough]:
        async with _scene() as scene:
            for each in rough:
                await play(each, scene)
    return [(each.name, rows[each.name]) for each in wanted]


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="serinus-scenarios-") as folder:
        async with opened(Path(folder), Options(settings=SETTINGS)) as scene:
            yield scene
