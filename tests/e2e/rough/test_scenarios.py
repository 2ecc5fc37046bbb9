"""The scenarios that break what others use, each on a scene of its own, held to zero."""

from pathlib import Path

import pytest

from bench.scenarios.catalogue import ALL
from bench.scenarios.scenario import Scenario
from sandbox.scene import opened
from sandbox.stage import Options
from tests.e2e.rollouts import Rollout

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]


@pytest.mark.parametrize("scenario", [each for each in ALL if each.rough], ids=str)
async def test_no_request_and_no_step_is_lost(scenario: Scenario, tmp_path: Path) -> None:
    async with opened(tmp_path, Options(settings=scenario.settings)) as scene:
        outcome = await scenario.act(Rollout(scene, scenario.namespace))
    assert outcome.requests >= 100
    assert outcome.failed == ()
    assert outcome.steps == ()
