"""Workloads, services, autoscalers and config copies, against §3 and §5 of the behaviour sheet."""

import copy

from shared.kube.json import Json
from tests.story.theatre import Theatre, guide, initialized


def with_spec(**changes: object) -> Json:
    canary = guide("canary")
    canary["spec"].update(changes)
    return canary


async def promoted(theatre: Theatre) -> None:
    await theatre.settle()
    while theatre.canary["status"]["phase"] == "Progressing":
        await theatre.tick()
        await theatre.settle()
    await theatre.tick()
    await theatre.settle()


async def test_primary_of_the_guide() -> None:
    theatre = await initialized()
    primary = theatre.cluster.of("Deployment", "podinfo-primary")
    source = guide("deployment")
    assert primary["metadata"]["ownerReferences"][0] == {
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "podinfo", "uid": "uid-Canary-podinfo",
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    assert primary["spec"]["selector"] == {"matchLabels": {"app": "podinfo-primary"}}
    assert primary["spec"]["replicas"] == 1
    for key in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds", "strategy"):
        assert primary["spec"][key] == source["spec"][key]
    template = primary["spec"]["template"]
    assert template["spec"] == source["spec"]["template"]["spec"]
    assert "flagger-id" in template["metadata"]["annotations"]


async def test_services_of_the_guide() -> None:
    theatre = await initialized()
    for name, app in (
        ("podinfo", "podinfo-primary"),
        ("podinfo-primary", "podinfo-primary"),
        ("podinfo-canary", "podinfo"),
    ):
        service = theatre.cluster.of("Service", name)
        assert service["spec"]["selector"] == {"app": app}
        assert service["spec"]["ports"] == [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 9898}]
        assert service["metadata"]["annotations"]["kustomize.toolkit.fluxcd.io/reconcile"] == "disabled"


async def test_an_existing_apex_service_is_taken_over_in_place() -> None:
    apex = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo", "namespace": "test", "labels": {"mine": "yes"}},
        "spec": {
            "type": "NodePort", "selector": {"app": "podinfo"}, "clusterIP": "10.96.0.9",
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 9898, "nodePort": 30080}],
        },
    }  # fmt: skip
    theatre = await initialized(extra=[apex])
    service = theatre.cluster.of("Service", "podinfo")
    assert service["spec"] == {**apex["spec"], "selector": {"app": "podinfo-primary"}}  # type: ignore[dict-item]
    assert service["metadata"]["labels"] == {"mine": "yes"}


async def test_port_discovery() -> None:
    canary = guide("canary")
    canary["spec"]["service"]["portDiscovery"] = True
    theatre = await initialized(canary)
    ports = theatre.cluster.of("Service", "podinfo-canary")["spec"]["ports"]
    assert [(port["name"], port["port"]) for port in ports] == [("http", 80), ("http-metrics", 9797), ("grpc", 9999)]


async def test_autoscaler_and_its_limits() -> None:
    reference = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo",
        "primaryScalerReplicas": {"minReplicas": 3, "maxReplicas": 9},
    }  # fmt: skip
    theatre = await initialized(with_spec(autoscalerRef=reference), [guide("hpa")])
    scaler = theatre.cluster.of("HorizontalPodAutoscaler", "podinfo-primary")
    assert scaler["spec"]["scaleTargetRef"]["name"] == "podinfo-primary"
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 9)
    theatre.cluster.edit("Deployment", "podinfo-primary", {"spec": {"replicas": 5}})
    theatre.release()
    theatre.cluster.edit("Deployment", "podinfo", {"spec": {"replicas": 2}})
    await promoted(theatre)
    assert theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["replicas"] == 5, "the HPA owns the number"


async def test_the_primary_is_as_many_as_the_canary_before_it_takes_the_traffic_back() -> None:
    """Its autoscaler has seen half of the traffic at the most."""
    reference = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}
    theatre = await initialized(with_spec(autoscalerRef=reference), [guide("hpa")])
    theatre.release()
    await theatre.fact()
    theatre.cluster.edit("Deployment", "podinfo", {"spec": {"replicas": 7}})
    await promoted(theatre)
    assert theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["replicas"] == 7


