"""What costs people nothing: the scenarios that the table of `python -m bench scenarios` is made of, held to zero."""

import pytest

from bench.scenarios.catalogue import ALL
from bench.scenarios.scenario import Outcome, Scenario, wrong
from tests.e2e.plays import Play, Programme
from tests.e2e.rollouts import Rollout

LEAST = 20


def _as_play(scenario: Scenario) -> Play[Outcome]:
    async def act(rollout: Rollout) -> Outcome:
        return await scenario.act(rollout)

    return Play(scenario.namespace, act, scenario.seconds)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("play", [_as_play(each) for each in ALL if not each.rough], ids=str)
async def test_no_request_and_no_step_is_lost(programme: Programme, play: Play[Outcome]) -> None:
    outcome = await programme.of(play)
    assert outcome.requests >= LEAST
    assert wrong([(str(play), outcome)]) == []
