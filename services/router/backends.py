"""Who answers a rule: the apex Service's share divided between primary and canary, everybody else's as it was. Pure.

Weights are whole numbers, explicit, and never all zero: APISIX takes an absent one for 100 and splits evenly between
zeros. Where the apex stands alone they sum to 100, as with Flagger.
"""

import math
from collections.abc import Sequence
from typing import Final

from shared.canary.names import Names
from shared.kube import json
from shared.kube.json import Json

_ABSENT: Final = 100
"""What a backend without a weight counts in APISIX's ingress controller."""


def divided(rule: Json, names: Names, percent: int) -> Json:
    """The rule's `backends` (and `upstreams`, if it has any) with `percent` of the apex's share on the canary."""
    backends, upstreams = json.items(rule, "backends"), json.items(rule, "upstreams")
    weights = _relative([*backends, *upstreams])
    found: list[Json] = []
    for backend, weight in zip(backends, weights, strict=False):
        if json.text(backend, "serviceName") != names.apex:
            found.append({**backend, "weight": weight * 100})
            continue
        found.append({**backend, "serviceName": names.primary_service, "weight": weight * (100 - percent)})
        found.append({**backend, "serviceName": names.canary_service, "weight": weight * percent})
    if not upstreams:
        return {"backends": found}
    outside = [
        {**each, "weight": weight * 100} for each, weight in zip(upstreams, weights[len(backends) :], strict=True)
    ]
    return {"backends": found, "upstreams": outside}


def _relative(entries: Sequence[Json]) -> list[int]:
    """Weights in lowest terms."""
    weights = [max(json.number(each, "weight", default=_ABSENT), 0) for each in entries]
    if len(weights) == 1 or not any(weights):
        return [1] * len(weights)
    step = math.gcd(*weights)
    return [weight // step for weight in weights]


def redivided(rule: Json, names: Names, percent: int) -> list[Json]:
    """The backends of a generated rule with another percentage, and nothing else changed."""
    backends = json.items(rule, "backends")
    ours = {names.primary_service: 100 - percent, names.canary_service: percent}
    whole = sum(max(json.number(each, "weight"), 0) for each in backends if json.text(each, "serviceName") in ours)
    parts = whole // 100 if whole % 100 == 0 and whole else 1
    return [
        {**each, "weight": ours[name] * parts} if (name := json.text(each, "serviceName")) in ours else each
        for each in backends
    ]


def percent(rule: Json, names: Names) -> int:
    """The canary's part of what primary and canary get together, of a generated rule."""
    weights = {json.text(each, "serviceName"): json.value(each, "weight") for each in json.items(rule, "backends")}
    canary, primary = weights.get(names.canary_service), weights.get(names.primary_service)
    if not isinstance(canary, int) or canary <= 0:
        return 0
    whole = canary + primary if isinstance(primary, int) and primary >= 0 else 100
    return min(round(100 * canary / whole), 100)


def among_others(rule: Json) -> bool:
    """Does the rule send to more than one place?"""
    return len(json.items(rule, "backends")) + len(json.items(rule, "upstreams")) > 1
