"""docs/gitops.md against the code: its manifests are read, its health checks run on Canaries as the router leaves them."""

import re
from datetime import timedelta
from typing import Any

import cel
import lupa
import pytest
import yaml

from services.router import routes
from shared.canary.ownership import ROUTER
from shared.kube.json import Json
from tests.repo.manifests import ROOT
from tests.story.test_gates import SHUT, hooked
from tests.story.theatre import Theatre, initialized, progressing

PAGE = (ROOT / "docs/gitops.md").read_text()
BLOCKS: list[Json] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)]


def block(*path: str) -> Any:
    """What the one manifest with this path has there."""
    [found] = [here for each in BLOCKS if (here := _at(each, path)) is not None]
    return found


def _at(document: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def argo(canary: Json) -> tuple[str, str]:
    """Status and message by the Lua that Argo CD would run."""
    script = block("data", "resource.customizations.health.flagger.app_Canary")
    lua = lupa.LuaRuntime(unpack_returned_tuples=True)
    found = lua.eval(f"function(obj) {script} end")(lua.table_from(canary, recursive=True))
    return found["status"], found["message"]


def flux(canary: Json) -> str:
    """The first expression that holds, in the order in which Flux evaluates them."""
    [expressions] = block("spec", "healthCheckExprs")
    known = {"status": canary.get("status", {}), "spec": canary["spec"]}
    names = ("inProgress", "failed", "current")
    return next((name for name in names if cel.evaluate(expressions[name], known)), "nothing")


async def gated(kind: str) -> Theatre:
    theatre = await initialized(hooked(kind))
    theatre.release()
    await theatre.settle()
    while theatre.phase not in {"Waiting", "WaitingPromotion"}:
        await theatre.tick(checks=SHUT if kind == "confirm-rollout" or theatre.weights()[1] == 50 else ())
    return theatre


async def ended(*, well: bool) -> Theatre:
    theatre = await progressing()
    if not well:
        theatre.ask("abort:1")
        await theatre.fact()
    while theatre.asks():
        await theatre.tick()
        await theatre.settle()
    return theatre


async def test_a_rollout_is_seen_as_what_it_is() -> None:
    theatre = await progressing()
    assert (argo(theatre.canary)[0], flux(theatre.canary)) == ("Progressing", "inProgress")
    theatre = await ended(well=True)
    assert theatre.phase == "Succeeded"
    assert argo(theatre.canary) == ("Healthy", "Canary analysis completed successfully, promotion finished.")
    assert flux(theatre.canary) == "current"
    theatre = await ended(well=False)
    assert theatre.phase == "Failed"
    assert (argo(theatre.canary)[0], flux(theatre.canary)) == ("Degraded", "failed")


@pytest.mark.parametrize("kind", ["confirm-rollout", "confirm-promotion"])
async def test_one_that_waits_for_people_is_suspended(kind: str) -> None:
    canary = (await gated(kind)).canary
    assert argo(canary) == ("Suspended", "Waiting for approval.")
    assert flux(canary) == "inProgress"


async def test_one_that_was_never_seen_is_in_progress() -> None:
    theatre = Theatre()
    assert argo(theatre.canary) == ("Progressing", "not seen by Serinus yet")
    assert flux({"spec": {}, "status": {}}) == "inProgress"


async def test_a_refused_one_is_degraded_with_its_reason() -> None:
    theatre = await initialized()
    theatre.edit({"spec": {"autoscalerRef": {"kind": "ScaledObject", "name": "podinfo"}}})
    await theatre.fact()
    status, message = argo(theatre.canary)
    assert (status, flux(theatre.canary)) == ("Degraded", "failed")
    assert message.startswith("spec.autoscalerRef.kind ScaledObject is not supported")


async def test_an_idle_target_that_is_kept_up_is_degraded_with_its_fix() -> None:
    theatre = await initialized()
    for _ in range(4):
        theatre.clock.time += timedelta(seconds=30)
        theatre.cluster.time = theatre.stamp()
        theatre.cluster.edit("Deployment", "podinfo", {"spec": {"replicas": 1}}, manager="argocd-controller")
        await theatre.fact()
    status, message = argo(theatre.canary)
    assert status == "Degraded"
    assert "remove spec.replicas from what argocd-controller applies" in message


def test_the_manager_that_it_names_is_ours() -> None:
    named = [each for part in block("spec", "ignoreDifferences") for each in part.get("managedFieldsManagers", ())]
    assert set(named) == {ROUTER}


def test_what_is_not_copied_is_listed() -> None:
    section = PAGE.partition("aren't copied:")[2].partition("- from the target")[0]
    assert set(re.findall(r"`([\w./-]+)`", section)) == {
        *routes._NOT_COPIED, "app.kubernetes.io/instance", "app.kubernetes.io/managed-by",
    }  # fmt: skip