async def test_an_autoscaler_without_reference_is_told_once() -> None:
    """The guide's own manifests."""
    theatre = await initialized(extra=[guide("hpa")])
    told = [text for text in theatre.messages() if "autoscalerRef" in text]
    assert len(told) == 1
    assert "HorizontalPodAutoscaler podinfo.test scales podinfo.test" in told[0]
    assert ("HorizontalPodAutoscaler", "test", "podinfo-primary") not in theatre.cluster.objects


def configured(data: dict[str, str]) -> tuple[Json, Json]:
    config = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "test"}, "data": data,
        "binaryData": {"logo": "AAEC"},
    }  # fmt: skip
    deployment = guide("deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"] = [{"configMapRef": {"name": "settings"}}]
    return config, deployment


async def test_tracked_configs_are_copied_whole_and_start_a_rollout() -> None:
    """§4.3, W-G14."""
    theatre = await initialized(extra=configured({"color": "blue"}))
    copied = theatre.cluster.of("ConfigMap", "settings-primary")
    assert (copied["data"], copied["binaryData"]) == ({"color": "blue"}, {"logo": "AAEC"})
    template = theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["template"]
    assert template["spec"]["containers"][0]["envFrom"] == [{"configMapRef": {"name": "settings-primary"}}]
    assert theatre.canary["status"]["trackedConfigs"] == {"configmap/settings": "f234cb93c08ad64e"}
    theatre.cluster.put(configured({"color": "red"})[0])
    await theatre.fact()
    assert theatre.canary["status"]["phase"] == "Progressing"
    assert theatre.cluster.of("ConfigMap", "settings-primary")["data"] == {"color": "blue"}
    await promoted(theatre)
    assert theatre.cluster.of("ConfigMap", "settings-primary")["data"] == {"color": "red"}
    assert theatre.canary["status"]["phase"] == "Succeeded"


async def test_a_missing_required_config_is_named() -> None:
    theatre = Theatre(extra=[configured({})[1]])
    await theatre.fact()
    assert theatre.messages() == [
        'configmap settings.test get query error: configmaps "settings" not found',
    ]


async def test_an_idle_target_that_is_scaled_up_goes_back_to_zero() -> None:
    """W-G31."""
    theatre = await initialized()
    theatre.cluster.edit("Deployment", "podinfo", {"spec": {"replicas": 3}})
    await theatre.fact()
    assert theatre.cluster.of("Deployment", "podinfo")["spec"]["replicas"] == 0


async def test_affinity_about_oneself_becomes_about_the_primary() -> None:
    deployment = guide("deployment")
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["podinfo"]}]}
    deployment["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": copy.deepcopy(selector)}],
    }}  # fmt: skip
    theatre = await initialized(extra=[deployment])
    pod = theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["template"]["spec"]
    terms = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert terms[0]["labelSelector"]["matchExpressions"][0]["values"] == ["podinfo-primary"]


async def test_other_peoples_canaries_stay_untouched() -> None:
    theatre = Theatre(with_spec(provider="istio"))
    await theatre.fact()
    assert theatre.cluster.writes == []


async def test_refused_canaries_are_told_and_nothing_is_touched() -> None:
    canary = guide("canary")
    canary["spec"]["analysis"]["match"] = [{"sourceLabels": {"app": "x"}}]
    theatre = Theatre(canary)
    await theatre.fact()
    assert [write[1] for write in theatre.cluster.writes] == ["Canary"]
    condition = theatre.canary["status"]["conditions"][0]
    assert (condition["type"], condition["status"]) == ("Supported", "False")
    assert "spec.analysis.match" in condition["message"]


async def test_a_fractional_threshold_is_named() -> None:
    """W-G32: admitted by the schema, wrong, and nobody else's problem."""
    canary = guide("canary")
    canary["spec"]["analysis"]["threshold"] = 10.5
    theatre = Theatre(canary)
    await theatre.fact()
    assert "spec.analysis.threshold" in theatre.messages()[0]


async def test_two_canaries_on_one_target() -> None:
    rival = with_spec()
    rival["metadata"] = {"name": "a-first", "namespace": "test", "creationTimestamp": "2025-01-01T00:00:00Z"}
    theatre = Theatre(extra=[rival])
    await theatre.fact()
    assert theatre.messages() == [
        "spec.targetRef.name podinfo belongs to canary a-first.test already: delete one of them"
    ]
