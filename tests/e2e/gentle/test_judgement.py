"""The canary against the primary, and between two checks, from the gateway's counters to the rollout's end."""

from datetime import datetime
from typing import Any

import pytest

from sandbox.controlplane.api import Json
from tests.e2e.casting import EIGHTEEN_PERCENT, FAILING_ALL
from tests.e2e.plays import Play, Programme, declared, play
from tests.e2e.rollouts import Rollout
from tests.e2e.short import NEW, applied, beginning, canary

COMPARED = {"compare": {"warmup": "1s", "minSample": 100}, "interval": "15s", "threshold": 1}


async def _released(rollout: Rollout, image: str, **analysis: Any) -> Json:
    """Under constant load, to its end."""
    await applied(rollout, canary(**analysis))
    await rollout.initialized()
    await rollout.visited(
        f"hey -z 5m -q 10 -c 2 -host {rollout.namespace}.example.com http://apisix-gateway.apisix/api/info"
    )
    await rollout.release(image)
    return await rollout.over()


@play
async def plain_breakage(rollout: Rollout) -> None:
    """Noticed long before the check of the step is due."""
    found = await _released(rollout, FAILING_ALL, interval="2m", fastAbort={"every": "1s"})
    assert found["status"]["phase"] == "Failed"
    assert await rollout.weights() == [100, 0]
    [text] = beginning(rollout, f"Rolling back podinfo.{rollout.namespace} fast abort: canary failed ")
    assert "more than 10% by a sequential likelihood ratio test" in text
    [ended] = [each for each in found["status"]["serinus"]["transitions"] if each["cause"].startswith("abort/")]
    began = datetime.fromisoformat(found["status"]["serinus"]["stepStartedAt"])
    assert (datetime.fromisoformat(ended["at"]) - began).total_seconds() < 110


@play
async def a_worse_one(rollout: Rollout) -> None:
    found = await _released(rollout, EIGHTEEN_PERCENT, **COMPARED)
    assert found["status"]["phase"] == "Failed"
    [text] = beginning(rollout, f"Halt podinfo.{rollout.namespace} advancement canary failed ")
    assert text.endswith("worse by more than 1 percentage points")


@play
async def an_equal_one(rollout: Rollout) -> None:
    """With looks between its checks, too."""
    found = await _released(rollout, NEW, **COMPARED, fastAbort={"every": "1s"}, minRequests=20)
    assert found["status"]["phase"] == "Succeeded"
    assert beginning(rollout, "Rolling back") == []


@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_a_canary_is_judged_beside_the_primary(programme: Programme, play: Play[None]) -> None:
    await programme.of(play)
