"""Which rule answers a request. The order, as measured:

1. with the router `radixtree_host_uri`, a matching host beats no host, and an exact one a wildcard;
2. an exact path beats a prefix, a longer prefix a shorter one;
3. only among rules of the same path (and host) does the higher priority win, then the one listed first.

Methods and exprs only rule out; they give no precedence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aiohttp import web

from sandbox.gateway.config import Rule


@dataclass(frozen=True, slots=True)
class Match:
    """A rule by one of its paths and hosts, which become labels of the metrics."""

    rule: Rule
    path: str
    host: str


class Table:
    """The rules of one configuration, in the order in which they're tried."""

    def __init__(self, rules: Iterable[Rule] = (), *, host_first: bool = True) -> None:
        entries = [
            Match(rule, path, host)
            for rule in rules
            for path in dict.fromkeys(rule.paths)
            for host in rule.hosts or [""]
        ]
        rank = _host_then_path if host_first else _path
        self._entries = sorted(entries, key=rank, reverse=True)
        self._of_host: dict[str, Sequence[Match]] = {}

    def find(self, request: web.BaseRequest) -> Match | None:
        """The winner for this request."""
        host = request.host.rsplit(":", 1)[0].lower()
        path = request.path
        for entry in self._for(host):
            if _fits(entry.path, path) and _allows(entry.rule, request):
                return entry
        return None

    def _for(self, host: str) -> Sequence[Match]:
        """The entries that this host can reach; remembered, as a gateway serves few hosts and many requests."""
        if host not in self._of_host:
            self._of_host[host] = [entry for entry in self._entries if _is_for(entry.host, host)]
        return self._of_host[host]


def _path(entry: Match) -> tuple[bool, int, int]:
    return not entry.path.endswith("*"), len(entry.path), entry.rule.priority


def _host_then_path(entry: Match) -> tuple[bool, int, bool, int, int]:
    return not entry.host.startswith("*") and bool(entry.host), len(entry.host), *_path(entry)


def _is_for(pattern: str, host: str) -> bool:
    return not pattern or pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))


def _fits(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern


def _allows(rule: Rule, request: web.BaseRequest) -> bool:
    if rule.methods and request.method not in rule.methods:
        return False
    return all(condition.holds(request) for condition in rule.conditions)
