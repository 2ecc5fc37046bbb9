"""Which objects matter to a Canary, and which changes matter at all."""

from typing import Any

import pytest

from services.watcher import policy
from services.watcher.policy import Address
from shared.canary.configs import ConfigRef
from shared.kube import kinds
from shared.kube.kinds import Kind
from tests.unit.watcher.objects import canary, kept, obj


def test_everything_that_matters() -> None:
    tracked = (ConfigRef("ConfigMap", "settings"), ConfigRef("Secret", "keys"))
    assert policy.matters(canary(), tracked) == {
        Address("Canary", "test", "podinfo"),
        Address("Deployment", "test", "podinfo"), Address("Deployment", "test", "podinfo-primary"),
        Address("HorizontalPodAutoscaler", "test", "hpa"), Address("HorizontalPodAutoscaler", "test", "hpa-primary"),
        Address("Service", "test", "web"), Address("Service", "test", "web-primary"), Address("Service", "test", "web-canary"),
        Address("EndpointSlice", "test", "web-primary"), Address("EndpointSlice", "test", "web-canary"),
        Address("ApisixRoute", "test", "route"), Address("ApisixRoute", "test", "route-web-canary"),
        Address("ApisixUpstream", "test", "web"), Address("ApisixUpstream", "test", "web-primary"),
        Address("ApisixUpstream", "test", "web-canary"),
        Address("MetricTemplate", "test", "latency"), Address("MetricTemplate", "shared", "errors"),
        Address("AlertProvider", "alerts", "slack"),
        Address("ConfigMap", "test", "settings"), Address("ConfigMap", "test", "settings-primary"),
        Address("Secret", "test", "keys"), Address("Secret", "test", "keys-primary"),
    }  # fmt: skip


def test_a_sparse_canary_waits_for_no_nameless_objects() -> None:
    sparse = obj(kinds.CANARY, "c", spec={"targetRef": {"kind": "Deployment", "name": "c"}})
    assert all(address.name for address in policy.matters(sparse))
    assert not any(address.kind in ("ApisixRoute", "HorizontalPodAutoscaler") for address in policy.matters(sparse))


def test_an_autoscaler_speaks_for_what_it_scales() -> None:
    scaled = kept(kinds.AUTOSCALER, "any", spec={"scaleTargetRef": {"kind": "Deployment", "name": "podinfo"}})
    assert policy.addresses(scaled) == (
        Address("HorizontalPodAutoscaler", "test", "any"), Address("Deployment", "test", "podinfo"),
    )  # fmt: skip


def test_an_endpoint_slice_speaks_for_its_service() -> None:
    labels = {"kubernetes.io/service-name": "web-canary"}
    found = kept(kinds.ENDPOINT_SLICE, "web-canary-x7k2p", metadata={"labels": labels})
    assert policy.addresses(found) == (Address("EndpointSlice", "test", "web-canary"),)


def deployment(**fields: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"metadata": {"generation": 1}, "spec": {"replicas": 2}}
    return base | fields


PROGRESS = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}

