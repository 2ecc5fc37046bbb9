"""What would keep the generated routes from doing what they say, found before they are written. Pure.

Each text names the field and the fix. A problem holds the rollout; a warning is told once.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from services.router import acceptance, classes, plugins, route_objects, routes, service_objects, traffic
from services.router.found import Found, RouteFound
from services.router.objects import Options
from services.router.parse import Canary
from shared.canary.names import Names
from shared.canary.resource import seconds
from shared.kube import json
from shared.kube.json import Json

LONGEST: Final = 256
"""Characters of a route's name in APISIX from 3.15 on."""
LONGEST_BEFORE: Final = 100
_GATEWAYS: Final = frozenset({"request-success-rate", "request-duration"})
"""Checks that rest on the gateway's own metrics."""


def problem(canary: Canary, found: Found, options: Options, *, served: bool) -> str:
    """The first thing that stands in the way; empty if nothing does. Before the Services are `served`, a controller that
    sees a route sooner than them refuses it, and takes it back a moment later."""
    if not canary.names.each_route():
        return "apisix route selector is empty"
    for names in canary.names.each_route():
        try:
            spec = route_objects.spec_of(canary, names, found, traffic.most(canary), options)
        except routes.NoRoute as error:
            return str(error)
        if text := next(_problems(canary, names, found, spec, served=served), ""):
            return text
    return ""


def warnings(canary: Canary, found: Found) -> tuple[str, ...]:
    """What may be right all the same."""
    told: list[str] = []
    for names in canary.names.each_route():
        there = found.routes.get(names.route, RouteFound())
        title = f"APISIX route {names.route}.{canary.spec.namespace}"
        if _stands(found.services.get(names.apex), found.at):
            if refusal := acceptance.refusal(there.source):
                told.append(f"{title} is refused by its controller: {refusal.partition(':')[0]}, see its status")
            told += (f"{title} {text}" for text in classes.doubts(there, found.classes))
        for rule in _managed(names, there):
            told += (f"{title}'s http route {json.text(rule, 'name')} {text}" for text in _doubts(canary, rule))
        told += _long_names(canary, names, there)
    return tuple(told)


def _stands(apex: Json | None, at: datetime | None) -> bool:
    """Was the apex Service there for a while? Without it the source is refused, and controllers look again in their time."""
    made = json.text(apex, "metadata", "creationTimestamp")
    return at is not None and bool(made) and at >= datetime.fromisoformat(made) + acceptance.MOST


def _problems(canary: Canary, names: Names, found: Found, spec: Json, *, served: bool) -> Iterator[str]:
    title, there = f"APISIX route {names.route}.{canary.spec.namespace}", found.routes[names.route]
    if text := classes.problem(there, found.classes):
        yield f"{title} {text}"
    for rule in _managed(names, there):
        for text in (*_timeouts(rule), *_backends(canary, names, found, there, rule)):
            yield f"{title}'s http route {json.text(rule, 'name')} {text}"
    for name in _apisix_names(canary, names, spec):
        if len(name) > LONGEST:
            yield (
                f"{title} makes the route {name} in APISIX, which takes {LONGEST} characters and not {len(name)}: give it or "
                "its http route a shorter name"
            )
    generated = f"APISIX route {names.canary_route}.{canary.spec.namespace}"
    if served and (refusal := acceptance.refusal(there.generated)):
        yield f"{generated} is refused by its controller: {refusal}"
    if found.at is not None and acceptance.silent(there.generated, found.at):
        yield f"{generated} isn't accepted by any controller: set spec.ingressClassName of {names.route} to its class"


def _managed(names: Names, there: RouteFound) -> list[Json]:
    return [
        rule
        for rule in json.items(there.source, "spec", "http")
        if any(json.text(backend, "serviceName") == names.apex for backend in json.items(rule, "backends"))
    ]


def _timeouts(rule: Json) -> Iterable[str]:
    for part, text in json.mapping(rule, "timeout").items():
        try:
            length = seconds(text) if isinstance(text, str) else 0.0
        except ValueError:
            continue  # the API server or the controller knows more units than we do
        if 0 < length < 1:
            yield f"has timeout.{part} {text}, which its controller takes for none at all or for 60s: set 1s or more"


def _backends(canary: Canary, names: Names, found: Found, there: RouteFound, rule: Json) -> Iterable[str]:
    service = canary.model.service
    listed = [json.text(backend, "serviceName") for backend in json.items(rule, "backends")]
    once = acceptance.second_line(there.source, there.generated)
    for backend in json.items(rule, "backends"):
        name, port = json.text(backend, "serviceName"), backend.get("servicePort")
        if once and listed.count(name) > 1:
            yield f"has backend {name} twice, which its controller refuses: make one of the two, with the weight of both"
        if json.text(backend, "resolveGranularity") == "service" and _headless(canary, names, found, there, name):
            yield (
                f"has backend {name} with resolveGranularity service, but its Service is headless: set it to endpoint, or give "
                "the Service an address"
            )
        if name == names.apex:
            ports = service_objects.ports(service, found.target) if service else []
            fix = "set it to one of them, or spec.service.port or portDiscovery of the Canary so that they have it"
        elif name not in there.services:
            yield f"has backend {name}, but there is no Service {name}: create it, or remove the backend"
            continue
        else:
            ports, fix = json.items(there.services[name], "spec", "ports"), "set it to one of them"
        known = {str(value) for each in ports for value in (each.get("port"), each.get("name")) if value}
        if str(port) not in known:
            has = ", ".join(sorted(known)) or "none"
            yield f"has backend {name} with servicePort {port}, but its Service has {has}: {fix}"


def _headless(canary: Canary, names: Names, found: Found, there: RouteFound, name: str) -> bool:
    """Has one of the Services that stand for this backend no address, now or as it will be made?"""
    ours = (names.apex, names.primary_service, names.canary_service)
    known = [found.services.get(each) for each in ours] if name == names.apex else [there.services.get(name)]
    asked = name == names.apex and canary.model.service is not None and canary.model.service.headless
    return any(json.text(each, "spec", "clusterIP") == "None" for each in known) or (asked and not any(known))


def _long_names(canary: Canary, names: Names, there: RouteFound) -> Iterable[str]:
    """Of what is there: nobody has to read of a name that isn't made."""
    for name in _apisix_names(canary, names, json.mapping(there.generated, "spec")):
        if LONGEST_BEFORE < len(name) <= LONGEST:
            yield (
                f"APISIX route {names.route}.{canary.spec.namespace} makes the route {name} in APISIX, which before 3.15 takes "
                f"{LONGEST_BEFORE} characters and not {len(name)}: give it or its http route a shorter name"
            )


def _doubts(canary: Canary, rule: Json) -> Iterable[str]:
    metrics = canary.model.analysis.metrics if canary.model.analysis else ()
    asked = any(metric.name in _GATEWAYS for metric in metrics)
    if asked and not plugins.enabled(rule, "prometheus") and not json.text(rule, "plugin_config_name"):
        yield (
            "has no plugin prometheus: unless a global rule has it, the builtin checks find no values; "
            "add {name: prometheus, enable: true, config: {prefer_name: true}}"
        )


def _apisix_names(canary: Canary, names: Names, spec: Json) -> tuple[str, ...]:
    made: Json = {"metadata": {"name": names.canary_route}, "spec": spec}
    return routes.apisix_names(made, canary.spec.namespace)
