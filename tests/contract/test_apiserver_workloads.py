"""What a cluster does by itself with Deployments and Services, on nodes that the fake kubelet plays."""

import asyncio
from collections.abc import Callable

import pytest

from sandbox.controlplane import pods
from sandbox.controlplane.api import Api, Json
from sandbox.controlplane.kubelet import FakeKubelet
from tests.contract.test_apiserver_conformance import deployments

pytestmark = pytest.mark.usefixtures("kubelet")


def deployment(replicas: int = 2, annotations: dict[str, str] | None = None, **spec: object) -> Json:
    labels = {"app": "one"}
    ports = [{"name": "http", "containerPort": 8080}]
    template = {
        "metadata": {"labels": labels, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "app", "image": "app:1", "ports": ports}]},
    }
    return {
        "metadata": {"name": "one"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def below(namespace: str, plural: str) -> str:
    roots = {"pods": "/api/v1", "replicasets": "/apis/apps/v1", "endpointslices": "/apis/discovery.k8s.io/v1"}
    return f"{roots[plural]}/namespaces/{namespace}/{plural}"


def image(name: str, **annotations: str) -> Json:
    """A patch to another template."""
    container = {"name": "app", "image": name, "ports": [{"name": "http", "containerPort": 8080}]}
    changed = {key.replace("_", "-"): value for key, value in annotations.items()}
    return {"spec": {"template": {"metadata": {"annotations": changed}, "spec": {"containers": [container]}}}}


def condition(found: Json, kind: str) -> tuple[str, str]:
    listed = found.get("status", {}).get("conditions") or []
    return next(((each["status"], each["reason"]) for each in listed if each["type"] == kind), ("", ""))


def complete(replicas: int) -> Callable[[Json], bool]:
    """As `kubectl rollout status` decides it, and at the size that is meant."""

    def done(found: Json) -> bool:
        status = found.get("status", {})
        counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
        current = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        return current and counts == [replicas] * 3 and condition(found, "Progressing")[1] == "NewReplicaSetAvailable"

    return done


async def rolled_out(api: Api, namespace: str, replicas: int) -> Json:
    return await api.until(deployments(namespace, "one"), complete(replicas))


async def test_a_deployment_becomes_available(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment())

    found = await rolled_out(api, namespace, 2)

    assert found["metadata"]["generation"] == found["status"]["observedGeneration"] == 1
    assert found["status"]["readyReplicas"] == 2
    assert "unavailableReplicas" not in found["status"]
    assert condition(found, "Available") == ("True", "MinimumReplicasAvailable")
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"


async def test_pods_belong_to_a_replica_set_and_that_to_its_deployment(api: Api, namespace: str) -> None:
    made = await api.create(deployments(namespace), deployment(1, {"note": "kept"}))
    await rolled_out(api, namespace, 1)

    [replica_set] = (await api.get(below(namespace, "replicasets")))["items"]
    [pod] = (await api.get(below(namespace, "pods")))["items"]

    word = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"one-{word}"
    assert replica_set["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "one", "pod-template-hash": word}
    assert pod["metadata"]["ownerReferences"][0]["uid"] == replica_set["metadata"]["uid"]
    assert pod["metadata"]["ownerReferences"][0]["controller"] is True
    assert pod["metadata"]["labels"] == {"app": "one", "pod-template-hash": word}
    assert pod["metadata"]["annotations"] == {"note": "kept"}
    assert pod["spec"]["nodeName"] == "n1"


async def test_a_rolling_update_keeps_enough_pods_available_and_ends(api: Api, namespace: str) -> None:
    rolling = {"maxSurge": 1, "maxUnavailable": 1}
    await api.create(deployments(namespace), deployment(4, strategy={"rollingUpdate": rolling}))
    before = await rolled_out(api, namespace, 4)
    seen: list[Json] = []

    async def follow() -> None:
        query = {"fieldSelector": "metadata.name=one"}
        async for event in api.watch(deployments(namespace), before["metadata"]["resourceVersion"], **query):
            if event["type"] != "BOOKMARK":
                seen.append(event["object"])
                if complete(4)(seen[-1]) and seen[-1]["metadata"]["generation"] > before["metadata"]["generation"]:
                    return

    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        group.create_task(follow())
        await api.patch(deployments(namespace, "one"), image("app:2"))

    counts = [each["status"] for each in seen]
    assert min(each.get("availableReplicas", 0) for each in counts) >= 3
    assert {condition(each, "Available")[0] for each in seen} == {"True"}
    assert any(each.get("updatedReplicas", 0) < 4 for each in counts)
    found = await rolled_out(api, namespace, 4)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    sets = (await api.get(below(namespace, "replicasets")))["items"]
    assert sorted(each["spec"]["replicas"] for each in sets) == [0, 4]
    left = await api.until(below(namespace, "pods"), lambda pods: len(pods["items"]) == 4)
    assert {each["spec"]["containers"][0]["image"] for each in left["items"]} == {"app:2"}


def given_up(found: Json) -> bool:
    """Late, with the new pod counted: a slow machine may be late first."""
    counts = [found["status"].get(name) for name in ("updatedReplicas", "availableReplicas", "unavailableReplicas")]
    return condition(found, "Progressing")[0] == "False" and counts == [1, 2, 1]


async def test_an_update_that_never_gets_ready_leaves_the_old_pods(api: Api, namespace: str) -> None:
    body = deployment(2, progressDeadlineSeconds=2, strategy={"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    await api.create(deployments(namespace), body)
    await rolled_out(api, namespace, 2)

    patch = image("app:2")
    patch["spec"]["template"]["metadata"]["annotations"] = {pods.NEVER_READY: "true"}
    await api.patch(deployments(namespace, "one"), patch)
    stuck = await api.until(deployments(namespace, "one"), given_up)
    patch["spec"]["template"]["metadata"]["annotations"] = {pods.NEVER_READY: None}
    await api.patch(deployments(namespace, "one"), patch)

    assert condition(stuck, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert condition(stuck, "Available") == ("True", "MinimumReplicasAvailable")
    assert stuck["status"]["updatedReplicas"] == 1
    assert stuck["status"]["availableReplicas"] == 2
    assert stuck["status"]["unavailableReplicas"] == 1
    assert condition(await rolled_out(api, namespace, 2), "Progressing") == ("True", "NewReplicaSetAvailable")


async def test_available_means_ready_for_a_while(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(1, minReadySeconds=300))

    ready = await api.until(
        deployments(namespace, "one"), lambda found: found.get("status", {}).get("readyReplicas") == 1
    )
    await api.patch(deployments(namespace, "one"), {"spec": {"minReadySeconds": 3}})
    found = await rolled_out(api, namespace, 1)

    assert ready["status"].get("availableReplicas", 0) == 0
    assert condition(ready, "Available")[0] == "False"
    assert found["status"]["availableReplicas"] == 1


@pytest.mark.parametrize("replicas", [0, 1, 5])
async def test_a_deployment_follows_its_size(api: Api, namespace: str, replicas: int) -> None:
    await api.create(deployments(namespace), deployment(2))
    await rolled_out(api, namespace, 2)

    await api.patch(deployments(namespace, "one"), {"spec": {"replicas": replicas}})

    await rolled_out(api, namespace, replicas)
    await api.until(below(namespace, "pods"), lambda found: len(found["items"]) == replicas)
    assert len((await api.get(below(namespace, "replicasets")))["items"]) == 1


async def test_the_scale_subresource_reads_and_writes_the_size(api: Api, namespace: str) -> None:
    path = deployments(namespace, "one")
    await api.create(deployments(namespace), deployment(2))
    await rolled_out(api, namespace, 2)

    before = await api.get(f"{path}/scale")
    await api.patch(f"{path}/scale", {"spec": {"replicas": 3}})

    assert before["kind"] == "Scale"
    assert (before["spec"]["replicas"], before["status"]["replicas"]) == (2, 2)
    assert before["status"]["selector"] == "app=one"
    assert (await api.get(path))["spec"]["replicas"] == 3
    await rolled_out(api, namespace, 3)


async def test_everything_is_replaced_at_once_if_wanted(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(2, strategy={"type": "Recreate"}))
    await rolled_out(api, namespace, 2)

    await api.patch(deployments(namespace, "one"), image("app:2"))

    await rolled_out(api, namespace, 2)
    left = await api.until(below(namespace, "pods"), lambda found: len(found["items"]) == 2)
    assert {each["spec"]["containers"][0]["image"] for each in left["items"]} == {"app:2"}


async def test_a_template_of_the_past_takes_up_its_replica_set(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(1))
    await rolled_out(api, namespace, 1)
    [first] = (await api.get(below(namespace, "replicasets")))["items"]
    await api.patch(deployments(namespace, "one"), image("app:2"))
    await api.until(
        below(namespace, "replicasets"),
        lambda found: (
            [each["spec"]["replicas"] for each in found["items"] if each["metadata"]["uid"] == uid(first)] == [0]
        ),
    )

    await api.patch(deployments(namespace, "one"), image("app:1"))

    await api.until(
        below(namespace, "replicasets"),
        lambda found: (
            [each["spec"]["replicas"] for each in found["items"] if each["metadata"]["uid"] == uid(first)] == [1]
        ),
    )
    found = await rolled_out(api, namespace, 1)
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert len((await api.get(below(namespace, "replicasets")))["items"]) == 2


def uid(obj: Json) -> str:
    return str(obj["metadata"]["uid"])


async def test_a_deleted_deployment_takes_its_pods_along(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(2))
    await rolled_out(api, namespace, 2)

    await api.delete(deployments(namespace, "one"), {"propagationPolicy": "Background"})

    for plural in ("pods", "replicasets"):
        await api.until(below(namespace, plural), lambda found: found["items"] == [])


async def test_a_deleted_pod_is_replaced(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(1))
    await rolled_out(api, namespace, 1)
    [pod] = (await api.get(below(namespace, "pods")))["items"]

    await api.delete(f"{below(namespace, 'pods')}/{pod['metadata']['name']}")

    await api.until(
        below(namespace, "pods"), lambda found: [uid(each) for each in found["items"]] not in ([], [uid(pod)])
    )
    await rolled_out(api, namespace, 1)


async def test_slices_say_where_ready_pods_are(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(2))
    await service(api, namespace, {"port": 80, "targetPort": "http"})
    await rolled_out(api, namespace, 2)

    found = await api.until(below(namespace, "endpointslices"), lambda found: len(ready(found)) == 2)

    [piece] = found["items"]
    assert piece["metadata"]["labels"]["kubernetes.io/service-name"] == "one"
    assert piece["addressType"] == "IPv4"
    assert [(each["port"], each["protocol"]) for each in piece["ports"]] == [(8080, "TCP")]
    running = {each["status"]["podIP"]: each for each in (await api.get(below(namespace, "pods")))["items"]}
    assert set(ready(found)) == running.keys()
    endpoint = piece["endpoints"][0]
    assert endpoint["targetRef"]["uid"] == uid(running[endpoint["addresses"][0]])
    assert endpoint["nodeName"] == "n1"
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}


async def test_a_pod_that_is_not_ready_is_no_endpoint(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(1, {pods.NEVER_READY: "true"}))
    await service(api, namespace, {"port": 80, "targetPort": 8080})

    found = await api.until(below(namespace, "endpointslices"), lambda found: len(endpoints(found)) == 1)

    assert endpoints(found)[0]["conditions"]["ready"] is False


async def test_a_pod_that_ends_is_an_endpoint_no_longer(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(1, {pods.ENDS_AFTER: "30"}))
    await service(api, namespace, {"port": 80, "targetPort": 8080})
    await api.until(below(namespace, "endpointslices"), lambda found: len(ready(found)) == 1)

    await api.patch(deployments(namespace, "one"), {"spec": {"replicas": 0}})

    ending = await api.until(below(namespace, "endpointslices"), lambda found: not ready(found))
    assert endpoints(ending)[0]["conditions"] == {"ready": False, "serving": True, "terminating": True}
    [pod] = (await api.get(below(namespace, "pods")))["items"]
    # Now, as its kubelet would later: it takes its time so that it's seen on its way out.
    await api.delete(f"{below(namespace, 'pods')}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    await api.until(below(namespace, "endpointslices"), lambda found: not endpoints(found))


async def test_slices_go_with_their_service(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(1))
    await service(api, namespace, {"port": 80, "targetPort": 8080})
    await api.until(below(namespace, "endpointslices"), lambda found: len(ready(found)) == 1)

    await api.delete(f"/api/v1/namespaces/{namespace}/services/one")

    await api.until(below(namespace, "endpointslices"), lambda found: found["items"] == [])


async def test_a_service_follows_its_selector(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment(1))
    await service(api, namespace, {"port": 80, "targetPort": 8080})
    await api.until(below(namespace, "endpointslices"), lambda found: len(ready(found)) == 1)

    await api.patch(f"/api/v1/namespaces/{namespace}/services/one", {"spec": {"selector": {"app": "nobody"}}})

    found = await api.until(below(namespace, "endpointslices"), lambda found: not endpoints(found))
    assert len(found["items"]) == 1  # it stays, empty


async def service(api: Api, namespace: str, port: Json) -> None:
    body = {"metadata": {"name": "one"}, "spec": {"selector": {"app": "one"}, "ports": [port]}}
    await api.create(f"/api/v1/namespaces/{namespace}/services", body)


def endpoints(slices: Json) -> list[Json]:
    return [each for piece in slices["items"] for each in piece.get("endpoints") or []]


def ready(slices: Json) -> list[str]:
    return [each["addresses"][0] for each in endpoints(slices) if each["conditions"]["ready"]]


async def test_a_pod_is_bound_once(api: Api, namespace: str, kubelet: FakeKubelet) -> None:
    await api.create(deployments(namespace), deployment(1))
    await rolled_out(api, namespace, 1)

    [pod] = (await api.get(below(namespace, "pods")))["items"]
    binding = {"metadata": {"name": pod["metadata"]["name"]}, "target": {"kind": "Node", "name": "n2"}}
    with pytest.raises(Exception, match=r"409.*already assigned to node"):
        await api.create(f"{below(namespace, 'pods')}/{pod['metadata']['name']}/binding", binding)
