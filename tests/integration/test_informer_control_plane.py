"""The door and the informer against a real control plane: what the double of the unit tests can only claim."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from sandbox.controlplane.binaries import BinariesMissing, locate
from sandbox.controlplane.server import ControlPlane
from services.watcher import memory
from shared.canary import ownership
from shared.errors import Conflict
from shared.kube import door, errors, informer, json, kinds
from shared.kube.informer import Informer
from shared.kube.json import Json
from shared.kube.pace import Pace
from tests.unit.kube.conftest import Access

# One loop for all: connections take their leave after the test that closed them.
pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

PACE = Pace(first=0.05, most=0.5)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """One for all tests, each with names of its own."""
    try:
        found = locate()
    except BinariesMissing as missing:
        pytest.fail(str(missing))
    async with ControlPlane(tmp_path_factory.mktemp("control-plane"), binaries=found) as started:
        yield started


async def connect(plane: ControlPlane, manager: str) -> door.Cluster:
    token = plane.data / "door-token"
    token.write_text(plane.admin_token + "\n")
    access = Access(plane.url, kube_token_file=str(token), kube_ca_file=str(plane.ca_file))
    return await door.connect(access, field_manager=manager)


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(plane: ControlPlane) -> AsyncIterator[door.Cluster]:
    opened = await connect(plane, "serinus-router")
    yield opened
    await opened.close()


def deployment(name: str) -> Json:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    }


async def eventually(condition: Callable[[], bool], timeout: float = 60.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.01)


class Followed:
    """A running informer and its story."""

    def __init__(self, cluster: door.Cluster, kind: kinds.Kind, **options: object) -> None:
        self.versions: list[str] = []
        self.restarts: list[str] = []
        self.informer = Informer(
            cluster,
            kind,
            on_change=self._told,
            observe=lambda kind, why: self.restarts.append(why),
            pace=PACE,
            **options,  # type: ignore[arg-type]
        )
        self._task = asyncio.create_task(self.informer.run())

    def _told(self, old: Json | None, new: Json | None) -> None:
        self.versions.append(f"{json.uid(new or old)}@{json.version(new or old)}")

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_a_life_with_a_restart_in_it(plane: ControlPlane, cluster: door.Cluster) -> None:
    """Writes come back through the watch; a killed API server loses and doubles nothing."""
    followed = Followed(cluster, kinds.DEPLOYMENT)
    await followed.informer.wait_synced()
    made = await cluster.create(kinds.DEPLOYMENT, deployment("a"))
    followed.informer.absorb(made)
    assert followed.informer.get("default", "a") is not None
    with pytest.raises(errors.AlreadyExists):
        await cluster.create(kinds.DEPLOYMENT, deployment("a"))
    with pytest.raises(Conflict):
        await cluster.patch(
            kinds.DEPLOYMENT, "default", "a", {"metadata": {"resourceVersion": "1"}, "spec": {"paused": True}}
        )
    with pytest.raises(errors.Refused, match=r"spec\.replicas"):
        await cluster.patch(kinds.DEPLOYMENT, "default", "a", {"spec": {"replicas": "three"}})
    with pytest.raises(errors.Gone):
        await cluster.patch(kinds.DEPLOYMENT, "default", "none", {"spec": {"replicas": 1}})

    await plane.restart_apiserver()
    await eventually(followed.informer.healthy)
    patched = await cluster.patch(kinds.DEPLOYMENT, "default", "a", {"metadata": {"labels": {"seen": "yes"}}})
    found = await followed.informer.at_least("default", "a", json.version(patched), 60.0)
    assert json.text(found, "metadata", "labels", "seen") == "yes"
    await cluster.delete(kinds.DEPLOYMENT, "default", "a", uid="00000000-0000-0000-0000-000000000000")
    assert await cluster.get(kinds.DEPLOYMENT, "default", "a") is not None
    await cluster.delete(kinds.DEPLOYMENT, "default", "a", uid=json.uid(made))
    await eventually(lambda: followed.informer.get("default", "a") is None)
    assert len(followed.versions) == len(set(followed.versions))
    assert followed.informer.healthy()
    await followed.stop()


async def test_secrets_are_seen_without_their_content(plane: ControlPlane, cluster: door.Cluster) -> None:
    keep = memory.follow(config_tracking=True)[kinds.SECRET].keep
    followed = Followed(cluster, kinds.SECRET, metadata_only=True, keep=keep)
    await followed.informer.wait_synced()
    body: Json = {
        "metadata": {
            "namespace": "default",
            "name": "keys",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"a":"aHVudGVyMg=="}}'},
        },
        "data": {"a": "aHVudGVyMg=="},
    }
    made = await cluster.create(kinds.SECRET, body)
    await eventually(lambda: followed.informer.get("default", "keys") is not None)
    assert "aHVudGVyMg" not in str(list(followed.informer.all()))
    before = json.version(followed.informer.get("default", "keys"))
    assert before == json.version(made)
    await cluster.patch(kinds.SECRET, "default", "keys", {"data": {"a": "Yg=="}})
    await eventually(lambda: json.version(followed.informer.get("default", "keys")) != before)
    await followed.stop()


async def test_managed_fields_tell_who_wrote_the_status(plane: ControlPlane, cluster: door.Cluster) -> None:
    """By a kind that no controller touches, with a status that anybody may write."""
    foreigner = await connect(plane, "flagger")
    kind = kinds.Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims")
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "none",
    }
    made = await cluster.create(kind, {"metadata": {"namespace": "default", "name": "c"}, "spec": claim})

    async def write(by: door.Cluster, phase: str) -> Json:
        return informer.slim_managed_fields(
            await by.patch(kind, "default", "c", {"status": {"phase": phase}}, subresource="status")
        )

    before = informer.slim_managed_fields(made)
    first = await write(cluster, "Pending")
    second = await write(cluster, "Bound")
    assert not ownership.foreign_status_write(before, second)
    third = await write(foreigner, "Lost")
    assert ownership.foreign_status_write(second, third)
    await asyncio.sleep(1.1)
    fourth = await write(cluster, "Bound")
    assert not ownership.foreign_status_write(third, fourth)
    assert "fieldsV1" not in str([first, second, third, fourth])
    await foreigner.close()


async def test_a_version_that_the_server_no_longer_has(plane: ControlPlane, cluster: door.Cluster) -> None:
    """And one that it will only have in the future: both end in one list."""
    await cluster.create(kinds.DEPLOYMENT, deployment("older"))
    followed = Followed(cluster, kinds.DEPLOYMENT)
    await followed.informer.wait_synced()
    told = len(followed.versions)
    followed.informer._resume = "1"
    await plane.restart_apiserver()
    await eventually(lambda: followed.informer.healthy() and followed.informer._resume not in ("", "1"))
    await cluster.create(kinds.DEPLOYMENT, deployment("newer"))
    await eventually(lambda: followed.informer.get("default", "newer") is not None)
    assert len(followed.versions) == len(set(followed.versions))
    assert len(followed.versions) >= told + 1
    await followed.stop()


async def test_a_missing_kind_and_its_arrival(plane: ControlPlane, cluster: door.Cluster) -> None:
    followed = Followed(cluster, kinds.APISIX_ROUTE)
    await eventually(lambda: "gone" in followed.restarts)
    assert not followed.informer.healthy()
    crd: Json = {
        "metadata": {"name": "apisixroutes.apisix.apache.org"},
        "spec": {
            "group": "apisix.apache.org",
            "names": {"kind": "ApisixRoute", "plural": "apisixroutes", "singular": "apisixroute"},
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v2",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    await cluster.create(kinds.CRD, crd)
    await eventually(followed.informer.healthy)
    body = {
        "apiVersion": "apisix.apache.org/v2",
        "kind": "ApisixRoute",
        "metadata": {"namespace": "default", "name": "r"},
    }
    await cluster.create(kinds.APISIX_ROUTE, body)
    await eventually(lambda: followed.informer.get("default", "r") is not None)
    await cluster.delete(kinds.CRD, "", "apisixroutes.apisix.apache.org")
    await eventually(lambda: followed.informer.get("default", "r") is None)
    await eventually(lambda: not followed.informer.healthy())
    await followed.stop()
