"""The generated rules that stand in the place of one rule of the source route. Pure.

From the lowest priority up: the rule itself, those who have the primary's cookie, those who have the canary's, and the
alternatives of `analysis.match`, the first on top (below the cookies while they rest). All have the rule's own conditions and more, and every one has the
same backends with weights of its own, so that nothing has to be born in the gateway when traffic moves. What they have
in common with the source is the source's: nobody changes it.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.router import backends, plugins
from services.router.shape import Affinity, Alternative, Condition, Operator, Scope, Shape
from shared.canary.names import Names
from shared.kube import json
from shared.kube.json import Json

_PINNED: Final = "-canary-"
_STICKY, _STAYING = "-sticky", "-primary"
ADDED: Final = re.compile(rf"(.+)({_PINNED}\d+|{_STICKY}|{_STAYING})")
"""What a rule is called that stands above the one it is made from, which the first group names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """What of the gateway and the cluster the rules have to know."""

    nodes: tuple[str, ...] = ()
    """The canary's addresses as the gateway knows them."""
    mirrors: Mapping[int | str, str] = field(default_factory=dict)
    """Where copies for a port of the apex go, by its number or name: the canary's URL."""
    replace_cookies: bool = False
    """APISIX before 3.0."""


def made(rule: Json, names: Names, shape: Shape, gateway: Gateway) -> list[Json]:
    """The rules for this shape, without priorities. Raises plugins.Unusable."""
    found = [_base(rule, names, shape, gateway)]
    if not shape.pinned:
        found += _described(rule, names, shape, shape.resting)
    if shape.affinity is not None:
        found += _held(rule, names, shape, shape.affinity, gateway)
    return found + _described(rule, names, shape, shape.pinned)


def added(name: str, known: Container[str]) -> str:
    """The suffix of a rule that stands above another of the known ones; empty for one of the source's own."""
    found = ADDED.fullmatch(name)
    return found[2] if found and found[1] in known else ""


def pins(name: str, known: Container[str]) -> bool:
    """Is it one of those that testers are pinned by?"""
    return added(name, known).startswith(_PINNED)


def percent(name: str, known: Container[str], shape: Shape) -> int:
    """The canary's percent of a generated rule of that name."""
    suffix, affinity = added(name, known), shape.affinity
    if suffix.startswith(_PINNED) and shape.pinned:
        return 100
    if suffix == _STICKY and affinity is not None and affinity.value:
        return 100 if shape.weight > 0 else 0
    if suffix == _STAYING:
        return 100 if shape.weight >= 100 else 0
    return shape.weight


def needs(shape: Shape) -> plugins.Needs:
    """Of the gateway's plugins."""
    affinity = shape.affinity
    primary = affinity is not None and bool(affinity.primary_cookie)
    return plugins.Needs(cookie=affinity is not None, primary_cookie=primary, mirror=shape.mirror > 0)


def _base(rule: Json, names: Names, shape: Shape, gateway: Gateway) -> Json:
    base = {**rule, **backends.divided(rule, names, shape.weight)}
    affinity, extra = shape.affinity, []
    if affinity is not None and affinity.value and gateway.nodes and shape.weight > 0:
        extra.append(plugins.cookie(rule, affinity, gateway.nodes, replace=gateway.replace_cookies))
        if affinity.primary_cookie and affinity.primary_value and shape.weight < 100:
            extra.append(plugins.stay(affinity, gateway.nodes))
    if shape.mirror > 0:
        extra.append(plugins.mirror(plugins.Mirror(_mirror_host(rule, names, gateway), shape.mirror)))
    if extra:
        base["plugins"] = plugins.joined(base, extra)
    return base


def _mirror_host(rule: Json, names: Names, gateway: Gateway) -> str:
    ours = next(each for each in json.items(rule, "backends") if json.text(each, "serviceName") == names.apex)
    port = ours.get("servicePort")
    if not isinstance(port, int | str) or port not in gateway.mirrors:
        title = f"http route {json.text(rule, 'name')}"
        raise plugins.Unusable(f"{title} has servicePort {port!r}, which Service {names.canary_service} doesn't have")
    return gateway.mirrors[port]


def _described(rule: Json, names: Names, shape: Shape, alternatives: tuple[Alternative, ...]) -> list[Json]:
    numbered = reversed(list(enumerate(alternatives, 1)))
    return [_with(rule, names, f"{_PINNED}{index}", shape, alternative) for index, alternative in numbered]


def _held(rule: Json, names: Names, shape: Shape, affinity: Affinity, gateway: Gateway) -> list[Json]:
    """Those that a cookie holds on one side; and, when no cookie is given any more, those that still have an old one."""
    found = []
    if affinity.primary_cookie and affinity.primary_value and affinity.value:
        theirs = _cookie(affinity.primary_cookie, affinity.primary_value)
        found.append(_with(rule, names, _STAYING, shape, (theirs,)))
    if affinity.value:
        found.append(_with(rule, names, _STICKY, shape, (_cookie(affinity.cookie, affinity.value),)))
    elif affinity.expired:
        old = "^(" + "|".join(re.escape(value) for value in affinity.expired) + ")$"
        leaving = _with(rule, names, _STICKY, shape, (_cookie(affinity.cookie, old, Operator.REGEX),))
        leave = plugins.goodbye(rule, affinity, replace=gateway.replace_cookies)
        leaving["plugins"] = plugins.joined(rule, [leave])
        found.append(leaving)
    return found


def _cookie(name: str, value: str, operator: Operator = Operator.EXACT) -> Condition:
    return Condition(Scope.COOKIE, name, operator, value)


def _with(rule: Json, names: Names, suffix: str, shape: Shape, conditions: Alternative) -> Json:
    """The rule for requests that fulfil these conditions as well."""
    title = json.text(rule, "name")
    share = percent(title + suffix, {title}, shape)
    found = {**rule, **backends.divided(rule, names, share), "name": title + suffix}
    match = dict(json.mapping(found, "match"))
    match["exprs"] = [*json.items(match, "exprs"), *map(expression, conditions)]
    found["match"] = match
    return found


def expression(condition: Condition) -> Json:
    """A condition as ApisixRoute has it. A regular expression is searched for anywhere in the value, as APISIX does."""
    operator, value = {
        Operator.EXACT: ("Equal", condition.value),
        Operator.REGEX: ("RegexMatch", condition.value),
        Operator.PREFIX: ("RegexMatch", "^" + re.escape(condition.value)),
        Operator.SUFFIX: ("RegexMatch", re.escape(condition.value) + "$"),
    }[condition.operator]
    return {"subject": {"scope": str(condition.scope), "name": condition.name}, "op": operator, "value": value}
