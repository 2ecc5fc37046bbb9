"""Everything of the cluster that one canary rests on, as values. Pure; `services.router.world` fills it from caches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.router.revision import revision
from shared.kube import json
from shared.kube.json import Json
from shared.kube.kinds import Kind

REVISION: Final = "serinus.dev/revision"
"""Annotation of the primary: the revision it was made from, written in the same request as its template."""
PROMOTION: Final = "serinus.dev/promotion"
"""Annotation of the primary: id of the copy it carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFound:
    """One of a canary's routes, by what is there."""

    source: Json | None = None
    """The route that people wrote."""
    generated: Json | None = None
    siblings: tuple[Json, ...] = ()
    """Rules of other routes that have a path in common with it."""
    services: Mapping[str, Json] = field(default_factory=dict)
    """Services beside the apex that its managed rules send to, as far as they exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything of the cluster that one canary rests on, as it is right now."""

    at: datetime | None = None
    """When this was so."""
    target: Json | None = None
    primary: Json | None = None
    services: Mapping[str, Json] = field(default_factory=dict)
    """The apex, primary and canary Service by name, as far as they exist."""
    routes: Mapping[str, RouteFound] = field(default_factory=dict)
    """By the name of the source."""
    classes: tuple[Json, ...] | None = None
    """IngressClasses, as `services.router.classes` keeps them; None where they may not be read."""
    upstream: Json | None = None
    """The ApisixUpstream of the apex Service."""
    upstream_copies: Mapping[str, Json] = field(default_factory=dict)
    """Those of the primary and canary Service by name, as far as they exist."""
    autoscaler: Json | None = None
    primary_autoscaler: Json | None = None
    other_autoscaler: str = ""
    """Name of an autoscaler that scales the target although the Canary names none."""
    nodes: tuple[str, ...] = ()
    """Ready addresses behind the canary Service."""
    primary_nodes: tuple[str, ...] = ()
    """The same behind the primary Service."""
    templates: Mapping[tuple[str, str], Json] = field(default_factory=dict)
    """MetricTemplates that the Canary names, by (namespace, name), as far as they exist."""
    configs: Mapping[str, str] | None = None
    """Checksums of tracked configs by key (`configmap/x`); None while tracking is off."""
    config_problem: str = ""
    copies: Mapping[str, str] = field(default_factory=dict)
    """Checksums that the primary's copies carry, by the source's key."""
    rival: str = ""
    """`N.NS` of an older Canary with the same target."""
    invalid: str = ""
    """Why this Canary can't be read."""
    hold: str = ""
    """Why this Canary's status isn't ours alone."""
    belongings: tuple[tuple[Kind, Json], ...] = ()
    """What would go with the Canary; looked for once it is deleted."""
    trouble: str = ""
    """Why the API server refused what is wanted."""

    @property
    def generated(self) -> tuple[Json, ...]:
        """The generated routes that are there."""
        return tuple(each.generated for each in self.routes.values() if each.generated is not None)


def target_revision(found: Found) -> str:
    """The revision that the target shows now."""
    return revision(json.mapping(found.target, "spec", "template"), found.configs or {})
