"""The sandbox's network: which cluster address or name is which loopback listener.

Doubles claim their addresses here. For Services it does what kube-proxy and the cluster's DNS do: a ClusterIP, or the
name `<service>.<namespace>`, leads to the ready endpoints in turn. Nothing here opens a socket.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sandbox.controlplane.api import Json

_SUFFIXES = (".svc.cluster.local", ".svc")


@dataclass(frozen=True, slots=True)
class Node:
    """An address in the cluster: a pod's, or a Service's ClusterIP with the Service's port."""

    host: str
    port: int


class ServiceTable:
    """An immutable look at Services and their EndpointSlices."""

    def __init__(self, services: Iterable[Json] = (), slices: Iterable[Json] = ()) -> None:
        self._services = {_key(service): service for service in services}
        self._slices: dict[tuple[str, str], list[Json]] = {}
        for found in slices:
            owner = found["metadata"].get("labels", {}).get("kubernetes.io/service-name", "")
            self._slices.setdefault((found["metadata"]["namespace"], owner), []).append(found)
        self._by_ip = {ip: key for key, service in self._services.items() if (ip := _cluster_ip(service))}

    def parts(self, namespace: str, name: str) -> tuple[Json, ...]:
        """The Service, if it exists, and its slices: nothing else is known of it here."""
        service = self._services.get((namespace, name))
        return (*(() if service is None else (service,)), *self._slices.get((namespace, name), ()))

    def cluster_ip(self, namespace: str, name: str) -> str:
        """The Service's ClusterIP; empty if it's headless or doesn't exist."""
        return _cluster_ip(self._services.get((namespace, name), {}))

    def at(self, host: str) -> tuple[str, str] | None:
        """Namespace and name of the Service with this ClusterIP or name."""
        if host in self._by_ip:
            return self._by_ip[host]
        name, _, namespace = host.partition(".")
        return (namespace, name) if (namespace, name) in self._services else None

    def port(self, namespace: str, name: str, wanted: int | str) -> Json | None:
        """The port of the Service by number or name."""
        ports = self._services.get((namespace, name), {}).get("spec", {}).get("ports", [])
        return next((port for port in ports if wanted in (port["port"], port.get("name"))), None)

    def ready(self, namespace: str, name: str, wanted: int | str) -> tuple[Node, ...]:
        """The ready endpoints behind a port of the Service, in a stable order."""
        port = self.port(namespace, name, wanted)
        if port is None:
            return ()
        nodes = {
            Node(address, target)
            for found in self._slices.get((namespace, name), [])
            for target in _targets(found, port.get("name") or "")
            for endpoint in found.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready") is not False  # unknown counts as ready
            for address in endpoint["addresses"]
        }
        return tuple(sorted(nodes, key=lambda node: (node.host, node.port)))


class Network:
    """Claims, and the Services of one cluster."""

    def __init__(self) -> None:
        self._claims: dict[Node, int] = {}
        self._table = ServiceTable()
        self._turns: dict[Node, int] = {}

    def claim(self, host: str, port: int, listener: int) -> None:
        """From now on `host:port` (an IP, or `<service>.<namespace>`) is the loopback port `listener`."""
        node = Node(_short(host), port)
        if self._claims.get(node, listener) != listener:
            raise ValueError(f"{host}:{port} is taken by port {self._claims[node]}")
        self._claims[node] = listener

    def release(self, host: str, port: int) -> None:
        """Nobody answers there any more. Nothing happens if nobody did."""
        self._claims.pop(Node(_short(host), port), None)

    def follow(self, table: ServiceTable) -> None:
        """Use these Services and endpoints from now on."""
        self._table = table

    def resolve(self, host: str, port: int) -> int | None:
        """The loopback port behind an address or name; None where a connection would be refused.

        A Service's endpoints take turns. One whose pod is gone is answered None as well, as kube-proxy wouldn't know.
        """
        node = Node(_short(host), port)
        if node in self._claims:
            return self._claims[node]
        if (service := self._table.at(node.host)) is None:
            return None
        if not (ready := self._table.ready(*service, port)):
            return None
        turn = self._turns.get(node, -1) + 1
        self._turns[node] = turn
        return self._claims.get(ready[turn % len(ready)])


def _short(host: str) -> str:
    """`<service>.<namespace>` of the longer names of the same Service; an IP stays as it is."""
    host = host.rstrip(".").strip("[]").lower()
    for suffix in _SUFFIXES:
        host = host.removesuffix(suffix)
    return host


def _key(manifest: Json) -> tuple[str, str]:
    return manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def _cluster_ip(service: Mapping[str, Json]) -> str:
    ip = service.get("spec", {}).get("clusterIP", "")
    return "" if ip == "None" else str(ip)


def _targets(endpoint_slice: Json, name: str) -> list[int]:
    return [port["port"] for port in endpoint_slice.get("ports") or [] if (port.get("name") or "") == name]
