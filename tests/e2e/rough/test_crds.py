"""Flagger's own definitions are put back over ours in the middle of rollouts, on the real API server: everything is held, people
are told which command mends it, and it goes on where it stood. Even if somebody writes the Canary meanwhile, and even if
the router starts meanwhile.

The installation is that of `k8s/overlays/small`, and it was there before any definition.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bench.scenarios.definitions import HOLDING, at_half, definitions_put_back, mended, own, put_back
from bench.scenarios.scenario import wrong
from sandbox import installed
from sandbox.controlplane.server import ControlPlane
from sandbox.scene import Scene, opened
from sandbox.stage import Options, Stage
from tests.e2e import overlays
from tests.e2e.rollouts import PATIENCE, Rollout
from tests.e2e.short import SETTINGS, told

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
MISSING = {
    "watcher": "canaries can't be followed: ",
    "router": "canaries of flagger.app/v1beta1 aren't served: apply k8s/crds",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with (
        asyncio.TaskGroup() as group,
        opened(
            tmp_path_factory.mktemp("crds"),
            Options(settings=SETTINGS),
            credentials=_too_early(group),
            definitions=False,
        ) as scene,
    ):
        yield scene


def _too_early(group: asyncio.TaskGroup) -> installed.Credentials:
    """The small overlay; the definitions come once somebody has said that they are missing."""

    async def credentials(plane: ControlPlane, stage: Stage) -> Path:
        group.create_task(_definitions(plane, stage.directory / "pods" / "logs"))
        return await overlays.small(plane, stage)

    return credentials


async def _definitions(plane: ControlPlane, logs: Path) -> None:
    async with asyncio.timeout(PATIENCE):
        while not all(_told(logs, name) for name in MISSING):
            await asyncio.sleep(0.1)
    await installed.crds(plane)


def _told(logs: Path, service: str) -> bool:
    return any(MISSING[service] in file.read_text() for file in logs.glob(f"*-{service}-*"))


async def test_whoever_was_there_before_the_definitions_has_waited_for_them(scene: Scene) -> None:
    """In its first process."""
    pods = (await scene.stage.api.get(f"/api/v1/namespaces/{installed.NAMESPACE}/pods"))["items"]
    restarts = [each["restartCount"] for pod in pods for each in pod["status"]["containerStatuses"]]
    assert restarts == [0] * len(installed.DEPLOYMENTS)
    sentence = next(line["msg"] for line in scene.log("router") if MISSING["router"] in line["msg"])
    assert sentence.startswith(
        "waiting: apisixroutes of apisix.apache.org/v2 aren't served: install the CRDs of APISIX"
    )


async def test_flaggers_definition_holds_everything_and_ours_lets_it_go_on(scene: Scene) -> None:
    outcome = await definitions_put_back(Rollout(scene, "definitions"))
    assert wrong([("definitions", outcome)]) == []


async def test_a_router_that_starts_under_flaggers_definition_believes_nothing_it_was_served(scene: Scene) -> None:
    rollout = Rollout(scene, "restarted")
    await at_half(rollout)
    had = await own(rollout)
    await put_back(scene.plane)
    await told(rollout, f"Holding {rollout.name}.{rollout.namespace}: {HOLDING}")
    known = _found_out(scene)
    for container in scene.runner.containers("serinus-router"):
        container.process.kill()
    async with asyncio.timeout(PATIENCE):
        while _found_out(scene) == known:
            await asyncio.sleep(0.1)
    await mended(scene.plane)
    await rollout.kubectl("annotate", "canary/podinfo", "serinus.dev/request=approve:1")
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    has = await own(rollout)
    assert has["promotedRevision"] == had["revision"]
    assert has["transition"] > had["transition"]
    numbers = [said["seq"] for said in scene.listener.of(rollout.namespace)]
    assert numbers == list(range(1, len(numbers) + 1)), "no event lost or doubled"


def _found_out(scene: Scene) -> int:
    """How often a router has said what is wrong with the definition: each does once it has looked."""
    return sum("drops our status fields" in line["msg"] for line in scene.log("router"))
