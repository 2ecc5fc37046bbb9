"""Real kubectl on the emulator: every command of the guide's reader. The cluster suite builds kubectl, so it's run there."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.apiserver.server import ApiServer
from sandbox.controlplane import binaries
from sandbox.controlplane.kubelet import FakeKubelet

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]


class Kubectl:
    """Runs kubectl with a discovery cache of its own; answers what it printed, raises with its complaint."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        config = server.kubeconfig(folder / "kubeconfig", namespace="test")
        self._program = [str(binaries.locate().kubectl), f"--kubeconfig={config}", f"--cache-dir={folder / 'cache'}"]

    async def __call__(self, *args: str) -> str:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*self._program, *args, cwd=ROOT, stdout=pipe, stderr=pipe)
        printed, complaint = await child.communicate()
        assert child.returncode == 0, f"kubectl {' '.join(args)}: {complaint.decode()}"
        return printed.decode()


@pytest.fixture
async def kubectl(tmp_path: Path) -> AsyncIterator[Kubectl]:
    async with ApiServer() as server, FakeKubelet(server.url, server.admin_token):
        yield Kubectl(server, tmp_path)


async def install(kubectl: Kubectl) -> None:
    await kubectl("create", "ns", "test")
    await kubectl("apply", "-k", "k8s/crds")
    await kubectl("apply", "--server-side", "-f", "sandbox/crds/apisix.yaml")
    await kubectl("apply", "-f", "tests/guide/deployment.yaml,tests/guide/hpa.yaml,tests/guide/route.yaml")


async def test_the_guides_manifests_are_applied_and_applied_again(kubectl: Kubectl) -> None:
    await install(kubectl)

    first = await kubectl("apply", "-f", "tests/guide/canary.yaml")
    again = await kubectl("apply", "-f", "tests/guide/canary.yaml")
    forced = await kubectl("apply", "--server-side", "--force-conflicts", "-f", "tests/guide/canary.yaml")

    assert first == "canary.flagger.app/podinfo created\n"
    assert again == "canary.flagger.app/podinfo unchanged\n"
    assert forced == "canary.flagger.app/podinfo serverside-applied\n"
    described = [line.split() for line in (await kubectl("describe", "canary/podinfo")).splitlines()]
    assert ["Step", "Weight:", "10"] in described
    assert (await kubectl("get", "canaries")).split()[:4] == ["NAME", "STATUS", "WEIGHT", "LASTTRANSITIONTIME"]


async def test_an_image_is_changed_and_its_rollout_followed(kubectl: Kubectl) -> None:
    await install(kubectl)
    await kubectl("rollout", "status", "deployment/podinfo", "--timeout=90s")

    await kubectl("set", "image", "deployment/podinfo", "podinfod=podinfo:6.0.1")
    told = await kubectl("rollout", "status", "deployment/podinfo", "--timeout=90s")
    await kubectl("scale", "deployment/podinfo", "--replicas=2")
    await kubectl("wait", "deployment/podinfo", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=90s")

    assert told.endswith('deployment "podinfo" successfully rolled out\n')
    table = (await kubectl("get", "deployment/podinfo")).splitlines()
    assert table[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert table[1].split()[:3] == ["podinfo", "2/2", "2"]
    described = [line.split() for line in (await kubectl("describe", "deployment/podinfo")).splitlines()]
    assert ["Image:", "podinfo:6.0.1"] in described


async def test_conditions_are_awaited_annotations_written_and_objects_deleted(kubectl: Kubectl) -> None:
    await install(kubectl)
    await kubectl("apply", "-f", "tests/guide/canary.yaml")
    condition = '{"status":{"conditions":[{"type":"Promoted","status":"True","reason":"Succeeded"}]}}'

    await kubectl("patch", "canary/podinfo", "--subresource=status", "--type=merge", "-p", condition)
    met = await kubectl("wait", "canary/podinfo", "--for=condition=promoted", "--timeout=90s")
    await kubectl("annotate", "canary/podinfo", "example.com/a=b")
    annotated = await kubectl("get", "canary/podinfo", "-o", "jsonpath={.metadata.annotations.example\\.com/a}")
    await kubectl("delete", "canary/podinfo", "--timeout=90s")
    await kubectl("delete", "deployment/podinfo", "--cascade=foreground", "--timeout=90s")
    await kubectl("delete", "ns", "test", "--timeout=90s")

    assert met == "canary.flagger.app/podinfo condition met\n"
    assert annotated == "b"
    assert await kubectl("get", "pods", "-A", "-o", "name") == ""
    assert "namespace/test" not in await kubectl("get", "ns", "-o", "name")
