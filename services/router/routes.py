"""The generated ApisixRoute, from the route that people wrote. Pure, on unstructured JSON: no field of any controller
version is lost, and integers stay integers (W-A1, W-A13).

The source route is never changed. The generated one holds the managed rule alone, above the source by priority.
"""

import copy
from typing import Final

from services.router.shape import Shape
from shared.canary.names import Names
from shared.kube import json
from shared.kube.json import Json

PRIORITY: Final = 10000
_NOT_COPIED: Final = (
    "argocd.argoproj.io/",
    "toolkit.fluxcd.io",
    "helm.sh/",
    "kubectl.kubernetes.io/",
    "config.k8s.io/",
)
"""Keys of GitOps and packaging tools: a copy would make them prune or fight over the generated route (W-A17)."""
_NOT_COPIED_EXACTLY: Final = frozenset(
    {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "argocd.argoproj.io/instance"}
)

_SAYS_NOTHING: Final[tuple[object, ...]] = (None, "", "0s", {}, [])


class NoRoute(Exception):
    """The source route can't be used; the text is Flagger's."""


def managed_rule(source: Json | None, names: Names, namespace: str) -> Json:
    """The first http rule that points at the apex Service. Raises NoRoute with Flagger's text."""
    if not names.route:
        raise NoRoute("apisix route selector is empty")
    route = f"{names.route}.{namespace}"
    if source is None:
        raise NoRoute(f'APISIX route {route} get query error: apisixroutes.apisix.apache.org "{names.route}" not found')
    rules = json.items(source, "spec", "http")
    if not rules:
        raise NoRoute(f"APISIX route {route}'s spec.http is empty")
    for rule in rules:
        backends = json.items(rule, "backends")
        if any(json.text(backend, "serviceName") == names.apex for backend in backends):
            if len(backends) != 1:
                text = f"http route {json.text(rule, 'name')} only one http backend is supported"
                raise NoRoute(f"APISIX route {route}'s {text}")
            return rule
    raise NoRoute(f"Can not find {names.apex} backend on apisix route {route} ")


def generated_spec(source: Json, names: Names, namespace: str, shape: Shape) -> Json:
    """The generated route's spec for this shape of traffic. Raises NoRoute."""
    rule = copy.deepcopy(managed_rule(source, names, namespace))
    backend = json.items(rule, "backends")[0]
    rule["priority"] = PRIORITY
    rule["backends"] = [
        {**backend, "serviceName": names.primary_service, "weight": 100 - shape.weight},
        {**copy.deepcopy(backend), "serviceName": names.canary_service, "weight": shape.weight},
    ]
    # `stream` entries would claim the same ingress port twice (W-A12).
    kept = {key: copy.deepcopy(value) for key, value in json.mapping(source, "spec").items() if key != "stream"}
    return {**kept, "http": [rule]}


def reweighted(route: Json, names: Names, weight: int) -> Json:
    """The spec of a generated route with other weights and nothing else changed: for when its source is gone, since a
    rollback must reach the gateway all the same."""
    spec = copy.deepcopy(json.mapping(route, "spec"))
    shares = {names.primary_service: 100 - weight, names.canary_service: weight}
    for rule in json.items(spec, "http"):
        for backend in json.items(rule, "backends"):
            if (name := json.text(backend, "serviceName")) in shares:
                backend["weight"] = shares[name]
    return spec


def alike(found: object, wanted: object) -> bool:
    """The same but for values that say nothing? Flagger's types write such where the source has no field.

    `enable` isn't one of them: false turns a plugin off that may be on without the field.
    """
    if isinstance(found, dict) and isinstance(wanted, dict):
        more = {key: value for key, value in found.items() if key not in wanted}
        silent = all(key != "enable" and (value is False or value in _SAYS_NOTHING) for key, value in more.items())
        return silent and all(key in found and alike(found[key], value) for key, value in wanted.items())
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(alike, found, wanted))
    return found == wanted


def share(route: Json | None, names: Names) -> int:
    """The canary's percent in a generated route; 0 where there is none."""
    backends = [backend for rule in json.items(route, "spec", "http") for backend in json.items(rule, "backends")]
    weights = {json.text(each, "serviceName"): json.number(each, "weight") for each in backends}
    return min(max(weights.get(names.canary_service, 0), 0), 100)


def copied(metadata: Json) -> dict[str, str]:
    """Labels or annotations of the source that may be copied."""
    return {
        key: value
        for key, value in metadata.items()
        if key not in _NOT_COPIED_EXACTLY and not any(part in key for part in _NOT_COPIED)
    }


def resolves_by_service(route: Json | None, names: Names) -> bool:
    """True where APISIX sends to the Service's address, so that one constant `node` stands for all its pods."""
    backends = [backend for rule in json.items(route, "spec", "http") for backend in json.items(rule, "backends")]
    ours = [backend for backend in backends if json.text(backend, "serviceName") == names.canary_service]
    return any(json.text(backend, "resolveGranularity") == "service" for backend in ours)


def apisix_names(route: Json, namespace: str) -> tuple[str, ...]:
    """What APISIX calls the rules of this route, as its metrics' `route` label has it."""
    return tuple(
        f"{namespace}_{json.name(route)}_{json.text(rule, 'name')}" for rule in json.items(route, "spec", "http")
    )
