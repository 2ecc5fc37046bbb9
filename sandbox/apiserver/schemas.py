"""Structural schemas of custom resources: one walk prunes unknown fields, fills in defaults and validates. Pure.

A schema is compiled once. What is not read: CEL rules (`x-kubernetes-validations`), list types, and formats other than
`date-time`. Objects are never changed; parts that need no change are shared with the answer.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from sandbox.apiserver.errors import Cause, invalid_value, required
from sandbox.apiserver.kinds import Json

_HEAD: Final = ("apiVersion", "kind", "metadata")
_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: not isinstance(value, bool) and isinstance(value, int | float) and value == int(value),
    "number": lambda value: not isinstance(value, bool) and isinstance(value, int | float),
}
Check = Callable[[Any, str], Cause | None]


class Findings:
    """What a walk met: faults, and the paths of fields that the schema doesn't know."""

    __slots__ = ("causes", "unknown")

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self.unknown: list[str] = []


class Schema:
    """A compiled schema. `prune` is off inside of allOf, anyOf, oneOf and not, whose fields are declared elsewhere."""

    def __init__(self, raw: Json, *, prune: bool = True) -> None:
        self.type: str = raw.get("type", "")
        self.int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
        self.nullable = bool(raw.get("nullable"))
        self.keep = not prune or bool(raw.get("x-kubernetes-preserve-unknown-fields"))
        self.embedded = bool(raw.get("x-kubernetes-embedded-resource"))
        self.required: list[str] = raw.get("required", [])
        self.properties = {name: Schema(each, prune=prune) for name, each in raw.get("properties", {}).items()}
        self.defaults = {n: each["default"] for n, each in raw.get("properties", {}).items() if "default" in each}
        more = raw.get("additionalProperties")
        self.additional = (
            Schema(more, prune=prune) if isinstance(more, dict) else Schema({}, prune=False) if more else None
        )
        self.items = Schema(raw["items"], prune=prune) if "items" in raw else None
        self.checks: list[Check] = [*_value_checks(raw), *_combinations(raw)]

    def walk(self, value: Any, path: str, found: Findings) -> Any:
        """The value, pruned and with defaults. Its faults are added to `found`."""
        if value is None and self.nullable:
            return None
        if not self._typed(value):
            type_text = "integer,string" if self.int_or_string else self.type
            shown = _type_name(value)
            text = f'{path or "<root>"} in body must be of type {type_text}: "{shown}"'
            found.causes.append(Cause(path, "FieldValueTypeInvalid", f'Invalid value: "{shown}": {text}'))
            return value
        if isinstance(value, dict):
            value = self._walk_object(value, path, found)
        elif isinstance(value, list) and self.items:
            walked = [self.items.walk(each, f"{path}[{index}]", found) for index, each in enumerate(value)]
            value = walked if any(new is not old for new, old in zip(walked, value, strict=True)) else value
        for check in self.checks:
            if fault := check(value, path):
                found.causes.append(fault)
        return value

    def _typed(self, value: Any) -> bool:
        if self.int_or_string:
            return isinstance(value, str) or _TYPES["integer"](value)
        return not self.type or _TYPES[self.type](value)

    def _walk_object(self, value: Json, path: str, found: Findings) -> Json:
        changed: Json = {}
        dropped: list[str] = []
        for name, each in value.items():
            if name in _HEAD and (self.embedded or not path):
                continue  # the server's own, whatever the schema says of it
            child = self.properties.get(name) or self.additional
            below = f"{path}.{name}" if path else name
            if child is None:
                if not self._keeps():
                    dropped.append(name)
                    found.unknown.append(below)
            elif each is None and name in self.defaults and not child.nullable:
                dropped.append(name)
            elif (walked := child.walk(each, below, found)) is not each:
                changed[name] = walked
        for name, default in self.defaults.items():
            if name not in value or name in dropped:
                changed[name] = self.properties[name].walk(default, f"{path}.{name}" if path else name, found)
        if changed or dropped:
            value = {name: each for name, each in value.items() if name not in dropped} | changed
        for name in self.required:
            if name not in value:
                found.causes.append(required(f"{path}.{name}" if path else name))
        return value

    def _keeps(self) -> bool:
        return self.keep or (not self.properties and not self.type)

    def accepts(self, value: Any, path: str) -> bool:
        found = Findings()
        self.walk(value, path, found)
        return not found.causes


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for name, test in _TYPES.items() if test(value)), "unknown")


