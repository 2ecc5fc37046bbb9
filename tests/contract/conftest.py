"""The Kubernetes API twice: the sandbox's emulator, and (marked `cluster`) a real control plane. One suite asks both.

What the emulator is known not to do stands in `KNOWN_GAPS`: such a test has to fail on it.
"""

import asyncio
import contextlib
import ssl
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from sandbox.apiserver.server import ApiServer
from sandbox.controlplane import binaries
from sandbox.controlplane.api import Api, ApiError, Json
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.controlplane.server import ControlPlane

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
GROUP = "sandbox.example.com"
KNOWN_GAPS = {
    "test_a_rule_in_cel_is_enforced": "the emulator doesn't evaluate x-kubernetes-validations",
    "test_a_dry_run_changes_nothing": "the emulator refuses dry runs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """An API server as a client needs to know it."""

    url: str
    token: str
    ca_file: Path | None
    emulator: ApiServer | None = None

    def api(self) -> Api:
        return Api(self.url, self.token, self.ca_file)

    async def ask(self, path: str, accept: str) -> Json:
        """GET in another form than plain JSON."""
        tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True
        headers = {"Authorization": f"Bearer {self.token}", "Accept": accept}
        connector = aiohttp.TCPConnector(ssl=tls, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, headers=headers) as session,
            session.get(self.url + path) as answer,
        ):
            found: Json = await answer.json()
            return found


@pytest.fixture(scope="package")
def real_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """It holds nothing of an event loop, so one is enough for all tests of the folder."""
    try:
        found = binaries.locate()
    except binaries.BinariesMissing as missing:  # a build takes longer than any test may
        pytest.fail(str(missing))
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"), binaries=found)
    asyncio.run(_begin(plane))
    yield plane
    asyncio.run(plane.stop())


@pytest.fixture(params=["emulator", pytest.param("real", marks=pytest.mark.cluster)])
def plane(request: pytest.FixtureRequest) -> ControlPlane | None:
    """The real control plane, or None: then the emulator is meant."""
    if request.param == "real":
        found: ControlPlane = request.getfixturevalue("real_plane")
        return found
    name = request.node.originalname
    if why := KNOWN_GAPS.get(name):
        request.node.add_marker(pytest.mark.xfail(reason=why, strict=True))
    return None


@pytest.fixture
async def where(plane: ControlPlane | None) -> AsyncIterator[Where]:
    if plane:
        yield Where(url=plane.url, token=plane.admin_token, ca_file=plane.ca_file)
        return
    async with ApiServer() as server:
        yield Where(url=server.url, token=server.admin_token, ca_file=server.ca_file, emulator=server)


@pytest.fixture
async def api(where: Where) -> AsyncIterator[Api]:
    async with where.api() as client:
        yield client


@pytest.fixture
async def kubelet(where: Where) -> AsyncIterator[FakeKubelet]:
    async with FakeKubelet(where.url, where.token, where.ca_file) as running:
        yield running


@pytest.fixture
async def namespace(api: Api) -> AsyncIterator[str]:
    """A namespace of the test's own. Its deletion is begun and not waited for."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    await api.create("/api/v1/namespaces", {"metadata": {"name": name}})
    await api.until(f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda _: True)
    yield name
    with contextlib.suppress(ApiError):
        await api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
async def widgets(api: Api, where: Where) -> str:
    """A custom kind that is served; answers its group. A real server needs two seconds for one, so all tests share it."""
    if where.emulator:
        await define(api, GROUP)
    return GROUP


@pytest.fixture
async def own_widgets(api: Api) -> AsyncIterator[str]:
    """The same for a test that changes the definition."""
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    await define(api, group)
    yield group
    with contextlib.suppress(ApiError):
        await api.delete(f"{CRDS}/widgets.{group}")


async def define(api: Api, group: str) -> None:
    await api.create(CRDS, widget_crd(group))
    await api.until(f"{CRDS}/widgets.{group}", established)
    await served(api, f"/apis/{group}/v1/widgets")


async def _begin(plane: ControlPlane) -> None:
    await plane.start()
    async with plane.api() as api:
        await define(api, GROUP)


async def served(api: Api, path: str) -> None:
    """A real server answers 404, then 429, until it serves what was just defined."""
    async with asyncio.timeout(90):
        while True:
            try:
                await api.get(path)
                return
            except ApiError as error:
                if error.status not in (404, 429):
                    raise
            await asyncio.sleep(0.05)


def established(crd: Json) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def widget_crd(group: str) -> Json:
    color = {"type": "string", "enum": ["red", "green"], "default": "red"}
    spec = {
        "type": "object",
        "required": ["size"],
        "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": color,
            "port": {"x-kubernetes-int-or-string": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "parts": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        },
        "x-kubernetes-validations": [{"rule": "self.size < 100", "message": "too big"}],
    }
    status = {"type": "object", "properties": {"phase": {"type": "string"}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "required": ["spec"],
                            "properties": {"metadata": {"type": "object"}, "spec": spec, "status": status},
                        }
                    },
                }
            ],
        },
    }