CHANGES: list[tuple[Kind, dict[str, Any], dict[str, Any], bool, str]] = [
    (kinds.DEPLOYMENT, deployment(), deployment(), False, "nothing"),
    (kinds.DEPLOYMENT, deployment(), deployment(metadata={"generation": 2}), True, "generation"),
    (kinds.DEPLOYMENT, deployment(), deployment(metadata={"generation": 1, "annotations": {"a": "b"}}), False, "annotations"),
    (kinds.DEPLOYMENT, deployment(), deployment(metadata={"generation": 1, "deletionTimestamp": "x"}), True, "marked"),
    (kinds.DEPLOYMENT, deployment(), deployment(status={"observedGeneration": 1}), True, "observed"),
    (kinds.DEPLOYMENT, deployment(status={"readyReplicas": 1}), deployment(status={"readyReplicas": 2}), True, "ready"),
    (kinds.DEPLOYMENT, deployment(status={"conditions": [PROGRESS]}), deployment(status={"conditions": [PROGRESS | {"lastUpdateTime": "x"}]}), False, "a condition's time"),
    (kinds.DEPLOYMENT, deployment(status={"conditions": [PROGRESS]}), deployment(status={"conditions": [PROGRESS | {"reason": "ProgressDeadlineExceeded"}]}), True, "a condition's reason"),
    (kinds.SERVICE, {"spec": {"ports": [1]}}, {"spec": {"ports": [2]}}, True, "ports"),
    (kinds.SERVICE, {"spec": {}}, {"spec": {}, "status": {"loadBalancer": {}}}, False, "status"),
    (kinds.SERVICE, {"spec": {}}, {"spec": {}, "metadata": {"annotations": {"a": "b"}}}, True, "annotations"),
    (kinds.APISIX_ROUTE, {"spec": {"http": []}}, {"spec": {"http": [{}]}}, True, "rules"),
    (kinds.APISIX_ROUTE, {"spec": {}}, {"spec": {}, "status": {"conditions": []}}, False, "status"),
    (kinds.AUTOSCALER, {"spec": {"maxReplicas": 2}}, {"spec": {"maxReplicas": 3}}, True, "bounds"),
    (kinds.AUTOSCALER, {"spec": {}}, {"spec": {}, "status": {"currentReplicas": 2}}, False, "status"),
    (kinds.ENDPOINT_SLICE, {"endpoints": [{"addresses": ["1"]}, {"addresses": ["2"]}]}, {"endpoints": [{"addresses": ["2"]}, {"addresses": ["1"]}]}, False, "order"),
    (kinds.ENDPOINT_SLICE, {"endpoints": [{"addresses": ["1"], "conditions": {"ready": False}}]}, {"endpoints": [{"addresses": ["1"], "conditions": {"ready": True}}]}, True, "readiness"),
    (kinds.ENDPOINT_SLICE, {"endpoints": []}, {"endpoints": [], "metadata": {"annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "x"}}}, False, "trigger time"),
    (kinds.METRIC_TEMPLATE, {"spec": {"query": "a"}}, {"spec": {"query": "b"}}, True, "query"),
    (kinds.METRIC_TEMPLATE, {"spec": {"query": "a"}}, {"spec": {"query": "a"}, "status": {}}, False, "status"),
    (kinds.ALERT_PROVIDER, {"spec": {"type": "slack"}}, {"spec": {"type": "msteams"}}, True, "type"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "before", "after", "material"),
    [row[:4] for row in CHANGES],
    ids=[f"{row[0].kind}: {row[4]}" for row in CHANGES],
)
def test_material_changes(kind: Kind, before: dict[str, Any], after: dict[str, Any], material: bool) -> None:
    assert policy.material(kept(kind, "a", 1, **before), kept(kind, "a", 2, **after)) is material


@pytest.mark.parametrize("kind", [kinds.CONFIG_MAP, kinds.SECRET])
def test_of_a_config_every_version_matters(kind: Kind) -> None:
    assert policy.material(kept(kind, "a", 1), kept(kind, "a", 2))
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"k":"aHVudGVy"}}'}
    assert "aHVudGVy" not in str(kept(kind, "a", 1, metadata={"annotations": annotations}))


def test_coming_going_and_being_replaced_matter() -> None:
    one, other = kept(kinds.SERVICE, "a", 1), kept(kinds.SERVICE, "a", 2, uid="another")
    assert policy.material(None, one)
    assert policy.material(one, None)
    assert policy.material(one, other)


OURS = {"managedFields": [{"manager": "serinus-router", "subresource": "status", "time": "2026-01-01T00:00:05Z"}]}
THEIRS = {"managedFields": [{"manager": "flagger", "subresource": "status", "time": "2026-01-01T00:00:05Z"}]}


@pytest.mark.parametrize(
    ("after", "material"),
    [
        pytest.param({"metadata": OURS}, False, id="nothing"),
        pytest.param({"metadata": OURS, "status": {"phase": "Progressing"}}, False, id="our own status"),
        pytest.param({"metadata": THEIRS, "status": {"phase": "Progressing"}}, True, id="somebody's status"),
        pytest.param({"metadata": THEIRS}, False, id="somebody wrote what was there"),
        pytest.param({"metadata": {**OURS, "generation": 2}, "status": {"phase": "x"}}, True, id="generation"),
        pytest.param({"metadata": {**OURS, "annotations": {"serinus.dev/approve": "x"}}}, True, id="annotations"),
        pytest.param({"metadata": {**OURS, "labels": {"a": "b"}}}, True, id="labels"),
        pytest.param({"metadata": {**OURS, "deletionTimestamp": "x"}}, True, id="marked"),
        pytest.param({"metadata": {**OURS, "finalizers": ["finalizer.flagger.app"]}}, False, id="finalizers"),
        pytest.param({"metadata": OURS, "spec": {"suspend": True}}, True, id="spec"),
    ],
)
def test_what_of_a_canary_matters(after: dict[str, Any], material: bool) -> None:
    before = canary(1, metadata={"managedFields": []}, status={"phase": "Initialized"})
    assert policy.material(before, canary(2, **({"status": {"phase": "Initialized"}} | after))) is material


def test_ids_are_the_same_on_every_replica_and_different_for_every_change() -> None:
    ref = policy.canary_ref(canary())
    service = kept(kinds.SERVICE, "web", 7)
    fact = policy.fact(ref, service)
    assert fact.id == "uid-podinfo/Service/Service-web/7"
    assert fact == policy.fact(ref, service)
    gone = policy.fact(ref, service, deleted=True)
    assert gone.id != fact.id
    assert gone.object.deleted
