"""The cluster suite in four places, by how much a test needs for itself.

`gentle/`  plays on one installation, side by side: whatever harms nobody but its own canary. New tests belong here unless
           they break something that others use. See `plays.py`:

               @play
               async def suspended(rollout: Rollout) -> None: ...

               @pytest.mark.parametrize("play", declared(globals()), ids=str)
               async def test_people_are_obeyed(programme: Programme, play: Play[None]) -> None:
                   await programme.of(play)

`rough/`   kills, lost buses, crowds, removals: each file opens a scene of its own (`sandbox.scene.opened`).
here       an API server and no Serinus: `control_plane`, one for each worker, with a namespace for each test.
elsewhere  cluster tests of other folders, which bring what they need.

The first two are `make test-releases`, the others `make test-apiserver`. In a parallel run a file is a group, but for folders that
share an API server; the longest begin first (`groups.py`).
"""

import contextlib
import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox.controlplane import binaries
from sandbox.controlplane.api import Api, ApiError
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.controlplane.server import ControlPlane


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def control_plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """A running control plane, as long as a worker has tests of this folder: one at rest takes a twelfth of a processor.
    It holds nothing of the session's event loop, so tests use it from theirs."""
    try:
        found = binaries.locate()
    except binaries.BinariesMissing as missing:  # a build takes longer than any test may
        pytest.fail(str(missing))
    async with ControlPlane(tmp_path_factory.mktemp("control-plane"), binaries=found) as plane:
        yield plane


@pytest_asyncio.fixture
async def admin(control_plane: ControlPlane) -> AsyncIterator[Api]:
    """A client that may do everything."""
    async with control_plane.api() as api:
        yield api


@pytest_asyncio.fixture
async def kubelet(control_plane: ControlPlane) -> AsyncIterator[FakeKubelet]:
    """A node whose pods are nothing but their status. Tests with runners start one of their own instead."""
    async with FakeKubelet(control_plane.url, control_plane.admin_token, control_plane.ca_file) as running:
        yield running


@pytest_asyncio.fixture
async def namespace(admin: Api) -> AsyncIterator[str]:
    """A namespace of the test's own. Its deletion is begun and not waited for."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    await admin.create("/api/v1/namespaces", {"metadata": {"name": name}})
    # The controllers make it a moment later, and pods that start before it would have no identity.
    await admin.until(f"/api/v1/namespaces/{name}/serviceaccounts/default", lambda _: True)
    yield name
    with contextlib.suppress(ApiError):
        await admin.delete(f"/api/v1/namespaces/{name}")
