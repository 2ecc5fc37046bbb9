"""Routes, Services and EndpointSlices as the gateway double reads them from a cluster."""

from collections.abc import Iterable, Mapping
from typing import Any

from sandbox.controlplane.api import Json

PRIMARY_IP, CANARY_IP = "10.96.0.11", "10.96.0.12"  # ClusterIPs
PRIMARY_POD, CANARY_POD = "10.128.0.11", "10.128.0.12"
TARGET_PORT = 9898


def service(name: str, ip: str = "10.96.0.1", *, namespace: str = "test") -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": TARGET_PORT}]
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}


def endpoints(name: str, *ready: str, unready: Iterable[str] = (), namespace: str = "test") -> Json:
    return {
        "metadata": {
            "name": f"{name}-abc",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "ports": [{"name": "http", "port": TARGET_PORT}],
        "endpoints": [
            *({"addresses": [ip], "conditions": {"ready": True}} for ip in ready),
            *({"addresses": [ip], "conditions": {"ready": False}} for ip in unready),
        ],
    }


def backend(name: str, weight: int | None = None, granularity: str = "endpoint") -> Json:
    found: Json = {"serviceName": name, "servicePort": 80, "resolveGranularity": granularity}
    return found if weight is None else {**found, "weight": weight}


def rule(name: str = "method", *backends: Json, match: Mapping[str, Any] | None = None, **more: Any) -> Json:
    """The guide's rule, prometheus plugin included, unless `more` says otherwise."""
    plugin = {"name": "prometheus", "enable": True, "config": {"prefer_name": True}}
    wanted = {"hosts": ["app.example.com"], "paths": ["/*"], **(match or {})}
    return {"name": name, "match": wanted, "backends": list(backends), "plugins": [plugin], **more}


def route(*rules: Json, name: str = "podinfo-podinfo-canary", written: int = 0) -> Json:
    """`written` is somebody's annotation: change it and the object was written again."""
    meta = {"name": name, "namespace": "test", "annotations": {"written": str(written)}}
    return {"metadata": meta, "spec": {"http": list(rules)}}


def split(primary: int, canary: int, *, granularity: str = "endpoint", written: int = 0) -> Json:
    """The generated route of a canary release."""
    backends = backend("podinfo-primary", primary, granularity), backend("podinfo-canary", canary, granularity)
    return route(rule("method", *backends), written=written)


def services() -> list[Json]:
    return [service("podinfo-primary", PRIMARY_IP), service("podinfo-canary", CANARY_IP)]


def slices(*canaries: str) -> list[Json]:
    """One ready primary pod; the canary's ready pods are CANARY_POD if none are named."""
    return [endpoints("podinfo-primary", PRIMARY_POD), endpoints("podinfo-canary", *(canaries or (CANARY_POD,)))]


def pod(ip: str, image: str = "ghcr.io/stefanprodan/podinfo:6.0.0", name: str = "podinfo-1") -> Json:
    ports = [{"name": "http-metrics", "containerPort": 9797}, {"name": "http", "containerPort": TARGET_PORT}]
    return {
        "metadata": {"name": name, "namespace": "test", "uid": name},
        "spec": {"containers": [{"name": "podinfod", "image": image, "ports": ports}]},
        "status": {"podIP": ip},
    }
