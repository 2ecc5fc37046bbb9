"""All scenarios, and how the table is made: the gentle ones side by side, each rough one on a scene of its own."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.scenarios import deletion, removal, upgrading
from bench.scenarios.scenario import Outcome, Scenario
from sandbox.scene import Scene, opened
from sandbox.stage import Options
from tests.e2e.rollouts import Rollout
from tests.e2e.short import SETTINGS

ALL: tuple[Scenario, ...] = (*deletion.SCENARIOS, *removal.SCENARIOS, *upgrading.SCENARIOS)


async def played(names: Sequence[str]) -> list[tuple[str, Outcome]]:
    """Those whose names begin so, or all; in the order of the list. The first that goes wrong ends it."""
    wanted = [each for each in ALL if not names or any(each.name.startswith(name) for name in names)]
    rows: dict[str, Outcome] = {}
    if gentle := [each for each in wanted if not each.rough]:
        with tempfile.TemporaryDirectory(prefix="serinus-scenarios-") as folder:
            async with opened(Path(folder), Options(settings=SETTINGS)) as scene, asyncio.TaskGroup() as group:
                for each in gentle:
                    group.create_task(_play(each, scene, rows))
    for each in (each for each in wanted if each.rough):
        with tempfile.TemporaryDirectory(prefix="serinus-scenario-") as folder:
            async with opened(Path(folder), Options(settings=each.settings)) as scene:
                await _play(each, scene, rows)
    return [(each.name, rows[each.name]) for each in wanted]


async def _play(scenario: Scenario, scene: Scene, rows: dict[str, Outcome]) -> None:
    rows[scenario.name] = await scenario.act(Rollout(scene, scenario.namespace))
