"""Flagger's own definitions are put back over ours in the middle of rollouts, on the real API server: everything is held, people
are told which command mends it, and it goes on where it stood. Even if somebody writes the Canary meanwhile, and even if
the router starts meanwhile.

The installation is that of `k8s/overlays/small`, and it was there before any definition.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml

from sandbox import installed
from sandbox.controlplane.api import Json
from sandbox.controlplane.server import ControlPlane
from sandbox.scene import Scene, opened
from sandbox.stage import Options, Stage
from tests.e2e import overlays
from tests.e2e.rollouts import Rollout
from tests.e2e.rough.test_docs import ROOT
from tests.e2e.short import NEW, SETTINGS, applied, canary, hook, phase, told

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]
GATE = hook("confirm-promotion", "http://flagger-loadtester.test/gate/check")
FIX = "kubectl apply --server-side --force-conflicts -k k8s/crds"
HOLDING = f"the installed Canary CRD drops our status fields: {FIX}"
MISSING = {
    "watcher": "canaries can't be followed: ",
    "router": "canaries of flagger.app/v1beta1 aren't served: apply k8s/crds",
}
RESUMING = "the installed Canary CRD keeps our status fields again"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with (
        asyncio.TaskGroup() as group,
        opened(tmp_path_factory.mktemp("crds"), Options(settings=SETTINGS), credentials=_too_early(group)) as scene,
    ):
        yield scene


def _too_early(group: asyncio.TaskGroup) -> installed.Credentials:
    """The small overlay, without a single definition; they come once somebody has said that they are missing."""

    async def credentials(plane: ControlPlane, stage: Stage) -> Path:
        await plane.kubectl("delete", "crd", "--all")
        group.create_task(_definitions(plane, stage.directory / "pods" / "logs"))
        return await overlays.small(plane, stage)

    return credentials


async def _definitions(plane: ControlPlane, logs: Path) -> None:
    async with asyncio.timeout(60):
        while not all(_told(logs, name) for name in MISSING):
            await asyncio.sleep(0.1)
    await installed.crds(plane)


def _told(logs: Path, service: str) -> bool:
    return any(MISSING[service] in file.read_text() for file in logs.glob(f"*-{service}-*"))


def flaggers() -> Json:
    """Ours without what is ours."""
    crd: Json = yaml.safe_load(Path(ROOT / "k8s/crds/canaries.yaml").read_text())
    [version] = crd["spec"]["versions"]
    del version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["serinus"]
    return crd


async def test_whoever_was_there_before_the_definitions_has_waited_for_them(scene: Scene) -> None:
    """In its first process."""
    pods = (await scene.stage.api.get(f"/api/v1/namespaces/{installed.NAMESPACE}/pods"))["items"]
    restarts = [each["restartCount"] for pod in pods for each in pod["status"]["containerStatuses"]]
    assert restarts == [0] * len(installed.DEPLOYMENTS)
    [sentence] = {line["msg"] for line in scene.log("router") if MISSING["router"] in line["msg"]}
    assert sentence.startswith(
        "waiting: apisixroutes of apisix.apache.org/v2 aren't served: install the CRDs of APISIX"
    )


async def test_flaggers_definition_holds_everything_and_ours_lets_it_go_on(scene: Scene) -> None:
    rollouts = [Rollout(scene, "waiting"), Rollout(scene, "touched")]
    await asyncio.gather(*(_at_half(each) for each in rollouts))
    before = [await _own(each) for each in rollouts]

    await scene.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(flaggers()))
    for each in rollouts:
        await told(each, f"Holding {each.name}.{each.namespace}: {HOLDING}", timeout=20)
    ready, page = await _asked(scene, "/readyz"), await _asked(scene, "/metrics")
    assert HOLDING in ready
    assert "serinus_crd_incompatible 1.0" in page or "serinus_crd_incompatible 1\n" in page
    # Somebody writes, so that what was stored is pruned for good; and asks for something, which has to wait.
    await rollouts[1].kubectl("label", "canary/podinfo", "team=a")
    found = await scene.stage.api.get(rollouts[1].canary)
    assert "serinus" not in found["status"]
    await rollouts[0].kubectl("annotate", "canary/podinfo", "serinus.dev/request=approve:1")
    await asyncio.sleep(10)  # an interval, in which nothing is what is waited for
    assert [await each.weights() for each in rollouts] == [[50, 50]] * 2

    await scene.plane.kubectl(*FIX.split()[1:-1], str(ROOT / "k8s/crds"))
    for each in rollouts:
        await told(each, f"Resuming {each.name}.{each.namespace}: {RESUMING}", "Normal", timeout=30)
    await rollouts[1].kubectl("annotate", "canary/podinfo", "serinus.dev/request=approve:1")
    for each, had in zip(rollouts, before, strict=True):
        assert (await each.over())["status"]["phase"] == "Succeeded"
        own = await _own(each)
        assert (own["revision"], own["promotedRevision"]) == (had["revision"], had["revision"])
        numbers = [said["seq"] for said in scene.listener.of(each.namespace)]
        assert numbers == list(range(1, len(numbers) + 1)), "no event lost or doubled"


async def test_a_router_that_starts_under_flaggers_definition_believes_nothing_it_was_served(scene: Scene) -> None:
    rollout = Rollout(scene, "restarted")
    await _at_half(rollout)
    had = await _own(rollout)
    await scene.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(flaggers()))
    await told(rollout, f"Holding {rollout.name}.{rollout.namespace}: {HOLDING}", timeout=20)
    known = _found_out(scene)
    for container in scene.runner.containers("serinus-router"):
        container.process.kill()
    async with asyncio.timeout(30):
        while _found_out(scene) == known:
            await asyncio.sleep(0.1)
    await scene.plane.kubectl(*FIX.split()[1:-1], str(ROOT / "k8s/crds"))
    await rollout.kubectl("annotate", "canary/podinfo", "serinus.dev/request=approve:1")
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    own = await _own(rollout)
    assert own["promotedRevision"] == had["revision"]
    assert own["transition"] > had["transition"]
    numbers = [said["seq"] for said in scene.listener.of(rollout.namespace)]
    assert numbers == list(range(1, len(numbers) + 1)), "no event lost or doubled"


def _found_out(scene: Scene) -> int:
    """How often a router has said what is wrong with the definition: each does once it has looked."""
    return sum("drops our status fields" in line["msg"] for line in scene.log("router"))


async def _at_half(rollout: Rollout) -> None:
    await applied(rollout, canary(webhooks=[GATE], spec={"progressDeadlineSeconds": 600}))
    await rollout.initialized()
    await rollout.release(NEW)
    await phase(rollout, "WaitingPromotion", weight=50)


async def _own(rollout: Rollout) -> Json:
    found: Json = (await rollout.scene.stage.api.get(rollout.canary))["status"]["serinus"]
    return found


async def _asked(scene: Scene, path: str) -> str:
    """What the router's own page says."""
    port = scene.runner.containers("serinus-router")[0].port
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return await answer.text()
