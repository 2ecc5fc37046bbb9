"""The `exprs` of an ApisixRoute: conditions on one request, over nginx's variables."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from sandbox.controlplane.api import Json

_PREFIX: Final = {"Header": "http_", "Query": "arg_", "Cookie": "cookie_", "Variable": ""}

Values = tuple[str, ...]
Test = Callable[[str | None, Values], bool]


class Unsupported(Exception):
    """An operator or scope that APISIX or this double doesn't know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`variable` by nginx's name, compared with one value or a set."""

    variable: str
    test: Test
    values: Values

    def holds(self, request: web.BaseRequest, known: Mapping[str, str] | None = None) -> bool:
        """Is it so for this request? `known` are variables that only the answer has."""
        found = (known or {}).get(self.variable) or _variable(request, self.variable)
        return self.test(found, self.values)


def condition(expr: Json) -> Condition:
    """Of one entry of `match.exprs`."""
    subject, given = expr["subject"], expr.get("set")
    if expr["op"] not in _TESTS or subject["scope"] not in (*_PREFIX, "Path"):
        raise Unsupported(f"{subject['scope']} {expr['op']}")
    name = "uri" if subject["scope"] == "Path" else _PREFIX[subject["scope"]] + subject["name"]
    if subject["scope"] == "Header":
        name = name.lower().replace("-", "_")
    values = (expr.get("value") or "",) if given is None else given
    return Condition(variable=name, test=_TESTS[expr["op"]], values=tuple(map(str, values)))


def comparison(entry: Sequence[Any]) -> Condition:
    """Of one entry of a plugin's `vars`: variable, operator, value or values."""
    variable, operator, value = entry
    if operator not in _OPERATORS:
        raise Unsupported(f"{variable} {operator}")
    values = value if isinstance(value, list) else [value]
    return Condition(variable=variable, test=_TESTS[_OPERATORS[operator]], values=tuple(map(str, values)))


def _variable(request: web.BaseRequest, name: str) -> str | None:
    kind, _, rest = name.partition("_")
    if kind == "http" and rest:
        return request.headers.get(rest.replace("_", "-"))
    if kind == "arg" and rest:
        return request.query.get(rest)
    if kind == "cookie" and rest:
        return request.cookies.get(rest)
    plain: Mapping[str, str] = {"uri": request.path, "request_method": request.method, "host": request.host}
    return plain.get(name)


def _less(found: str | None, than: str) -> bool:
    try:
        return float(found or "") < float(than)
    except ValueError:
        return False


def _matches(found: str | None, values: Values, flags: re.RegexFlag = re.NOFLAG) -> bool:
    return found is not None and re.search(values[0], found, flags) is not None


_TESTS: Final[Mapping[str, Test]] = {
    "Equal": lambda found, values: found == values[0],
    "NotEqual": lambda found, values: found != values[0],
    "LessThan": lambda found, values: _less(found, values[0]),
    "GreaterThan": lambda found, values: _less(values[0], found or ""),
    "LessThanEqual": lambda found, values: found == values[0] or _less(found, values[0]),
    "GreaterThanEqual": lambda found, values: found == values[0] or _less(values[0], found or ""),
    "In": lambda found, values: found in values,
    "NotIn": lambda found, values: found not in values,
    "RegexMatch": _matches,
    "RegexNotMatch": lambda found, values: not _matches(found, values),
    "RegexMatchCaseInsensitive": lambda found, values: _matches(found, values, re.IGNORECASE),
    "RegexNotMatchCaseInsensitive": lambda found, values: not _matches(found, values, re.IGNORECASE),
}
_OPERATORS: Final = {"==": "Equal", "~=": "NotEqual", "in": "In", "~~": "RegexMatch"}
