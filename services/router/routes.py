"""The generated ApisixRoute, from the route that people wrote. Pure, on unstructured JSON: no field of any controller
version is lost, and integers stay integers (W-A1, W-A13).

The source route is never changed. The generated one holds the managed rules alone, each right above its source.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from services.router import backends, plugins, priorities, rules
from services.router.priorities import Stack
from services.router.rules import Gateway
from services.router.shape import Shape
from services.router.siblings import priority
from shared.canary.names import Names
from shared.kube import json
from shared.kube.json import Json

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
    """The source route can't be used; the text is Flagger's where Flagger has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What one route is made among."""

    have: Json | None = None
    """The generated route as it is."""
    others: tuple[Json, ...] = ()
    """Rules of other routes that have a path in common with it."""
    gateway: Gateway = field(default_factory=Gateway)
    shy: bool = False
    """Controller 2.x: a new rule answers 500 until its last upstream is there, so it begins below its source."""
    settled: bool = True
    """The gateway has had time to take in `have`."""


ALONE: Final = Around()


def managed(source: Json | None, names: Names, namespace: str) -> list[tuple[int, Json]]:
    """The http rules that point at the apex Service, and where they are listed. Raises NoRoute."""
    if not names.route:
        raise NoRoute("apisix route selector is empty")
    route = f"{names.route}.{namespace}"
    if source is None:
        raise NoRoute(f'APISIX route {route} get query error: apisixroutes.apisix.apache.org "{names.route}" not found')
    listed = json.items(source, "spec", "http")
    if not listed:
        raise NoRoute(f"APISIX route {route}'s spec.http is empty")
    found = [(index, rule) for index, rule in enumerate(listed) if names.apex in _services(rule)]
    if not found:
        raise NoRoute(f"Can not find {names.apex} backend on apisix route {route} ")
    for _, rule in found:
        services = _services(rule)
        for each in (names.apex, names.primary_service, names.canary_service):
            if services.count(each) > (each == names.apex):
                told = "more than once" if each == names.apex else "itself"
                title = f"http route {json.text(rule, 'name')}"
                raise NoRoute(
                    f"APISIX route {route}'s {title} names backend {each} {told}: name {names.apex} alone, once"
                )
    return found


def _services(rule: Json) -> list[str]:
    return [json.text(backend, "serviceName") for backend in json.items(rule, "backends")]


def generated_spec(source: Json, names: Names, namespace: str, shape: Shape, around: Around = ALONE) -> Json:
    """The generated route's spec for this shape of traffic. Raises NoRoute."""
    listed, chosen = json.items(source, "spec", "http"), managed(source or None, names, namespace)
    try:
        made = {index: _made(rule, names, shape, around) for index, rule in chosen}
        _check_names(made.values())
        found = _placed(made, listed, around, needed=shape.weight >= 100)
    except (plugins.Unusable, priorities.NoRoom) as error:
        raise NoRoute(f"APISIX route {names.route}.{namespace}'s {error}") from error
    # `stream` entries would claim the same ingress port twice (W-A12).
    kept = {key: value for key, value in json.mapping(source, "spec").items() if key != "stream"}
    return {**kept, "http": found}


def _made(rule: Json, names: Names, shape: Shape, around: Around) -> list[Json]:
    plugins.check(rule, rules.needs(shape), alone=not backends.among_others(rule))
    return rules.made(rule, names, shape, around.gateway)


def _check_names(stacks: Iterable[list[Json]]) -> None:
    names = [json.text(rule, "name") for stack in stacks for rule in stack]
    for name in names:
        if names.count(name) > 1:
            raise plugins.Unusable(f"http route {name} has a name that another one has or gets: rename it")


def _placed(made: Mapping[int, list[Json]], listed: Sequence[Json], around: Around, *, needed: bool) -> list[Json]:
    """With their priorities, in the order of the source. `needed`: below there may be nobody who answers."""
    have = {json.text(rule, "name"): rule for rule in json.items(around.have, "spec", "http")}
    stacks = [Stack(index, listed[index], len(stack)) for index, stack in made.items()]
    bases = priorities.bases(stacks, listed, around.others, {name: priority(rule) for name, rule in have.items()})
    found = []
    for index, stack in made.items():
        own = priority(listed[index])
        for height, rule in enumerate(stack, bases[index]):
            there = have.get(json.text(rule, "name"))
            raised = there is not None and priority(there) > own
            stays = needed and (raised or there is None)
            begins_low = around.shy and not stays and _too_new(rule, there, raised or around.settled)
            found.append({**rule, "priority": own - 1 if begins_low else height})
    return found


