"""Which rules of other routes may answer the same request, and which of two rules would. Pure.

APISIX looks at the longest path first and compares priorities only between rules of the very same path. So siblings of a
rule are those that share one of its paths, and of them only those that one request could match as well.
"""

from collections.abc import Iterable
from typing import Final

from services.router.objects import COPIED
from shared.kube import json
from shared.kube.json import Json

Key = tuple[str, str]
_ANY: Final = ""
_ONE_OF: Final = frozenset({"Equal", "In"})
_OPPOSITES: Final = frozenset({
    frozenset({"Equal", "NotEqual"}), frozenset({"In", "NotIn"}), frozenset({"RegexMatch", "RegexNotMatch"}),
    frozenset({"RegexMatchCaseInsensitive", "RegexNotMatchCaseInsensitive"}),
})  # fmt: skip


class Siblings:
    """The http rules of all ApisixRoutes by path and host, kept up to date by `changed`: hundreds of routes share `/*`.

    What a Canary generates is left out: it stands right above its source, which is here.
    """

    def __init__(self, routes: Iterable[Json] = ()) -> None:
        self._found: dict[str, dict[str, dict[Key, list[Json]]]] = {}
        """Rules by path, by host, by route."""
        self._places: dict[Key, set[tuple[str, str]]] = {}
        for each in routes:
            self.changed(None, each)

    def changed(self, old: Json | None, new: Json | None) -> None:
        """A route was made, changed or deleted."""
        if old is not None:
            self._drop(_key(old))
        if new is not None:
            self._drop(_key(new))
            if not _generated(new):
                self._add(new)

    def sharing(self, rules: Iterable[Json], *but: Key) -> tuple[Json, ...]:
        """Rules of other routes than `but` that have a path in common with one of these, and may have a host."""
        found: dict[int, Json] = {}
        for path, host in {place for rule in rules for place in _places(rule)}:
            by_host = self._found.get(path, {})
            for each in (host, _ANY) if host else by_host:
                for key, there in by_host.get(each, {}).items():
                    if key not in but:
                        found.update({id(rule): rule for rule in there})
        return tuple(found.values())

    def _add(self, route: Json) -> None:
        key = _key(route)
        for rule in json.items(route, "spec", "http"):
            for path, host in _places(rule):
                by_host = self._found.setdefault(path, {})
                by_host.setdefault(host, {}).setdefault(key, []).append(rule)
                self._places.setdefault(key, set()).add((path, host))

    def _drop(self, key: Key) -> None:
        for path, host in self._places.pop(key, set()):
            by_host = self._found[path]
            del by_host[host][key]
            if not by_host[host]:
                del by_host[host]
            if not by_host:
                del self._found[path]


def _places(rule: Json) -> list[tuple[str, str]]:
    """Path and host, where a request for it may come from; `_ANY` stands for all hosts, and for those with a wildcard."""
    hosts = {each.lower() for each in _texts(rule, "hosts")}
    if not hosts or any(each.startswith("*") for each in hosts):
        hosts = {_ANY}
    return [(path, host) for path in paths(rule) for host in hosts]


def _key(route: Json) -> Key:
    return json.namespace(route), json.name(route)


def _generated(route: Json) -> bool:
    """By its owner; or by our mark, where somebody has cut the tie."""
    owners = json.items(route, "metadata", "ownerReferences")
    made = any(json.text(each, "kind") == "Canary" and json.flag(each, "controller") for each in owners)
    return made or COPIED in json.mapping(route, "metadata", "annotations")


def paths(rule: Json) -> set[str]:
    """The paths of a rule."""
    return set(_texts(rule, "paths"))


def priority(rule: Json) -> int:
    """The priority of a rule; 0 where it says nothing."""
    return json.number(rule, "priority")


def overlap(one: Json, other: Json) -> bool:
    """Could one request match both rules, so that their priorities decide? In doubt it could."""
    if not paths(one) & paths(other):
        return False
    methods = set(_texts(one, "methods")), set(_texts(other, "methods"))
    if all(methods) and not methods[0] & methods[1]:
        return False
    if not _hosts_overlap(_texts(one, "hosts"), _texts(other, "hosts")):
        return False
    return not any(
        _exclude(mine, theirs)
        for mine in json.items(one, "match", "exprs")
        for theirs in json.items(other, "match", "exprs")
    )


def _texts(rule: Json, field: str) -> list[str]:
    found = json.value(rule, "match", field)
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _hosts_overlap(ones: list[str], others: list[str]) -> bool:
    if not ones or not others:
        return True
    return any(_same_host(one.lower(), other.lower()) for one in ones for other in others)


def _same_host(one: str, other: str) -> bool:
    if one.startswith("*") and other.startswith("*"):
        return one.endswith(other[1:]) or other.endswith(one[1:])
    if other.startswith("*"):
        one, other = other, one
    return other.endswith(one[1:]) if one.startswith("*") else one == other


def _exclude(mine: Json, theirs: Json) -> bool:
    """Do these two conditions never hold together?"""
    if _subject(mine) != _subject(theirs):
        return False
    operators = json.text(mine, "op"), json.text(theirs, "op")
    values = _values(mine), _values(theirs)
    if set(operators) <= _ONE_OF:
        return not values[0] & values[1]
    return frozenset(operators) in _OPPOSITES and values[0] == values[1]


def _subject(expression: Json) -> tuple[str, str]:
    scope, name = json.text(expression, "subject", "scope"), json.text(expression, "subject", "name")
    return scope, name.lower().replace("-", "_") if scope == "Header" else name


def _values(expression: Json) -> frozenset[str]:
    given = json.value(expression, "set")
    return frozenset(map(str, given)) if isinstance(given, list) else frozenset({json.text(expression, "value")})