def _value_checks(raw: Json) -> Iterator[Check]:
    """The keywords that look at one value and nothing below it."""
    if allowed := raw.get("enum"):
        yield _enum(allowed)
    if (pattern := raw.get("pattern")) is not None:
        matcher = re.compile(pattern)
        yield _check(str, lambda value: bool(matcher.search(value)), f"should match '{pattern}'")
    if raw.get("format") == "date-time":
        yield _check(str, lambda value: bool(_DATE_TIME.fullmatch(value)), "must be of type date-time")
    numbers: list[tuple[str, Callable[[Any, Any], bool], str]] = [
        ("minimum", lambda v, bound: v >= bound, "should be greater than or equal to {}"),
        ("maximum", lambda v, bound: v <= bound, "should be less than or equal to {}"),
        ("multipleOf", lambda v, bound: v % bound == 0, "should be a multiple of {}"),
    ]
    for keyword, test, text in numbers:
        if keyword in raw:
            yield _bound(
                (int, float), test, raw[keyword], text, strict=bool(raw.get(f"exclusive{keyword.capitalize()}"))
            )
    lengths: list[tuple[str, type, Callable[[Any, Any], bool], str]] = [
        ("minLength", str, lambda v, bound: len(v) >= bound, "should be at least {} chars long"),
        ("maxLength", str, lambda v, bound: len(v) <= bound, "should be at most {} chars long"),
        ("minItems", list, lambda v, bound: len(v) >= bound, "should have at least {} items"),
        ("maxItems", list, lambda v, bound: len(v) <= bound, "should have at most {} items"),
        ("minProperties", dict, lambda v, bound: len(v) >= bound, "should have at least {} properties"),
        ("maxProperties", dict, lambda v, bound: len(v) <= bound, "should have at most {} properties"),
    ]
    for keyword, kind, test, text in lengths:
        if keyword in raw:
            yield _bound(kind, test, raw[keyword], text)


def _check(kind: type | tuple[type, ...], test: Callable[[Any], bool], text: str) -> Check:
    def check(value: Any, path: str) -> Cause | None:
        if not isinstance(value, kind) or isinstance(value, bool) or test(value):
            return None
        return invalid_value(path, value if isinstance(value, str | int | float) else "…", f"{path} in body {text}")

    return check


def _bound(
    kind: type | tuple[type, ...], test: Callable[[Any, Any], bool], bound: Any, text: str, *, strict: bool = False
) -> Check:
    return _check(kind, lambda value: test(value, bound) and not (strict and value == bound), text.format(bound))


def _enum(allowed: list[Any]) -> Check:
    def check(value: Any, path: str) -> Cause | None:
        if value in allowed:
            return None
        shown, known = (f'"{value}"', ", ".join(f'"{each}"' for each in allowed))
        return Cause(path, "FieldValueNotSupported", f"Unsupported value: {shown}: supported values: {known}")

    return check


def _combinations(raw: Json) -> Iterator[Check]:
    """allOf, anyOf, oneOf and not; these only say yes or no."""
    rules: list[tuple[str, Callable[[int, int], bool], str]] = [
        ("allOf", lambda passed, total: passed == total, "must validate all the schemas (allOf)"),
        ("anyOf", lambda passed, total: passed > 0, "must validate at least one schema (anyOf)"),
        ("oneOf", lambda passed, total: passed == 1, "must validate one and only one schema (oneOf)"),
    ]
    for keyword, rule, text in rules:
        if raw.get(keyword):
            yield _combination([Schema(each, prune=False) for each in raw[keyword]], rule, text)
    if "not" in raw:
        text = "must not validate the schema (not)"
        yield _combination([Schema(raw["not"], prune=False)], lambda passed, total: passed == 0, text)


def _combination(parts: list[Schema], rule: Callable[[int, int], bool], text: str) -> Check:
    def check(value: Any, path: str) -> Cause | None:
        if rule(sum(part.accepts(value, path) for part in parts), len(parts)):
            return None
        return invalid_value(path, "…", f"{path or '<root>'} in body {text}")

    return check
