"""What the router's stories believe of a cluster, asked of the fake they play on and of servers behind the real door.

Whoever changes `tests.fakes.cluster` runs this; a story that passes on the fake may then be believed.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.router.ports import Writes
from shared.errors import Conflict
from shared.kube import json, kinds
from shared.kube.errors import AlreadyExists, Gone
from shared.kube.json import Json
from shared.kube.kinds import Kind
from tests.fakes.cluster import FakeCluster
from tests.story.servers import embedded, install, opened, real
from tests.story.theatre import guide


@dataclass(frozen=True, slots=True)
class Backend:
    """A cluster as the router writes to it."""

    cluster: Writes

    async def given(self, kind: Kind, **changes: Any) -> Json:
        """The guide's object of this kind, with a manifest's parts replaced."""
        name = {"Canary": "canary", "Deployment": "deployment"}.get(kind.kind)
        plain: Json = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "podinfo"}}
        obj = guide(name) if name else plain
        obj["metadata"]["namespace"] = "default"
        return await self.cluster.create(kind, {**obj, **changes})

    async def patch(self, kind: Kind, patch: Json, subresource: str = "") -> Json:
        return await self.cluster.patch(kind, "default", "podinfo", patch, subresource=subresource)

    async def get(self, kind: Kind) -> Json | None:
        return await self.cluster.get(kind, "default", "podinfo")


@pytest.fixture(params=["fake", "embedded", pytest.param("real", marks=pytest.mark.cluster)])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    if request.param == "fake":
        yield Backend(FakeCluster())
        return
    start = embedded if request.param == "embedded" else real
    async with start(tmp_path / "server") as server:
        async with server.api() as api:
            await install(api)
            await api.until("/api/v1/namespaces/default", lambda _: True)
        access = await opened(server, tmp_path)
        yield Backend(access)
        await access.close()


async def test_identity_and_races(backend: Backend) -> None:
    """One cluster for several questions: a real one takes seconds to come up."""
    assert await backend.get(kinds.CONFIG_MAP) is None
    made = await backend.given(kinds.CONFIG_MAP, data={"color": "red"})
    assert json.uid(made)
    assert await backend.get(kinds.CONFIG_MAP) == made
    with pytest.raises(AlreadyExists):
        await backend.given(kinds.CONFIG_MAP)
    newer = await backend.patch(kinds.CONFIG_MAP, {"data": {"color": "blue"}})
    assert json.order(json.version(newer)) > json.order(json.version(made))
    with pytest.raises(Conflict):
        await backend.patch(kinds.CONFIG_MAP, {"metadata": {"resourceVersion": json.version(made)}, "data": {"a": "b"}})
    same = await backend.patch(kinds.CONFIG_MAP, {"data": {"color": "blue"}})
    assert json.version(same) == json.version(newer), "what changes nothing is no new version"
    await backend.cluster.delete(kinds.CONFIG_MAP, "default", "podinfo", uid="another")
    assert await backend.get(kinds.CONFIG_MAP) is not None
    await backend.cluster.delete(kinds.CONFIG_MAP, "default", "podinfo", uid=json.uid(made))
    await backend.cluster.delete(kinds.CONFIG_MAP, "default", "podinfo", uid=json.uid(made))
    assert await backend.get(kinds.CONFIG_MAP) is None
    with pytest.raises(Gone):
        await backend.patch(kinds.CONFIG_MAP, {"data": {"color": "red"}})
    again = await backend.given(kinds.CONFIG_MAP)
    assert json.uid(again) != json.uid(made)


async def test_merge_patches_status_and_generations(backend: Backend) -> None:
    made = await backend.given(kinds.CANARY, status={"phase": "Succeeded"})
    assert "status" not in made, "a status isn't taken at creation"
    first = json.number(made, "metadata", "generation")

    analysis = {"metrics": [{"name": "request-duration", "thresholdRange": {"max": 1}}], "maxWeight": None}
    edited = await backend.patch(kinds.CANARY, {"spec": {"analysis": analysis}, "status": {"phase": "Failed"}})
    assert "status" not in edited, "nor through the main door"
    assert json.number(edited, "metadata", "generation") == first + 1
    assert len(edited["spec"]["analysis"]["metrics"]) == 1, "lists are replaced"
    assert "maxWeight" not in edited["spec"]["analysis"], "null removes"
    assert edited["spec"]["analysis"]["stepWeight"] == 10, "neighbours stay"

    labelled = await backend.patch(kinds.CANARY, {"metadata": {"labels": {"team": "a"}}})
    assert json.number(labelled, "metadata", "generation") == first + 1, "metadata is no new generation"

    status = {"phase": "Initializing", "serinus": {"transition": 1}}
    patch = {"metadata": {"labels": {"team": "b"}}, "spec": {"provider": "istio"}, "status": status}
    stored = await backend.patch(kinds.CANARY, patch, "status")
    assert (stored["status"]["phase"], stored["status"]["serinus"]["transition"]) == ("Initializing", 1)
    assert stored["spec"] == edited["spec"], "through its door goes the status alone"
    assert json.number(stored, "metadata", "generation") == first + 1
    stale = {"metadata": {"resourceVersion": json.version(made)}, "status": {"phase": "Failed"}}
    with pytest.raises(Conflict):
        await backend.patch(kinds.CANARY, stale, "status")
    writers = {
        json.text(each, "manager") for each in stored["metadata"]["managedFields"]
        if json.text(each, "subresource") == "status"
    }  # fmt: skip
    assert writers == {"serinus-router"}


async def test_finalizers_keep_an_object_until_the_last_one_goes(backend: Backend) -> None:
    made = await backend.given(kinds.CANARY)
    await backend.patch(kinds.CANARY, {"metadata": {"finalizers": ["finalizer.flagger.app"]}})
    await backend.cluster.delete(kinds.CANARY, "default", "podinfo", uid=json.uid(made))
    leaving = await backend.get(kinds.CANARY)
    assert leaving is not None
    assert json.text(leaving, "metadata", "deletionTimestamp")
    await backend.patch(kinds.CANARY, {"metadata": {"finalizers": []}})
    assert await backend.get(kinds.CANARY) is None


async def test_scaling_is_a_new_generation_of_a_deployment(backend: Backend) -> None:
    made = await backend.given(kinds.DEPLOYMENT)
    scaled = await backend.patch(kinds.DEPLOYMENT, {"spec": {"replicas": 3}})
    assert json.number(scaled, "metadata", "generation") == json.number(made, "metadata", "generation") + 1
    assert scaled["spec"]["replicas"] == 3
