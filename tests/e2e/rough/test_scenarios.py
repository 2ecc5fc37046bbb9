"""The scenarios that break what others use, one after the other on one scene, held to zero."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.scenarios.catalogue import ALL
from bench.scenarios.scenario import Scenario, wrong
from sandbox.scene import Scene, opened
from sandbox.stage import Options
from tests.e2e.rollouts import Rollout
from tests.e2e.short import SETTINGS

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with opened(tmp_path_factory.mktemp("scenarios"), Options(settings=SETTINGS)) as scene:
        yield scene


@pytest.mark.parametrize("scenario", [each for each in ALL if each.rough and not each.tested], ids=str)
async def test_no_request_and_no_step_is_lost(scene: Scene, scenario: Scenario) -> None:
    outcome = await scenario.act(Rollout(scene, scenario.namespace))
    assert outcome.requests >= 50
    assert wrong([(scenario.name, outcome)]) == []
