"""Kubernetes Events on the real API server: counted once with no right to read them, and in the story's order."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox import installed
from sandbox.controlplane.api import Api
from sandbox.controlplane.server import ControlPlane
from shared.errors import RetryLater
from shared.kube import door
from shared.kube.door import Cluster
from shared.kube.events import Events
from shared.runtime.settings import KubeSettings
from shared.wire.messages import CanaryRef, EventType, RolloutEvent
from tests.e2e.rights import RBAC, known

pytestmark = pytest.mark.cluster

RULES = [{"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}]
MANIFEST = """
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: podinfo}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: podinfo}
  service: {port: 80}
  analysis: {interval: 10s, threshold: 5, maxWeight: 50, stepWeight: 10}
"""


@pytest.fixture
async def cluster(control_plane: ControlPlane, admin: Api, namespace: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The door with a notifier's rights, and not one more."""
    await admin.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "notifier"}})
    await admin.create(f"{RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "notifier"}, "rules": RULES})
    await admin.create(
        f"{RBAC}/namespaces/{namespace}/rolebindings",
        {
            "metadata": {"name": "notifier"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "notifier"},
            "subjects": [{"kind": "ServiceAccount", "name": "notifier", "namespace": namespace}],
        },
    )
    await known(admin, namespace)
    token = tmp_path / "token"
    token.write_text(await control_plane.service_account_token(namespace, "notifier"))
    settings = KubeSettings(
        kube_url=control_plane.url, kube_token_file=str(token), kube_ca_file=str(control_plane.ca_file)
    )
    found = await door.connect(settings, field_manager="serinus-notifier")
    yield found
    await found.close()


@pytest.fixture
async def canary(control_plane: ControlPlane, admin: Api, namespace: str) -> CanaryRef:
    await control_plane.kubectl("apply", "--server-side", "-k", "k8s/crds")
    await installed.established(control_plane)
    await control_plane.kubectl("apply", "-n", namespace, "-f", "-", stdin=MANIFEST)
    made = await admin.get(f"/apis/flagger.app/v1beta1/namespaces/{namespace}/canaries/podinfo")
    return CanaryRef(namespace=namespace, name="podinfo", uid=made["metadata"]["uid"])


def event(canary: CanaryRef, seq: int, kind: EventType, message: str, at: datetime) -> RolloutEvent:
    return RolloutEvent(
        canary=canary, seq=seq, at=at, type=kind, event_type="Normal", message=message, phase="Progressing"
    )


async def test_repeats_raise_the_count_once_each(cluster: Cluster, canary: CanaryRef, admin: Api) -> None:
    now = datetime.now(UTC)
    told = [event(canary, seq, EventType.HALTED, "Halt advancement", now) for seq in range(1, 21)]
    replicas = [Events(cluster), Events(cluster)]
    for _ in range(2):
        async with asyncio.TaskGroup() as group:
            for position, each in enumerate(told):
                group.create_task(_told(replicas[position % 2], each))
    (found,) = (await admin.get(f"/api/v1/namespaces/{canary.namespace}/events"))["items"]
    assert found["count"] == 20
    assert found["metadata"]["annotations"]["serinus.dev/seq"] == ",".join(map(str, range(1, 21)))
    assert found["involvedObject"]["uid"] == canary.uid
    assert (found["source"], found["reportingComponent"]) == ({"component": "flagger"}, "flagger")
    managers = {each["manager"] for each in found["metadata"]["managedFields"]}
    assert managers == {"serinus-notifier"}


async def _told(events: Events, each: RolloutEvent) -> None:
    """As the bus does: what lost too many races comes again."""
    while True:
        try:
            return await events.tell(each)
        except RetryLater as error:
            await asyncio.sleep(error.delay)


async def test_describe_tells_the_story_in_order(
    cluster: Cluster, canary: CanaryRef, control_plane: ControlPlane
) -> None:
    begin = datetime.now(UTC) - timedelta(seconds=90)
    story = [
        (0, EventType.HOOK, "all the metrics providers are available!"),
        (0, EventType.INITIALIZED, "Initialization done! podinfo.test"),
        (5, EventType.REVISION, "New revision detected! Scaling up podinfo.test"),
        (5, EventType.PENDING, "canary deployment podinfo.test not ready: waiting for rollout to finish"),
        (5, EventType.STARTED, "Starting canary analysis for podinfo.test"),
        (5, EventType.HOOK, "Pre-rollout check smoke passed"),
        (5, EventType.ADVANCED, "Advance podinfo.test canary weight 10"),
        *(
            (5 + weight, EventType.ADVANCED, f"Advance podinfo.test canary weight {weight}")
            for weight in (20, 30, 40, 50)
        ),
        (56, EventType.COPYING, "Copying podinfo.test template spec to podinfo-primary.test"),
        (56, EventType.ROUTED, "Routing all traffic to primary"),
        (56, EventType.HOOK, "Post-rollout check load passed"),
        (56, EventType.PROMOTED, "Promotion completed! Scaling down podinfo.test"),
    ]
    told = [
        event(canary, seq, kind, text, begin + timedelta(seconds=after))
        for seq, (after, kind, text) in enumerate(story, start=1)
    ]
    for each in reversed(told):
        await Events(cluster).tell(each)
    described = await control_plane.kubectl("describe", "canary/podinfo", "-n", canary.namespace)
    lines = [line for line in described.partition("Events:")[2].splitlines() if "Synced" in line]
    assert [next(text for _, _, text in story if text in line) for line in lines] == [text for _, _, text in story]
    assert all(line.split()[:2] == ["Normal", "Synced"] and "flagger" in line for line in lines)


async def test_in_a_namespace_that_is_being_deleted_nobody_listens(
    cluster: Cluster, canary: CanaryRef, admin: Api, control_plane: ControlPlane
) -> None:
    holder = {"metadata": {"name": "holder", "finalizers": ["serinus.dev/test"]}}
    path = f"/api/v1/namespaces/{canary.namespace}"
    await admin.create(f"{path}/configmaps", holder)
    await admin.delete(path)
    about = event(canary, 1, EventType.TERMINATED, "Terminated canary podinfo.test", datetime.now(UTC))
    await admin.until(path, lambda found: found["status"]["phase"] == "Terminating")
    await Events(cluster).tell(about)
    await admin.patch(f"{path}/configmaps/holder", {"metadata": {"finalizers": None}})
    found = await admin.get("/api/v1/events", fieldSelector=f"involvedObject.namespace={canary.namespace}")
    assert "Terminated canary podinfo.test" not in [each["message"] for each in found["items"]]
