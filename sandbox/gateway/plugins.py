"""What a rule's plugins do to requests and answers, as far as releases use them: headers of the answer, and copies."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from sandbox.controlplane.api import Json
from sandbox.gateway import exprs
from sandbox.gateway.dialect import Dialect

_ADDED: Final = re.compile(r"[^:]+:[^:]*[^/]")
"""What the schema asks of a header to add: no second colon, and no slash at the end."""
_PORTS: Final = {"http": 80, "https": 443}


class Invalid(Exception):
    """The plugin's schema refuses this configuration, and APISIX the whole route with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """response-rewrite: headers of the answer, under conditions."""

    added: tuple[tuple[str, str], ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    """They replace those of the same name."""
    conditions: tuple[exprs.Condition, ...] = ()

    def apply(self, request: web.BaseRequest, response: web.Response, node: str) -> None:
        """`node` is who answered, as `balancer_ip` says it; empty for the gateway itself."""
        if not all(condition.holds(request, {"balancer_ip": node}) for condition in self.conditions):
            return
        for name, value in self.given:
            response.headers[name] = value
        for name, value in self.added:
            response.headers.add(name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """proxy-mirror: copies of requests, whose answers nobody gets and no metric counts."""

    host: str
    port: int
    ratio: float


def rewrite(config: Json | None, dialect: Dialect) -> Rewrite | None:
    """Of a rule's plugin, if it has one. Raises Invalid."""
    if config is None:
        return None
    headers: Mapping[str, Json] = config.get("headers") or {}
    conditions = tuple(exprs.comparison(each) for each in config.get("vars") or ())
    if not dialect.added_headers or not {"add", "set", "remove"} & headers.keys():
        if any(isinstance(value, list | dict) for value in headers.values()):
            raise Invalid("a header must be a text")
        return Rewrite(given=tuple((name, str(value)) for name, value in headers.items()), conditions=conditions)
    for entry in headers.get("add") or ():
        if not _ADDED.fullmatch(entry):
            raise Invalid(f"no header to add: {entry}")
    return Rewrite(
        added=tuple(_header(entry) for entry in headers.get("add") or ()),
        given=tuple((name, str(value)) for name, value in (headers.get("set") or {}).items()),
        conditions=conditions,
    )


def mirror(config: Json | None) -> Mirror | None:
    """Of a rule's plugin, if it has one. Raises Invalid."""
    if config is None:
        return None
    found = urlsplit(config["host"])
    ratio = config.get("sample_ratio", 1)
    if found.scheme not in _PORTS or not found.hostname or found.path or not 0.00001 <= ratio <= 1:
        raise Invalid(f"proxy-mirror to {config['host']}, {ratio} of all requests")
    return Mirror(host=found.hostname, port=found.port or _PORTS[found.scheme], ratio=ratio)


def _header(entry: str) -> tuple[str, str]:
    name, _, value = entry.partition(":")
    return name.strip(), value.strip()