def _too_new(rule: Json, have: Json | None, settled: bool) -> bool:
    """May the gateway not know this rule yet, or one of its backends?"""
    return have is None or _targets(have) != _targets(rule) or not settled


def _targets(rule: Json) -> list[tuple[object, ...]]:
    fields = ("serviceName", "servicePort", "subset", "resolveGranularity", "name")
    entries = [*json.items(rule, "backends"), *json.items(rule, "upstreams")]
    return [tuple(each.get(field) for field in fields) for each in entries]


def low(spec: Json, source: Json) -> tuple[str, ...]:
    """The rules of a generated spec that stand below their source, and so answer nobody yet."""
    own = {json.text(rule, "name"): priority(rule) for rule in json.items(source, "spec", "http")}
    found = []
    for rule in json.items(spec, "http"):
        name = json.text(rule, "name")
        added = rules.ADDED.fullmatch(name)
        base = name if name in own or added is None else added[1]
        if priority(rule) <= own.get(base, priority(rule) - 1):
            found.append(name)
    return tuple(found)


def reweighted(route: Json, names: Names, shape: Shape) -> Json:
    """The spec of a generated route with other weights, no copies, and nothing else changed: for when its source is
    gone, since a rollback must reach the gateway all the same."""
    spec = copy.deepcopy(json.mapping(route, "spec"))
    known = {json.text(rule, "name") for rule in json.items(spec, "http")}
    for rule in json.items(spec, "http"):
        rule["backends"] = backends.redivided(rule, names, rules.percent(json.text(rule, "name"), known, shape))
        if shape.mirror <= 0 and plugins.enabled(rule, plugins.MIRROR):
            rule["plugins"] = [each for each in json.items(rule, "plugins") if not plugins.copies_to(each, names)]
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
    """The canary's percent in a generated route, of those whom nothing pins; 0 where there is none."""
    http = json.items(route, "spec", "http")
    known = {json.text(rule, "name") for rule in http}
    public = [rule for rule in http if not rules.added(json.text(rule, "name"), known)]
    return max([backends.percent(rule, names) for rule in public], default=0)


def copied(metadata: Json) -> dict[str, str]:
    """Labels or annotations of the source that may be copied."""
    return {
        key: value
        for key, value in metadata.items()
        if key not in _NOT_COPIED_EXACTLY and not any(part in key for part in _NOT_COPIED)
    }


def resolves_by_service(route: Json | None, names: Names) -> bool:
    """True where APISIX sends to the Service's address, so that one constant `node` stands for all its pods."""
    return "service" in granularities(route, names.canary_service)


def resolves_by_endpoint(route: Json | None, names: Names) -> bool:
    """True where APISIX sends to the pods themselves. Both may be true: each rule has its own."""
    return bool(granularities(route, names.canary_service) - {"service"})


def granularities(route: Json | None, service: str) -> set[str]:
    """How the rules of a route resolve this Service."""
    every = [backend for rule in json.items(route, "spec", "http") for backend in json.items(rule, "backends")]
    return {json.text(each, "resolveGranularity") for each in every if json.text(each, "serviceName") == service}


def apisix_names(route: Json, namespace: str) -> tuple[str, ...]:
    """What APISIX calls the rules of this route, as its metrics' `route` label has it."""
    return _called(route, namespace, json.items(route, "spec", "http"))


def testers_names(route: Json, namespace: str) -> tuple[str, ...]:
    """The same of the rules that testers are pinned by."""
    http = json.items(route, "spec", "http")
    known = {json.text(rule, "name") for rule in http}
    return _called(route, namespace, [rule for rule in http if rules.pins(json.text(rule, "name"), known)])


def _called(route: Json, namespace: str, listed: Iterable[Json]) -> tuple[str, ...]:
    return tuple(f"{namespace}_{json.name(route)}_{json.text(rule, 'name')}" for rule in listed)
