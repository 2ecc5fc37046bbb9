"""Flagger's own definitions are put back over ours in the middle of rollouts: everything is held, people are told which
command mends it, and it goes on where it stood. Even if somebody writes the Canary meanwhile.
"""

import asyncio
import json
from pathlib import Path
from typing import Final

import aiohttp
import yaml

from bench.scenarios.deletion import application
from bench.scenarios.scenario import Outcome, Scenario, watched
from sandbox.controlplane.api import Json
from sandbox.controlplane.server import ControlPlane
from sandbox.scene import Scene
from tests.e2e.rollouts import Rollout
from tests.e2e.short import GATE, NEW, applied, canary, phase, told

_CRDS: Final = Path(__file__).resolve().parents[2] / "k8s/crds"
_AN_INTERVAL: Final = 10.0
FIX: Final = "kubectl apply --server-side --force-conflicts -k k8s/crds"
HOLDING: Final = f"the installed Canary CRD drops our status fields: {FIX}"
RESUMING: Final = "the installed Canary CRD keeps our status fields again"


def flaggers() -> Json:
    """Ours without what is ours."""
    crd: Json = yaml.safe_load((_CRDS / "canaries.yaml").read_text())
    [version] = crd["spec"]["versions"]
    del version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["serinus"]
    return crd


async def put_back(plane: ControlPlane) -> None:
    """Flagger's, as somebody's GitOps would."""
    await plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(flaggers()))


async def mended(plane: ControlPlane) -> None:
    """By the command that people are told."""
    await plane.kubectl(*FIX.split()[1:-1], str(_CRDS))


async def at_half(rollout: Rollout) -> None:
    """It waits for a person, with half of the traffic."""
    await applied(rollout, application(), canary(webhooks=[GATE], spec={"progressDeadlineSeconds": 600}))
    await rollout.initialized()
    await rollout.release(NEW)
    await phase(rollout, "WaitingPromotion", weight=50)


async def own(rollout: Rollout) -> Json:
    """What of its status is ours."""
    found: Json = (await rollout.scene.stage.api.get(rollout.canary))["status"]["serinus"]
    return found


async def definitions_put_back(rollout: Rollout) -> Outcome:
    """Of two canaries somebody writes one, so that what was stored is pruned for good, and asks the other for something,
    which has to wait."""
    scene, touched = rollout.scene, Rollout(rollout.scene, f"{rollout.namespace}-touched")
    both = (rollout, touched)
    await asyncio.gather(*(at_half(each) for each in both))
    before = [await own(each) for each in both]
    async with watched(*both) as watch:
        watch.begin()
        await put_back(scene.plane)
        for each in both:
            await told(each, f"Holding {each.name}.{each.namespace}: {HOLDING}")
        await _said_by_the_router(scene)
        await touched.kubectl("label", "canary/podinfo", "team=a")
        assert "serinus" not in (await scene.stage.api.get(touched.canary))["status"]
        await rollout.kubectl("annotate", "canary/podinfo", "serinus.dev/request=approve:1")
        await asyncio.sleep(_AN_INTERVAL)  # in which nothing is what is waited for
        assert [await each.weights() for each in both] == [[50, 50]] * 2
        await mended(scene.plane)
        for each in both:
            await told(each, f"Resuming {each.name}.{each.namespace}: {RESUMING}", "Normal")
        watch.right()
        await touched.kubectl("annotate", "canary/podinfo", "serinus.dev/request=approve:1")
        for each, had in zip(both, before, strict=True):
            assert (await each.over())["status"]["phase"] == "Succeeded"
            has = await own(each)
            assert (has["revision"], has["promotedRevision"]) == (had["revision"], had["revision"])
        await watch.more()
    return watch.outcome()


async def _said_by_the_router(scene: Scene) -> None:
    """Its own pages: that it isn't ready, with the command, and the metric that an alert goes by."""
    port = scene.runner.containers("serinus-router")[0].port
    pages = {}
    async with aiohttp.ClientSession() as session:
        for path in ("/readyz", "/metrics"):
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                pages[path] = await answer.text()
    assert HOLDING in pages["/readyz"]
    assert any(
        line in pages["/metrics"].splitlines()
        for line in ("serinus_crd_incompatible 1.0", "serinus_crd_incompatible 1")
    )


SCENARIOS = (
    Scenario("Flagger's definitions put back", definitions_put_back, rough=True, tested="tests/e2e/rough/test_crds.py"),
)
