"""What the ingress controller makes of the cluster's objects: rules with backends, pure.

Called by the gateway for every change, with the rules of before: what a broken route does to them differs by version.
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sandbox.controlplane.api import Json
from sandbox.gateway import exprs, plugins
from sandbox.gateway.dialect import Dialect
from sandbox.network import Node, ServiceTable

_DEFAULT_WEIGHT = 100
_DEFAULT_TIMEOUT = 60.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Key = tuple[str, str]


class Refused(Exception):
    """The controller doesn't publish this ApisixRoute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One of a rule's Services with its weight."""

    service: str
    weight: int
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule of one ApisixRoute, as an APISIX route."""

    name: str
    service: str
    """The name of the APISIX service; empty with controllers that make none."""
    priority: int
    hosts: tuple[str, ...]
    paths: tuple[str, ...]
    methods: frozenset[str]
    conditions: tuple[exprs.Condition, ...]
    backends: tuple[Backend, ...]
    written: str
    """Changes with every write of the ApisixRoute: the gateway's turns begin anew."""
    prefer_name: bool | None
    """Of the rule's own prometheus plugin; None without one."""
    abort: int | None
    """The status of its fault-injection plugin."""
    rewrite: plugins.Rewrite | None
    mirror: plugins.Mirror | None
    connect_timeout: float
    read_timeout: float


def label(name: str, prefer_name: bool) -> str:
    """The value of the labels `route` and `service`: the name, or the id made of it."""
    return name if prefer_name or not name else f"{zlib.crc32(name.encode()):x}"


class Memo:
    """What was made of each ApisixRoute, and of which objects: most changes of a cluster are about one route of many."""

    def __init__(self) -> None:
        self._made: dict[Key, tuple[tuple[Json, ...], tuple[Rule, ...] | str]] = {}

    def rules(self, route: Json, table: ServiceTable, dialect: Dialect) -> tuple[Rule, ...] | str:
        """Its rules, or why it isn't published; always with the same dialect."""
        key, parts = (route["metadata"]["namespace"], route["metadata"]["name"]), _parts(route, table)
        of, made = self._made.get(key, ((), ""))
        if len(of) != len(parts) or any(one is not other for one, other in zip(of, parts, strict=True)):
            try:
                made = _rules(route, table, dialect)
            except (Refused, exprs.Unsupported, plugins.Invalid) as error:
                made = str(error) or type(error).__name__
            self._made[key] = parts, made
        return made


def _parts(route: Json, table: ServiceTable) -> tuple[Json, ...]:
    """All objects that its rules are made of."""
    namespace = route["metadata"]["namespace"]
    backends = (backend for entry in route["spec"].get("http") or [] for backend in entry.get("backends") or [])
    return (route, *(part for backend in backends for part in table.parts(namespace, backend["serviceName"])))


def translate(
    routes: Iterable[Json],
    table: ServiceTable,
    before: Mapping[Key, tuple[Rule, ...]],
    dialect: Dialect,
    *,
    default_class: bool = True,
    memo: Memo | None = None,
) -> dict[Key, tuple[Rule, ...]]:
    """The rules of every ApisixRoute. `default_class`: is an IngressClass marked as default?"""
    memo = memo or Memo()
    found: dict[Key, tuple[Rule, ...]] = {}
    for route in routes:
        key = (route["metadata"]["namespace"], route["metadata"]["name"])
        if not concerns(route, dialect, default_class):
            continue
        made = memo.rules(route, table, dialect)
        if not isinstance(made, str):
            found[key] = made
        elif key in before:
            found[key] = before[key]
    return found


def concerns(route: Json, dialect: Dialect, default_class: bool) -> bool:
    """Is it this controller's? Newer ones want to be named, or to be the default."""
    return bool(not dialect.services or default_class or route["spec"].get("ingressClassName"))


def _rules(route: Json, table: ServiceTable, dialect: Dialect) -> tuple[Rule, ...]:
    entries: list[Json] = route["spec"].get("http") or []
    names = [entry["name"] for entry in entries]
    if len(set(names)) < len(names):
        raise Refused("two rules have one name")
    return tuple(_rule(route, index, entry, table, dialect) for index, entry in enumerate(entries))


def _rule(route: Json, index: int, entry: Json, table: ServiceTable, dialect: Dialect) -> Rule:
    namespace, name = route["metadata"]["namespace"], route["metadata"]["name"]
    full = f"{namespace}_{name}_{entry['name']}"
    if len(full) > dialect.longest_name:
        raise Refused(f"{full} is longer than {dialect.longest_name} characters")
    match = entry["match"]
    on = {plugin["name"]: plugin.get("config") or {} for plugin in entry.get("plugins") or [] if _on(plugin)}
    prometheus, fault = on.get("prometheus"), on.get("fault-injection", {})
    timeout = entry.get("timeout") or {}
    return Rule(
        name=full,
        service=f"{namespace}_{name}_{index}" if dialect.services else "",
        priority=entry.get("priority") or 0,
        hosts=tuple(host.lower() for host in match.get("hosts") or []),
        paths=tuple(match["paths"]),
        methods=frozenset(match.get("methods") or []),
        conditions=tuple(exprs.condition(expr) for expr in match.get("exprs") or []),
        backends=_backends(namespace, entry.get("backends") or [], table, dialect),
        written=_fingerprint(route),
        prefer_name=None if prometheus is None else bool(prometheus.get("prefer_name")),
        abort=fault["abort"]["http_status"] if "abort" in fault else None,
        rewrite=plugins.rewrite(on.get("response-rewrite"), dialect),
        mirror=plugins.mirror(on.get("proxy-mirror")),
        connect_timeout=_seconds(timeout.get("connect")),
        read_timeout=_seconds(timeout.get("read")),
    )


def _backends(namespace: str, entries: list[Json], table: ServiceTable, dialect: Dialect) -> tuple[Backend, ...]:
    if dialect.services and len({entry["serviceName"] for entry in entries}) < len(entries):
        raise Refused("duplicate backend service")
    found = []
    for entry in entries:
        name, port = entry["serviceName"], table.port(namespace, entry["serviceName"], entry["servicePort"])
        if port is None:
            if not dialect.services:
                raise Refused(f"service {name} or its port doesn't resolve")
            continue
        weight = entry.get("weight")
        found.append(
            Backend(
                service=name,
                weight=_DEFAULT_WEIGHT if weight is None else weight,
                nodes=_nodes(namespace, entry, port, table),
            )
        )
    return tuple(found)


def _nodes(namespace: str, entry: Json, port: Json, table: ServiceTable) -> tuple[Node, ...]:
    if entry.get("resolveGranularity") != "service":
        return table.ready(namespace, entry["serviceName"], port["port"])
    ip = table.cluster_ip(namespace, entry["serviceName"])
    return (Node(ip, port["port"]),) if ip else ()


def _on(plugin: Json) -> bool:
    config = plugin.get("config") or {}
    off = config.get("disable") or (config.get("_meta") or {}).get("disable")
    return bool(plugin.get("enable", True)) and not off


def _fingerprint(route: Json) -> str:
    """Everything that only a write by somebody changes; statuses are written by the controller itself."""
    meta = {key: value for key, value in route["metadata"].items() if key not in ("managedFields", "resourceVersion")}
    return json.dumps([meta, route["spec"]], sort_keys=True)


def _seconds(text: str | None) -> float:
    """Whole seconds of a Go duration; one below a second is the default, as with controller 2.x."""
    if not text:
        return _DEFAULT_TIMEOUT
    whole = sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h)", text)) // 1
    return whole or _DEFAULT_TIMEOUT
