"""Each overlay on a real API server, by the commands of docs/install.md: it comes, it stands, it is as before when applied
again, and it goes without what is people's. No pod runs here; `gentle` and `rough` play on installations.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from sandbox import installed
from sandbox.controlplane.api import Api, ApiError, Json
from sandbox.controlplane.server import ControlPlane
from tests.e2e.rollouts import manifest, moved

pytestmark = pytest.mark.cluster
K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = {"apisix": "apisix", "namespaced": "test", "own-nats": "apisix", "small": "apisix"}
"""By the namespace that each names. The one called `test` is what scenes install."""
OURS = "app.kubernetes.io/part-of=serinus"
PEOPLES = (
    "secret/serinus-nats",
    "canary.flagger.app/podinfo",
    "persistentvolumeclaim/data-serinus-nats-",
    "serviceaccount/default",
    "event",
)
"""What stays: passwords, Canaries and NATS's volumes; and what is Kubernetes' own."""
WARNING = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}


@pytest_asyncio.fixture
async def before(control_plane: ControlPlane, admin: Api) -> AsyncIterator[None]:
    """What docs/install.md does first: definitions, namespaces, passwords. And a Canary, which is somebody's."""
    await control_plane.kubectl("apply", "--server-side", "-k", str(K8S / "crds"))
    await installed.established(control_plane)
    for namespace in sorted(set(OVERLAYS.values())):
        with contextlib.suppress(ApiError):  # from the overlay before
            await admin.create("/api/v1/namespaces", {"metadata": {"name": namespace, "labels": WARNING}})
        passwords = await asyncio.create_subprocess_exec(
            "sh", str(K8S / "nats/passwords.sh"), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await passwords.communicate()
        await control_plane.kubectl("-n", namespace, "apply", "-f", "-", stdin=printed.decode())
        canary = json.dumps(moved(manifest("canary"), namespace))
        await control_plane.kubectl("apply", "-f", "-", stdin=canary)
    yield


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_an_overlay_comes_stands_and_goes(control_plane: ControlPlane, before: None, overlay: str) -> None:
    folder = str(K8S / "overlays" / overlay)
    wanted = [each for each in yaml.safe_load_all(await control_plane.kubectl("kustomize", folder)) if each]

    came = await control_plane.kubectl("apply", "--warnings-as-errors", "--validate=strict", "-k", folder)
    assert _but(came, "created") == []
    assert len(came.splitlines()) == len(wanted)
    stands = await _standing(control_plane, folder)
    assert stands.keys() == {_name(each) for each in wanted}
    await control_plane.kubectl("apply", "--warnings-as-errors", "-k", folder)
    assert await _standing(control_plane, folder) == stands

    went = await control_plane.kubectl("delete", "-k", folder, "--timeout=90s")
    assert len(went.splitlines()) == len(wanted)
    await _nothing_left(control_plane, OVERLAYS[overlay])
    await control_plane.kubectl("-n", OVERLAYS[overlay], "get", *PEOPLES[:2])


def _but(printed: str, outcome: str) -> list[str]:
    """The lines that say something else."""
    return [line for line in printed.splitlines() if not line.endswith(f" {outcome}")]


def _name(found: Json) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]


async def _standing(control_plane: ControlPlane, folder: str) -> dict[tuple[str, str], str]:
    """Everything of the overlay, with the number that moves when it's changed. kubectl's own word for what it did is no guide: it
    calls a StatefulSet with volumes `configured` each time."""
    found = json.loads(await control_plane.kubectl("get", "-k", folder, "-o", "json"))["items"]
    return {
        _name(each): str(each["metadata"].get("generation") or each["metadata"]["resourceVersion"]) for each in found
    }


async def _nothing_left(control_plane: ControlPlane, namespace: str) -> None:
    """In the namespace but what is people's, and of ours beyond it but the definitions. What controllers clear away takes a moment."""
    kinds = {
        scope: (
            await control_plane.kubectl("api-resources", f"--namespaced={scope}", "--verbs=list,delete", "-o", "name")
        ).split()
        for scope in ("true", "false")
    }
    async with asyncio.timeout(90):
        while True:
            inside = await control_plane.kubectl("-n", namespace, "get", ",".join(kinds["true"]), "-o", "name")
            beyond = await control_plane.kubectl("get", ",".join(kinds["false"]), "-l", OURS, "-o", "name")
            left = [name for name in inside.split() if not name.startswith(PEOPLES)]
            if not left + [name for name in beyond.split() if not name.startswith("customresourcedefinition.")]:
                return
            await asyncio.sleep(0.2)
