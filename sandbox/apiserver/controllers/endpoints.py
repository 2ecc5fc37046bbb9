"""EndpointSlices: where the pods of a Service are, and which of them are ready."""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from sandbox.apiserver import kinds
from sandbox.apiserver.controllers import workloads
from sandbox.apiserver.kinds import Json
from sandbox.apiserver.objects import Objects
from sandbox.apiserver.store import Event, Key, Stored

_SERVICE: Final = "kubernetes.io/service-name"
_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_US: Final = "endpointslice-controller.k8s.io"
_ENDED: Final = ("Succeeded", "Failed")


class Endpoints:
    """Keys are those of Services. A slice for each way in which a Service's ports are numbered in its pods: mostly one."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._slices = objects.registry.built_in(kinds.ENDPOINT_SLICES)

    def touched(self, kind: str, event: Event) -> Iterable[Key]:
        if kind == kinds.SERVICES:
            return [event.stored.key]
        namespace = event.stored.key[0]
        if kind == kinds.ENDPOINT_SLICES:
            name = (event.stored.object["metadata"].get("labels") or {}).get(_SERVICE)
            return [(namespace, name)] if name else []
        if kind != kinds.PODS:
            return []
        seen = [event.stored.object, *([event.previous.object] if event.previous else [])]
        services = self._objects.store.scan(kinds.SERVICES, namespace)
        return [each.key for each in services if any(_selects(each.object, pod) for pod in seen)]

    def reconcile(self, key: Key) -> None:
        service = self._objects.store.get(kinds.SERVICES, key)
        if service is None or not service.object["spec"].get("selector"):
            return
        wanted = self._wanted(service.object)
        for known in workloads.owned(self._objects.store, service.object, kinds.ENDPOINT_SLICES):
            body = wanted.pop(_ports_key(known.object.get("ports")), None)
            if body is None and wanted:  # its ports are another Service's by now: it takes the next ones
                body = wanted.pop(next(iter(wanted)))
            if body is None:
                self._objects.delete(self._slices, known.key)
            else:
                self._objects.patch(self._slices, known.key, partial(_with, body))
        for body in wanted.values():
            self._objects.create(self._slices, key[0], {**body, "metadata": _metadata(service.object)})

    def _wanted(self, service: Json) -> dict[str, Json]:
        """Slices by their ports. A Service without pods has an empty one."""
        groups: dict[str, list[Json]] = defaultdict(list)
        ports: dict[str, list[Json]] = {}
        for pod in self._objects.store.scan(kinds.PODS, service["metadata"]["namespace"]):
            if _selects(service, pod.object) and _reachable(pod.object):
                found = [port for each in service["spec"]["ports"] if (port := _port(each, pod.object))]
                where = _ports_key(found)
                ports[where] = found
                groups[where].append(_endpoint(pod, bool(service["spec"].get("publishNotReadyAddresses"))))
        if not groups:
            return {_ports_key(None): {"addressType": "IPv4", "endpoints": None, "ports": None}}
        return {each: {"addressType": "IPv4", "endpoints": groups[each], "ports": ports[each]} for each in groups}


def _with(body: Json, known: Json) -> Json:
    return {**known, **body}


def _metadata(service: Json) -> Json:
    name = service["metadata"]["name"]
    labels = {**(service["metadata"].get("labels") or {}), _SERVICE: name, _MANAGED_BY: _US}
    return {"generateName": f"{name}-", "labels": labels, "ownerReferences": [workloads.reference(service)]}


def _selects(service: Json, pod: Json) -> bool:
    selector, labels = service["spec"].get("selector"), pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(name) == value for name, value in selector.items())


def _reachable(pod: Json) -> bool:
    status = pod.get("status") or {}
    return bool(status.get("podIP") and pod["spec"].get("nodeName")) and status.get("phase") not in _ENDED


def _endpoint(pod: Stored, always: bool) -> Json:
    manifest, (namespace, name) = pod.object, pod.key
    serving = workloads.ready_since(manifest) is not None
    terminating = "deletionTimestamp" in manifest["metadata"]
    uid = manifest["metadata"]["uid"]
    return {
        "addresses": [manifest["status"]["podIP"]],
        "conditions": {
            "ready": always or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "nodeName": manifest["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": name, "uid": uid},
    }


def _port(port: Json, pod: Json) -> Json | None:
    """A Service's port as a pod has it. None if the pod has no port of that name."""
    number = port["targetPort"]
    if isinstance(number, str):
        number = next((each["containerPort"] for each in _container_ports(pod) if each.get("name") == number), None)
    if number is None:
        return None
    more = {name: port[name] for name in ("appProtocol",) if name in port}
    return {"name": port.get("name", ""), "port": number, "protocol": port["protocol"], **more}


def _container_ports(pod: Json) -> Iterable[Json]:
    for container in pod["spec"]["containers"]:
        yield from container.get("ports") or ()


def _ports_key(ports: Any) -> str:
    return str(ports or None)
