"""What the gateway does to a canary's requests and answers beside dividing them: copies and cookies. Pure.

A rule can have each plugin once, and nobody's own is replaced. Where it has a `response-rewrite`, cookies are given by a
function instead: conditions of that plugin hold for all that it does, and ours may not hold for theirs. Functions go
together in one plugin. What can't go together, two mirrors or two ways to divide, is refused.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.router.shape import Affinity
from shared.canary.names import Names
from shared.kube import json
from shared.kube.json import Json

REWRITE: Final = "response-rewrite"
MIRROR: Final = "proxy-mirror"
SPLIT: Final = "traffic-split"
FUNCTION: Final = "serverless-post-function"
_TOKEN: Final = re.compile(r"[0-9A-Za-z_.-]+")
_ATTRIBUTE: Final = re.compile(r"[^\x00-\x1f\x7f;:\"\\$]*")
"""APISIX takes no second colon in a header to add, and a dollar for a variable."""


class Unusable(Exception):
    """A plugin that people wrote, or a field of theirs, doesn't go with what the Canary asks; the text says what to do."""


_PHASE: Final = "header_filter"
_GIVE: Final = """return function(conf, ctx)
  local canary = {%s}
  if %s then
    local found = ngx.header["Set-Cookie"]
    local all = type(found) == "table" and found or {found}
    all[#all + 1] = "%s"
    ngx.header["Set-Cookie"] = all
  end
end"""
_CANARYS, _OTHERS, _ALL = "canary[ctx.balancer_ip]", "ctx.balancer_ip and not canary[ctx.balancer_ip]", "true"
"""Whose answers get a cookie."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where copies of requests go, and of how many."""

    host: str
    ratio: float


def enabled(rule: Json, name: str) -> bool:
    """Does the rule have this plugin, switched on?"""
    return any(_is(each, name) for each in json.items(rule, "plugins"))


def _is(plugin: Json, name: str) -> bool:
    return json.text(plugin, "name") == name and json.value(plugin, "enable") is not False


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a Canary's strategy will ask of the gateway's plugins."""

    cookie: bool = False
    primary_cookie: bool = False
    mirror: bool = False


def check(rule: Json, needs: Needs, *, alone: bool) -> None:
    """Raises Unusable where the rule's own plugins rule out what is asked. `alone`: nobody but the apex has a share."""
    title = f"http route {json.text(rule, 'name')}"
    if enabled(rule, SPLIT):
        raise Unusable(f"{title} has the plugin {SPLIT}, which overrides all weights: remove it")
    by_function = needs.primary_cookie or (needs.cookie and enabled(rule, REWRITE))
    if by_function and any(not _joinable(each) for each in _functions_of(rule)):
        raise Unusable(
            f"{title} has the plugin {FUNCTION}, which spec.analysis.sessionAffinity needs with the phase {_PHASE} and nothing "
            "else but functions: change it, or remove one of them"
        )
    if needs.mirror and enabled(rule, MIRROR):
        raise Unusable(f"{title} has the plugin {MIRROR}, which spec.analysis.mirror needs: remove one of them")
    if needs.mirror and not alone:
        raise Unusable(
            f"{title} has other backends too, whose requests would be mirrored as well: remove spec.analysis.mirror, or "
            "give the other backends a rule of their own"
        )


def mirror(to: Mirror) -> Json:
    """Copies requests to the canary, whose answers are dropped."""
    config: Json = {"host": to.host}
    if to.ratio < 1:
        config["sample_ratio"] = to.ratio
    return {"name": MIRROR, "enable": True, "config": config}


def copies_to(plugin: Json, names: Names) -> bool:
    """Is this our copying to the canary?"""
    host = json.text(plugin, "config", "host")
    return json.text(plugin, "name") == MIRROR and f"://{names.canary_service}." in host


def cookie(rule: Json, affinity: Affinity, nodes: Iterable[str], *, replace: bool) -> Json:
    """Gives the cookie to whom one of these nodes answered. `replace`: APISIX before 3.0, which can't add a header."""
    text = _cookie(affinity, affinity.cookie, affinity.value, affinity.max_age)
    if enabled(rule, REWRITE):
        return _function(_given(nodes, _CANARYS, text))
    return _rewrite(text, [["balancer_ip", "in", sorted(_spellings(nodes))]], replace=replace)


