"""ApisixRoutes as the objects that their controller makes of them, in the form that APISIX reads from a file.

Controllers 1.x make a route and an upstream for each Service; 2.x put hosts, the first upstream and traffic-split into a service for
each rule, and give nodes the backend's weight. This goes as far as the suite does: what a controller refuses isn't refused here.
"""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sandbox.controlplane.api import Json
from sandbox.gateway.dialect import Dialect
from sandbox.network import Node, ServiceTable
from tests.gateway.desired import Desired

_VARIABLES: Final = {"Header": "http_", "Query": "arg_", "Cookie": "cookie_", "Variable": ""}
_OPERATORS: Final[Mapping[str, list[str]]] = {
    "Equal": ["=="],
    "NotEqual": ["~="],
    "GreaterThan": [">"],
    "LessThan": ["<"],
    "GreaterThanEqual": [">="],
    "LessThanEqual": ["<="],
    "In": ["in"],
    "NotIn": ["!", "in"],
    "RegexMatch": ["~~"],
    "RegexNotMatch": ["!", "~~"],
    "RegexMatchCaseInsensitive": ["~*"],
    "RegexNotMatchCaseInsensitive": ["!", "~*"],
}


def objects(desired: Desired, dialect: Dialect) -> dict[str, list[Json]]:
    """By kind, as at the top of the file."""
    table = ServiceTable(desired.services, desired.slices)
    found: dict[str, list[Json]] = {"routes": [], "services": [], "upstreams": [], "global_rules": []}
    for route in desired.routes:
        for index, rule in enumerate(route["spec"]["http"]):
            for kind, made in _rule(route["metadata"], index, rule, table, dialect):
                if not (desired.withheld and kind == "upstreams" and "further" in made["desc"]):
                    found[kind].append(made)
    if desired.global_prefer_name is not None:
        plugins = {"prometheus": {"prefer_name": desired.global_prefer_name}}
        found["global_rules"].append({"id": "measured", "plugins": plugins})
    return found


def answering(path: str, node: Node) -> dict[str, list[Json]]:
    """A route of each kind's making, which answers once all three kinds are in force."""
    name = _id(path)
    upstream = {"id": name, "type": "roundrobin", "nodes": [{"host": node.host, "port": node.port, "weight": 1}]}
    return {
        "routes": [{"id": name, "uri": path, "service_id": name}],
        "services": [{"id": name, "upstream_id": name}],
        "upstreams": [upstream],
    }


def _rule(meta: Json, index: int, rule: Json, table: ServiceTable, dialect: Dialect) -> Iterator[tuple[str, Json]]:
    namespace, match = meta["namespace"], rule["match"]
    name = f"{namespace}_{meta['name']}_{rule['name']}"
    plugins = {each["name"]: each.get("config") or {} for each in rule.get("plugins") or [] if each.get("enable", True)}
    route: Json = {
        "id": _id(name),
        "name": name,
        "priority": rule.get("priority") or 0,
        "uris": match["paths"],
        "plugins": plugins,
    }
    if match.get("methods"):
        route["methods"] = match["methods"]
    if match.get("exprs"):
        route["vars"] = [_variable(each) for each in match["exprs"]]
    if rule.get("timeout"):
        route["timeout"] = {each: _seconds(rule["timeout"].get(each)) for each in ("connect", "send", "read")}
    home = route
    if dialect.services:
        service = f"{namespace}_{meta['name']}_{index}"
        home = {"id": _id(service), "name": service, "plugins": {}}
        route["service_id"] = home["id"]
        yield "services", home
    if match.get("hosts"):
        home["hosts"] = match["hosts"]
    backends = rule.get("backends") or []
    if len(backends) > 1:
        home["plugins"]["traffic-split"] = {"rules": [{"weighted_upstreams": _shares(name, backends)}]}
    for place, backend in enumerate(backends):
        upstream = _upstream(namespace, backend, table, dialect)
        if place == 0 and dialect.services:
            home["upstream"] = upstream
            continue
        role = "first" if place == 0 else "further"
        yield "upstreams", {"id": _upstream_id(name, place), "desc": f"the {role} one of {name}", **upstream}
        if place == 0:
            home["upstream_id"] = _upstream_id(name, 0)
    yield "routes", route


def _shares(name: str, backends: list[Json]) -> list[Json]:
    """The first backend is whoever the rule has without traffic-split."""
    further = [{"upstream_id": _upstream_id(name, place)} for place in range(1, len(backends))]
    return [{**whose, "weight": _weight(backend)} for whose, backend in zip([{}, *further], backends, strict=True)]


def _upstream(namespace: str, backend: Json, table: ServiceTable, dialect: Dialect) -> Json:
    weight = _weight(backend) if dialect.services else 100
    nodes = table.ready(namespace, backend["serviceName"], backend["servicePort"])
    return {
        "type": "roundrobin",
        "nodes": [{"host": node.host, "port": node.port, "weight": weight} for node in nodes],
    }


def _weight(backend: Json) -> int:
    return 100 if backend.get("weight") is None else int(backend["weight"])


def _variable(expr: Json) -> list[Any]:
    subject = expr["subject"]
    if subject["scope"] == "Path":
        variable = "uri"
    else:
        name = subject["name"].lower().replace("-", "_") if subject["scope"] == "Header" else subject["name"]
        variable = _VARIABLES[subject["scope"]] + name
    return [variable, *_OPERATORS[expr["op"]], expr["set"] if "set" in expr else expr["value"]]


def _seconds(text: str | None) -> int:
    return int(text.removesuffix("s")) if text else 60


def _upstream_id(name: str, place: int) -> str:
    return _id(f"{name}_{place}")


def _id(name: str) -> str:
    return f"{zlib.crc32(name.encode()):x}"
