"""Serinus in the real control plane as users install it: `kubectl apply -k`, its Deployments run by the fake kubelet."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from sandbox.controlplane.api import Json
from sandbox.controlplane.processes import ProcessRunner
from sandbox.controlplane.server import ControlPlane
from sandbox.stage import Stage

NAMESPACE = "apisix"
OVERLAY = "k8s/overlays/test"
DEPLOYMENTS = ("serinus-bootstrap", "serinus-watcher", "serinus-analyzer", "serinus-router", "serinus-notifier")
Credentials = Callable[[ControlPlane, Stage], Awaitable[Path]]
"""Makes the Secrets that a kustomization needs, and answers it."""

_CHECKOUT = Path(__file__).resolve().parents[1]
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"


def runner(stage: Stage) -> ProcessRunner:
    """The runner of our Deployments' processes, for `stage.kubelet`."""
    # Tests kill processes on purpose, over and over: a growing pause would leave nothing to kill.
    return ProcessRunner(
        stage.api, stage.directory / "pods", env=stage.surroundings(), backoff=0.2, longest_backoff=0.5
    )


async def crds(plane: ControlPlane) -> None:
    """The definitions of ours and of the gateway's routes, each established when this returns."""
    await plane.kubectl("apply", "--server-side", "-k", str(_CHECKOUT / "k8s/crds"))
    await plane.kubectl("apply", "--server-side", "-f", str(_CHECKOUT / "sandbox/crds/apisix.yaml"))
    await established(plane)


async def established(plane: ControlPlane) -> None:
    """Wait until every definition is served. Not by `kubectl wait`, to which one that has no conditions yet is an error."""

    def served(found: Json) -> bool:
        conditions = [each.get("status", {}).get("conditions") or [] for each in found["items"]]
        return all(any((c["type"], c["status"]) == ("Established", "True") for c in each) for each in conditions)

    async with plane.api() as api:
        await api.until(_CRDS, served)


async def passwords(plane: ControlPlane, stage: Stage) -> Path:
    """The words by which NATS knows its users, and what is installed with them."""
    await plane.kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(stage.password_secret()))
    return _CHECKOUT / OVERLAY


async def install(plane: ControlPlane, stage: Stage, credentials: Credentials = passwords) -> None:
    """The guide's install step. Answers when every Deployment is available."""
    await plane.kubectl("create", "namespace", NAMESPACE)
    await plane.kubectl("apply", "-k", str(await credentials(plane, stage)))
    await running(stage)


async def again(plane: ControlPlane, stage: Stage) -> None:
    """Once more what was removed; the namespace and the passwords are there still."""
    await plane.kubectl("apply", "-k", str(_CHECKOUT / OVERLAY))
    await running(stage)


async def running(stage: Stage) -> None:
    """Wait until every Deployment is available, with pods of its newest template only."""
    for name in DEPLOYMENTS:
        await stage.api.until(f"{_APPS}/{name}", available(1))


async def remove(plane: ControlPlane, runner: ProcessRunner, overlay: str = OVERLAY) -> None:
    """As docs/install.md says. Answers when the last process is gone."""
    await plane.kubectl("delete", "-k", str(_CHECKOUT / overlay), "--timeout=120s")
    while not all(runner.gone(name) for name in DEPLOYMENTS):
        await asyncio.sleep(0.1)


async def image(plane: ControlPlane, stage: Stage, service: str, tag: str) -> None:
    """`kubectl set image` of one of the services; its pod is another one when this returns."""
    name = f"serinus-{service}"
    await plane.kubectl("-n", NAMESPACE, "set", "image", f"deployment/{name}", f"serinus=serinus:{tag}")
    await stage.api.until(f"{_APPS}/{name}", available(1))


async def scale(plane: ControlPlane, stage: Stage, replicas: int, *names: str) -> None:
    """So many pods of each of these services (`watcher`, `analyzer`…), all available when this returns."""
    deployments = [f"serinus-{name}" for name in names]
    await plane.kubectl("-n", NAMESPACE, "scale", "deployment", *deployments, f"--replicas={replicas}")
    for name in deployments:
        await stage.api.until(f"{_APPS}/{name}", available(replicas))


def available(replicas: int) -> Callable[[Json], bool]:
    """True of a Deployment that has come to this number of available replicas, of its newest template."""

    def done(found: Json) -> bool:
        status = found.get("status", {})
        return bool(
            status.get("observedGeneration") == found["metadata"]["generation"]
            and status.get("availableReplicas", 0) == status.get("replicas", 0) == replicas
            and status.get("updatedReplicas", 0) == replicas
        )

    return done
