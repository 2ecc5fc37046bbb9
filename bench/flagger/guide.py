"""The guide's canary as anybody sees it with kubectl: nothing here knows which controller runs it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import yaml

from sandbox.controlplane.api import STRATEGIC, Api, Json
from sandbox.controlplane.server import ControlPlane
from sandbox.loadtester import LoadTester

_MANIFESTS: Final = Path(__file__).resolve().parents[2] / "tests" / "guide"


def manifest(name: str) -> Json:
    """A manifest of the guide by file name."""
    found: Json = yaml.safe_load((_MANIFESTS / f"{name}.yaml").read_text())
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One canary; `name` is the Canary's, its target's and its route's, and its host's first part."""

    plane: ControlPlane
    api: Api
    namespace: str
    name: str = "podinfo"

    @property
    def canary(self) -> str:
        return f"/apis/flagger.app/v1beta1/namespaces/{self.namespace}/canaries/{self.name}"

    @property
    def target(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.name}"

    @property
    def source(self) -> str:
        return f"/apis/apisix.apache.org/v2/namespaces/{self.namespace}/apisixroutes/{self.name}"

    @property
    def route(self) -> str:
        return f"{self.source}-{self.name}-canary"

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.example.com"

    async def apply(self, *documents: Json) -> None:
        """Each moved into this namespace, under this name and host."""
        texts = (json.dumps(each).replace("app.example.com", self.host) for each in documents)
        moved = [json.loads(text.replace('"podinfo"', f'"{self.name}"')) for text in texts]
        for each in moved:
            each["metadata"]["namespace"] = self.namespace
        stdin = "\n---\n".join(json.dumps(each) for each in moved)
        await self.plane.kubectl("-n", self.namespace, "apply", "-f", "-", stdin=stdin)

    async def release(self, image: str) -> None:
        """A new revision, as `kubectl set image` makes it."""
        containers = [{"name": "podinfod", "image": image}]
        change = {"spec": {"template": {"spec": {"containers": containers}}}}
        await self.api.patch(self.target, change, STRATEGIC, fieldManager="kubectl-set")

    async def until(self, done: Callable[[Json], bool], timeout: float = 120.0) -> Json:
        """Wait until this is so of the Canary's status."""
        return await self.api.until(self.canary, lambda found: done(found.get("status") or {}), timeout=timeout)

    async def phase(self, *phases: str, timeout: float = 120.0) -> Json:
        """Wait for one of these phases."""
        return await self.until(lambda status: status.get("phase") in phases, timeout)

    async def weights(self) -> Sequence[int]:
        """The generated route's: primary, canary."""
        rule = (await self.api.get(self.route))["spec"]["http"][0]
        return [backend["weight"] for backend in rule["backends"]]


async def visited(loadtester: LoadTester, command: str) -> None:
    """Load from outside: what the guide types into the load tester's pod."""
    order = {"name": command, "namespace": "visitors", "metadata": {"cmd": command}}
    url = f"http://127.0.0.1:{loadtester.port}/"
    async with aiohttp.ClientSession() as session, session.post(url, json=order) as answer:
        answer.raise_for_status()
