"""API servers to play on: the embedded one, and the real one of the cluster suite."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from sandbox.apiserver.server import ApiServer
from sandbox.controlplane.api import Api
from sandbox.controlplane.binaries import BinariesMissing, locate
from sandbox.controlplane.server import ControlPlane
from shared.kube import door, json
from shared.kube.json import Json
from tests.unit.kube.conftest import Access

ROOT = Path(__file__).parents[2]
APISIX = ROOT / "sandbox/crds/apisix.yaml"
LINES = {"1.5": ROOT / "sandbox/crds/apisix-1.5.yaml", "2.2": ROOT / "sandbox/crds/apisix-2.2.yaml"}
"""Definitions of ApisixRoute as versions of the ingress controller have them."""


@contextlib.asynccontextmanager
async def embedded(_: Path) -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@contextlib.asynccontextmanager
async def real(folder: Path) -> AsyncIterator[ControlPlane]:
    try:
        found = locate()
    except BinariesMissing as missing:
        pytest.fail(str(missing))
    async with ControlPlane(folder, binaries=found) as plane:
        yield plane


async def install(api: Api, routes: Path = APISIX) -> None:
    """Our kinds and the gateway's."""
    files = (*sorted((ROOT / "k8s/crds").glob("*s.yaml")), routes)
    crds: list[Json] = [crd for path in files for crd in yaml.safe_load_all(path.read_text()) if crd]
    for crd in crds:
        await api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
        await api.until(
            f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd['metadata']['name']}",
            lambda seen: any(each["type"] == "Established" for each in json.items(seen, "status", "conditions")),
        )


async def opened(server: ApiServer | ControlPlane, folder: Path, observe: door.Observe | None = None) -> door.Cluster:
    """The router's door to it."""
    token = folder / "router-token"
    token.write_text(server.admin_token)
    access = Access(server.url, kube_token_file=str(token), kube_ca_file=str(server.ca_file or ""))
    return await door.connect(access, field_manager="serinus-router", observe=observe)
