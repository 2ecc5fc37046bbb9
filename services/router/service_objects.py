"""The three Services in front of a canary's workloads (behaviour sheet §3.3). Pure."""

from collections.abc import Mapping
from typing import Final

from services.router.found import Found
from services.router.objects import OPT_OUT, Wanted, owned, owners
from services.router.parse import Canary
from shared.canary import names
from shared.canary.resource import CanaryService, Metadata, UnmanagedMetadata
from shared.kube import json, kinds
from shared.kube.json import Json

_SIDECARS: Final = frozenset({"istio-proxy", "envoy"})


def service(canary: Canary, found: Found, label: tuple[str, str], role: str) -> Wanted:
    service = canary.model.service
    if service is None:
        raise ValueError("a canary without spec.service is refused before")
    name = {
        "apex": canary.names.apex, "primary": canary.names.primary_service, "canary": canary.names.canary_service,
    }[role]  # fmt: skip
    value = label[1] if role == "canary" else names.primary(label[1])
    have = found.services.get(name)
    wanted = ports(service, found.target)
    exact: dict[tuple[str, ...], object] = {("spec", "selector"): {label[0]: value}}
    if _comparable(json.items(have, "spec", "ports")) != _comparable(wanted):
        exact["spec", "ports"] = _with_node_ports(wanted, have)
    extra: Metadata = getattr(service, role) or Metadata()
    metadata: Json = {"labels": {**extra.labels, label[0]: name}, "annotations": {**extra.annotations, **OPT_OUT}}
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name, "namespace": canary.spec.namespace, **metadata, "ownerReferences": owners(canary, found),
        },
        "spec": _service_spec(service, {label[0]: value}, wanted),
    }  # fmt: skip
    return Wanted(
        kinds.SERVICE, name, body, exact, {"metadata": _managed(service, metadata, have)} if owned(canary, have) else {}
    )


def _managed(service: CanaryService, metadata: Json, have: Json | None) -> Json:
    """What of it we keep as it is: keys that people list as unmanaged keep the values that they have."""
    unmanaged = service.unmanaged_metadata or UnmanagedMetadata()
    return {
        part: {
            key: value
            for key, value in metadata[part].items()
            if key not in keys or key not in json.mapping(have, "metadata", part)
        }
        for part, keys in (("labels", unmanaged.labels), ("annotations", unmanaged.annotations))
    }


def _service_spec(service: CanaryService, select: Mapping[str, str], ports: list[Json]) -> Json:
    spec: Json = {"type": "ClusterIP", "selector": dict(select), "ports": ports}
    if service.headless:
        spec["clusterIP"] = "None"
    if service.traffic_distribution:
        spec["trafficDistribution"] = service.traffic_distribution
    return spec


def ports(service: CanaryService, target: Json | None) -> list[Json]:
    """The ports of all three Services."""
    main: Json = {
        "name": service.port_name, "protocol": "TCP", "port": service.port,
        "targetPort": service.target_port or service.port,
    }  # fmt: skip
    if service.app_protocol:
        main["appProtocol"] = service.app_protocol
    found = {main["name"]: main}
    for container in json.items(target, "spec", "template", "spec", "containers") if service.port_discovery else ():
        if json.text(container, "name") in _SIDECARS:
            continue
        for index, port in enumerate(json.items(container, "ports")):
            number, name = json.number(port, "containerPort"), json.text(port, "name")
            if main["targetPort"] in {number, name or number} or number == main["port"] == main["targetPort"]:
                continue
            name = name or f"tcp-{json.text(container, 'name')}-{index}"
            found.setdefault(name, {"name": name, "protocol": "TCP", "port": number, "targetPort": number})
    return list(found.values())


def _comparable(ports: list[Json]) -> list[Json]:
    fields = ("name", "protocol", "port", "targetPort", "appProtocol")
    essence = [{key: port[key] for key in fields if port.get(key) is not None} for port in ports]
    return sorted(essence, key=lambda port: json.number(port, "port"))


def _with_node_ports(ports: list[Json], have: Json | None) -> list[Json]:
    given = {
        json.text(port, "name"): port["nodePort"] for port in json.items(have, "spec", "ports") if "nodePort" in port
    }
    return [{**port, "nodePort": given[port["name"]]} if port["name"] in given else port for port in ports]
