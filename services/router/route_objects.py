"""The generated ApisixRoutes of one canary, as objects: one for each route that people name. Pure."""

from collections.abc import Iterable
from datetime import datetime

from services.router import acceptance, routes, service_objects, upstreams
from services.router.found import Found, RouteFound
from services.router.objects import COPIED, OPT_OUT, Options, Wanted, owners
from services.router.parse import Canary
from services.router.rules import Gateway
from services.router.shape import Shape
from shared.canary.names import Names
from shared.kube import json, kinds
from shared.kube.json import Json


def generated(canary: Canary, found: Found, shape: Shape, options: Options) -> Iterable[Wanted]:
    """What each source makes; where one is gone or unusable, what it made before, with our weights."""
    for names in canary.names.each_route():
        there = found.routes.get(names.route, RouteFound())
        services = {names.primary_service, names.canary_service}
        if there.generated is None and found.target is None and services - found.services.keys():
            continue  # nobody makes them now, and a backend that isn't there leaves its share to the other
        try:
            spec = spec_of(canary, names, found, shape, options)
        except routes.NoRoute:  # people have been told; what it generated keeps serving
            if there.generated is not None:
                spec = routes.reweighted(there.generated, names, shape)
                yield Wanted(kinds.APISIX_ROUTE, names.canary_route, None, {("spec",): spec})
            continue
        have = json.mapping(there.generated, "spec")
        # Taken over as Flagger wrote it; the next weight writes it anew.
        yield _wanted(canary, names, found, have if routes.alike(have, spec) else spec)


def spec_of(canary: Canary, names: Names, found: Found, shape: Shape, options: Options) -> Json:
    """The spec of the route that one source makes. Raises NoRoute."""
    there = found.routes.get(names.route, RouteFound())
    around = routes.Around(
        have=there.generated,
        others=there.siblings,
        gateway=_gateway(canary, names, found, there, options),
        shy=acceptance.second_line(there.source, there.generated),
        settled=found.at is not None and acceptance.taken_in(there.generated, found.at, options.settle),
    )
    return routes.generated_spec(there.source or {}, names, canary.spec.namespace, shape, around)


def _gateway(canary: Canary, names: Names, found: Found, there: RouteFound, options: Options) -> Gateway:
    service = json.text(found.services.get(names.canary_service), "spec", "clusterIP")
    by = routes.granularities(there.source, names.apex)
    addresses = (service,) if "service" in by and service not in {"", "None"} else ()
    host = f"{upstreams.scheme(found)}://{names.canary_service}.{canary.spec.namespace}.svc.{options.cluster_domain}"
    ports = service_objects.ports(canary.model.service, found.target) if canary.model.service else []
    numbers = {json.number(port, "port"): json.text(port, "name") for port in ports}
    return Gateway(
        nodes=(*addresses, *(found.nodes if by - {"service"} else ())),
        mirrors={key: f"{host}:{number}" for number, name in numbers.items() for key in (number, name, str(number))},
        replace_cookies=options.apisix_before_3,
    )


def _wanted(canary: Canary, names: Names, found: Found, spec: Json) -> Wanted:
    there = found.routes.get(names.route, RouteFound())
    metadata = _metadata(there)
    metadata["annotations"][acceptance.LOW_SINCE] = _low_since(there, spec, found.at)
    body: Json = {
        "apiVersion": kinds.APISIX_ROUTE.api_version,
        "kind": kinds.APISIX_ROUTE.kind,
        "metadata": {
            "name": names.canary_route,
            "namespace": canary.spec.namespace,
            "labels": _present(metadata["labels"]),
            "annotations": _present(metadata["annotations"]),
            "ownerReferences": owners(canary, found),
        },
        "spec": spec,
    }
    # A route of Flagger's, or of an older version's, is left as it is until there is something to write.
    ours = COPIED in json.mapping(there.generated, "metadata", "annotations")
    merged = {"metadata": metadata} if ours or json.mapping(there.generated, "spec") != spec else {}
    return Wanted(kinds.APISIX_ROUTE, names.canary_route, body, {("spec",): spec}, merged)


def _metadata(there: RouteFound) -> Json:
    """Labels and annotations as they follow the source; what it no longer has is None. Everybody else's keys stay."""
    parts = {part: routes.copied(json.mapping(there.source, "metadata", part)) for part in ("labels", "annotations")}
    record = " ".join(sorted(f"{part}:{key}" for part, found in parts.items() for key in found))
    before = json.text(there.generated, "metadata", "annotations", COPIED).split()
    gone: dict[str, Json] = {part: {} for part in parts}
    for part, _, key in (each.partition(":") for each in before):
        if part in parts and key not in parts[part]:
            gone[part][key] = None
    return {
        "labels": {**gone["labels"], **parts["labels"]},
        "annotations": {**gone["annotations"], **parts["annotations"], **OPT_OUT, COPIED: record},
    }


def _low_since(there: RouteFound, spec: Json, at: datetime | None) -> str | None:
    """Since when the same rules are low; None where none is."""
    low = routes.low(spec, there.source or {})
    if not low or at is None:
        return None
    before = routes.low(json.mapping(there.generated, "spec"), there.source or {})
    since = acceptance.low_since(there.generated) if before == low else None
    return (since or at).isoformat()


def _present(metadata: Json) -> Json:
    return {key: value for key, value in metadata.items() if value is not None}
