"""What the API server adds to built-in kinds, and the few of its checks that people and our services run into.

Each function prepares one kind: it gets the new object (its own to change on the upper levels; anything it might share
with the old one is only added to where something is missing) and the old one, and answers the faults.
"""

import base64
import ipaddress
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sandbox.apiserver import kinds, registry, selectors
from sandbox.apiserver.errors import Cause, invalid_value, required
from sandbox.apiserver.kinds import Json

Prepare = Callable[[Json, Json | None], list[Cause]]
_NO: Final = "None"


class ServiceAddresses:
    """Hands out cluster IPs. An address isn't used again: so tests can't mistake one service for another."""

    def __init__(self, network: str = "10.96.0.0/16") -> None:
        self._next = map(str, ipaddress.ip_network(network).hosts())
        next(self._next)  # the first one is the API server's own
        self._taken: set[str] = set()

    def take(self) -> str:
        return next(address for address in self._next if address not in self._taken)

    def hold(self, address: str) -> None:
        """Somebody asked for this one."""
        self._taken.add(address)


def strategies() -> Mapping[str, Prepare]:
    """By the key of a resource."""
    addresses = ServiceAddresses()
    return {
        kinds.SERVICES: lambda new, old: _service(new, old, addresses),
        kinds.DEPLOYMENTS: _deployment,
        kinds.REPLICA_SETS: _replica_set,
        kinds.PODS: _pod,
        kinds.NAMESPACES: _namespace,
        kinds.CRDS: registry.prepare_crd,
        "secrets": _secret,
    }


def _service(new: Json, old: Json | None, addresses: ServiceAddresses) -> list[Cause]:
    spec = new["spec"] = dict(new.get("spec") or {})
    for name, value in (("type", "ClusterIP"), ("sessionAffinity", _NO), ("internalTrafficPolicy", "Cluster")):
        spec.setdefault(name, value)
    spec["ports"] = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports") or ()]
    new.setdefault("status", {"loadBalancer": {}})
    if spec["type"] == "ExternalName":
        return []
    known = (old or {}).get("spec", {}).get("clusterIP", "")
    faults = _service_ports(spec["ports"])
    if not spec["ports"] and spec.get("clusterIP") != _NO:
        faults.append(required("spec.ports"))
    if known and spec.get("clusterIP") and spec["clusterIP"] != known:
        faults.append(invalid_value("spec.clusterIP", spec["clusterIP"], "field is immutable"))
    if not faults and not spec.get("clusterIP"):
        spec["clusterIP"] = known or addresses.take()
    elif not faults and not known:
        addresses.hold(spec["clusterIP"])
    spec["clusterIPs"] = [spec.get("clusterIP", "")]
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    return faults


def _service_ports(ports: list[Json]) -> list[Cause]:
    faults = []
    seen: set[Any] = set()
    for index, port in enumerate(ports):
        at = f"spec.ports[{index}]"
        if not isinstance(port.get("port"), int) or not 0 < port["port"] < 65536:
            faults.append(invalid_value(f"{at}.port", port.get("port"), "must be between 1 and 65535, inclusive"))
        if len(ports) > 1 and not port.get("name"):
            faults.append(required(f"{at}.name"))
        if (port.get("port"), port["protocol"]) in seen:
            faults.append(Cause(at, "FieldValueDuplicate", f"Duplicate value: {port.get('port')}"))
        seen.add((port.get("port"), port["protocol"]))
    return faults


