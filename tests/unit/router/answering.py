"""A reference for what APISIX answers, written from its documented order alone: who may win a request, and who serves it.

Hosts first where the router is `radixtree_host_uri`, then the longest path, then priority, then the order of the list;
between routes equal priority decides nothing, so several rules may win.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    host: str
    path: str
    method: str
    headers: Mapping[str, str] = field(default_factory=dict)
    cookies: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule with its place: which route, and where it is listed there."""

    route: str
    index: int
    spec: Json


def rules(name: str, spec: Json | None) -> list[Rule]:
    return [Rule(route=name, index=index, spec=each) for index, each in enumerate((spec or {}).get("http") or [])]


def winners(every: Iterable[Rule], request: Request, *, host_first: bool) -> list[Rule]:
    """Those that may answer: one, or several where nothing decides."""
    ranked = [(rank, rule) for rule in every for rank in _ranks(rule.spec, request, host_first=host_first)]
    if not ranked:
        return []
    best = max(rank for rank, _ in ranked)
    first: dict[str, Rule] = {}
    for rank, rule in ranked:
        if rank == best and (rule.route not in first or rule.index < first[rule.route].index):
            first[rule.route] = rule
    return list(first.values())


def served(rule: Rule) -> dict[str, Fraction]:
    """Who serves what share of the rule's requests."""
    entries = [
        *((each["serviceName"], each.get("weight", 100)) for each in rule.spec.get("backends") or []),
        *(("upstream " + each["name"], each.get("weight", 100)) for each in rule.spec.get("upstreams") or []),
    ]
    if len(entries) == 1 or not any(weight for _, weight in entries):
        entries = [(name, 1) for name, _ in entries]
    total, found = sum(weight for _, weight in entries), dict[str, Fraction]()
    for name, weight in entries:
        if weight:
            found[name] = found.get(name, Fraction()) + Fraction(weight, total)
    return found


def _ranks(rule: Json, request: Request, *, host_first: bool) -> Iterator[tuple[Any, ...]]:
    match = rule["match"]
    if match.get("methods") and request.method not in match["methods"]:
        return
    if not all(_holds(each, request) for each in match.get("exprs") or []):
        return
    hosts = [host for host in match.get("hosts") or [""] if _is_for(host, request.host)]
    paths = [path for path in match["paths"] if _fits(path, request.path)]
    for host in hosts:
        for path in paths:
            place = (not path.endswith("*"), len(path), rule.get("priority", 0))
            yield (bool(host) and not host.startswith("*"), len(host), *place) if host_first else place


def _is_for(pattern: str, host: str) -> bool:
    return not pattern or pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))


def _fits(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _holds(expression: Json, request: Request) -> bool:
    scope, name = expression["subject"]["scope"], expression["subject"]["name"]
    found = {
        "Header": {key.lower(): value for key, value in request.headers.items()}.get(name.lower()),
        "Cookie": request.cookies.get(name),
        "Query": request.query.get(name),
    }[scope]
    match expression["op"]:
        case "Equal":
            return bool(found == expression["value"])
        case "NotEqual":
            return bool(found != expression["value"])
        case "In":
            return found in expression["set"]
        case "RegexMatch":
            return found is not None and re.search(expression["value"], found) is not None
    raise AssertionError(f"the reference doesn't know {expression['op']}")