def stay(affinity: Affinity, nodes: Iterable[str]) -> Json:
    """Gives the primary's cookie to whom nobody of these nodes answered."""
    text = _cookie(affinity, affinity.primary_cookie, affinity.primary_value, affinity.primary_max_age)
    return _function(_given(nodes, _OTHERS, text))


def goodbye(rule: Json, affinity: Affinity, *, replace: bool) -> Json:
    """Takes the cookie from whoever still has it."""
    text = _cookie(affinity, affinity.cookie, "deleted", 0)
    return _function(_given((), _ALL, text)) if enabled(rule, REWRITE) else _rewrite(text, [], replace=replace)


def joined(rule: Json, extra: Iterable[Json]) -> list[Json]:
    """The rule's plugins with ours, which `check` found to go together. Of functions ours come first, since one of
    theirs may end the row, and ours never do."""
    own, ours = json.items(rule, "plugins"), list(extra)
    functions = [each for each in ours if each["name"] == FUNCTION]
    if not functions:
        return [*own, *ours]
    theirs = _functions_of(rule)
    kept = [each for each in (*own, *ours) if each not in functions and each not in theirs]
    return [*kept, _function(*(text for each in (*functions, *theirs) for text in each["config"]["functions"]))]


def _functions_of(rule: Json) -> list[Json]:
    return [each for each in json.items(rule, "plugins") if _is(each, FUNCTION)]


def _joinable(plugin: Json) -> bool:
    """Would another function in it run as theirs do? A filter, a secret or a priority would be ours as well."""
    config = json.mapping(plugin, "config")
    alone = plugin.keys() <= {"name", "enable", "config"} and config.keys() == {"phase", "functions"}
    return alone and config["phase"] == _PHASE


def _function(*texts: str) -> Json:
    return {"name": FUNCTION, "enable": True, "config": {"phase": _PHASE, "functions": list(texts)}}


def _given(nodes: Iterable[str], to: str, text: str) -> str:
    """A function that adds a cookie to some answers, whatever cookies they have."""
    known = ", ".join(f'["{node}"] = true' for node in sorted(_spellings(nodes)))
    return _GIVE % (known, to, text)


def _rewrite(text: str, conditions: list[list[object]], *, replace: bool) -> Json:
    headers: Json = {"Set-Cookie": text} if replace else {"add": [f"Set-Cookie: {text}"]}
    config: Json = {"headers": headers}
    if conditions:
        config["vars"] = conditions
    return {"name": REWRITE, "enable": True, "config": config}


def _cookie(affinity: Affinity, name: str, value: str, max_age: int) -> str:
    """Max-Age comes last: APISIX refuses a header to add that ends in a slash, as `Path=/` would."""
    field = "spec.analysis.sessionAffinity"
    if not _TOKEN.fullmatch(name):
        which = "cookieName" if name == affinity.cookie else "primaryCookieName"
        raise Unusable(f"{field}.{which} {name!r} is no name of a cookie: use letters, digits, - and _")
    for part, given in (("domain", affinity.domain), ("path", affinity.path), ("sameSite", affinity.same_site)):
        if not _ATTRIBUTE.fullmatch(given):
            raise Unusable(f"{field}.{part} {given!r} has a character that APISIX takes for something else: remove it")
    parts = [
        f"{name}={value}",
        f"Domain={affinity.domain}" if affinity.domain else "",
        f"Path={affinity.path}" if affinity.path else "",
        f"SameSite={affinity.same_site}" if affinity.same_site else "",
        "Secure" if affinity.secure else "",
        "HttpOnly" if affinity.http_only else "",
        "Partitioned" if affinity.partitioned else "",
        f"Max-Age={max_age}",
    ]
    return "; ".join(part for part in parts if part)


def _spellings(nodes: Iterable[str]) -> set[str]:
    """An IPv6 address is bracketed by newer gateways, and plain with older ones."""
    found = set(nodes)
    return found | {f"[{node}]" for node in found if ":" in node}