def _deployment(new: Json, old: Json | None) -> list[Cause]:
    spec = new["spec"] = dict(new.get("spec") or {})
    faults = _workload(spec, old)
    strategy = spec["strategy"] = dict(spec.get("strategy") or {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy["rollingUpdate"] = {
            "maxUnavailable": "25%",
            "maxSurge": "25%",
            **(strategy.get("rollingUpdate") or {}),
        }
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    new.setdefault("status", {})
    return faults


def _replica_set(new: Json, old: Json | None) -> list[Cause]:
    spec = new["spec"] = dict(new.get("spec") or {})
    new.setdefault("status", {"replicas": 0})
    return _workload(spec, old)


def _workload(spec: Json, old: Json | None) -> list[Cause]:
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    faults = []
    if isinstance(spec["replicas"], bool) or not isinstance(spec["replicas"], int):
        faults.append(invalid_value("spec.replicas", spec["replicas"], "must be an integer"))
    elif spec["replicas"] < 0:
        faults.append(invalid_value("spec.replicas", spec["replicas"], "must be greater than or equal to 0"))
    template = spec["template"] = dict(spec.get("template") or {})
    labels = (template.get("metadata") or {}).get("labels") or {}
    selector = spec.get("selector")
    if not selector:
        faults.append(required("spec.selector"))
    elif not selectors.selects(selector, labels):
        text = "`selector` does not match template `labels`"
        faults.append(invalid_value("spec.template.metadata.labels", "…", text))
    if old is not None and selector != old["spec"]["selector"]:
        faults.append(invalid_value("spec.selector", "…", "field is immutable"))
    template["metadata"] = {**(template.get("metadata") or {})}
    template["spec"] = dict(template.get("spec") or {})
    return faults + pod_spec(template["spec"], "spec.template.spec")


def _pod(new: Json, old: Json | None) -> list[Cause]:
    spec = new["spec"] = dict(new.get("spec") or {})
    if not new.get("status"):
        new["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
    return pod_spec(spec, "spec")


def pod_spec(spec: Json, at: str) -> list[Cause]:
    """Defaults of a pod's spec."""
    for name, value in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
    ):
        spec.setdefault(name, value)
    spec.setdefault("securityContext", {})
    faults = [] if spec.get("containers") else [required(f"{at}.containers")]
    for group in ("containers", "initContainers"):
        if group in spec:
            spec[group] = [_container(each) for each in spec[group]]
            faults += _containers(spec[group], f"{at}.{group}")
    return faults


def _containers(containers: list[Json], at: str) -> Iterable[Cause]:
    for index, container in enumerate(containers):
        for name in ("name", "image"):
            if not container.get(name):
                yield required(f"{at}[{index}].{name}")


def _container(raw: Json) -> Json:
    image = str(raw.get("image", ""))
    latest = image.endswith(":latest") or ":" not in image.rsplit("/", 1)[-1]
    container = {
        **raw,
        "resources": raw.get("resources") or {},
        "terminationMessagePath": raw.get("terminationMessagePath", "/dev/termination-log"),
        "terminationMessagePolicy": raw.get("terminationMessagePolicy", "File"),
        "imagePullPolicy": raw.get("imagePullPolicy") or ("Always" if latest and "@" not in image else "IfNotPresent"),
    }
    if ports := raw.get("ports"):
        container["ports"] = [{**port, "protocol": port.get("protocol", "TCP")} for port in ports]
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        if raw.get(probe):
            container[probe] = _probe(raw[probe])
    for entry in container.get("env") or ():
        if "fieldRef" in (entry.get("valueFrom") or {}):
            entry["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")
    return container


def _probe(raw: Json) -> Json:
    counts = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    probe = {**counts, **raw}
    if "httpGet" in probe:
        probe["httpGet"] = {"path": "/", "scheme": "HTTP", **probe["httpGet"]}
    return probe


def _namespace(new: Json, old: Json | None) -> list[Cause]:
    name = new["metadata"]["name"]
    labels = new["metadata"].get("labels") or {}
    new["metadata"] = {**new["metadata"], "labels": {**labels, "kubernetes.io/metadata.name": name}}
    new["spec"] = {"finalizers": ["kubernetes"], **(new.get("spec") or {})}
    if not new.get("status"):
        new["status"] = {"phase": "Active"}
    return []


def _secret(new: Json, old: Json | None) -> list[Cause]:
    """`stringData` becomes `data`."""
    plain = new.pop("stringData", None) or {}
    if plain:
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in plain.items()}
        new["data"] = {**(new.get("data") or {}), **encoded}
    new.setdefault("type", "Opaque")
    return []
