"""Label and field selectors, from their texts and from the objects in specs. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from sandbox.apiserver.errors import bad_request
from sandbox.apiserver.kinds import Json

Test = Callable[[Mapping[str, str]], bool]

_NAME: Final = r"[A-Za-z0-9./_-]+"
_TERM: Final = re.compile(
    rf"\s*(?:(?P<no>!\s*)?(?P<only>{_NAME})"
    rf"|(?P<set>{_NAME})\s+(?P<how>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|(?P<key>{_NAME})\s*(?P<op>==|=|!=)\s*(?P<value>[A-Za-z0-9._-]*))\s*(?:,|$)"
)


def labels(text: str) -> Test | None:
    """The test that a label selector stands for; None if it lets everything through. Raises BadRequest."""
    tests = list(_terms(text))
    return (lambda found: all(test(found) for test in tests)) if tests else None


def _terms(text: str) -> Iterator[Test]:
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if not term:
            raise bad_request(f'unable to parse requirement: "{text}" at "{text[at:]}"')
        at = term.end()
        if key := term["only"]:
            yield _requirement(key, "DoesNotExist" if term["no"] else "Exists", ())
        elif key := term["set"]:
            values = [value.strip() for value in term["values"].split(",")]
            yield _requirement(key, "In" if term["how"] == "in" else "NotIn", values)
        else:
            yield _requirement(term["key"], "NotIn" if term["op"] == "!=" else "In", [term["value"]])


def _requirement(key: str, how: str, values: Sequence[str]) -> Test:
    wanted = frozenset(values)
    match how:
        case "In":
            return lambda found: found.get(key) in wanted
        case "NotIn":
            return lambda found: found.get(key) not in wanted
        case "Exists":
            return lambda found: key in found
        case "DoesNotExist":
            return lambda found: key not in found
    raise bad_request(f'"{how}" is not a valid label selector operator')


def selects(selector: Json | None, found: Mapping[str, str]) -> bool:
    """Does the label selector of a spec (`matchLabels`, `matchExpressions`) select these labels?"""
    if selector is None:
        return False
    return all(found.get(key) == value for key, value in (selector.get("matchLabels") or {}).items()) and all(
        _requirement(each["key"], each["operator"], each.get("values") or ())(found)
        for each in selector.get("matchExpressions") or []
    )


def text_of(selector: Json) -> str:
    """A spec's label selector as text, as `/scale` shows it."""
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    words = {"In": "in", "NotIn": "notin"}
    for each in selector.get("matchExpressions") or []:
        how, key = each["operator"], each["key"]
        if how in words:
            parts.append(f"{key} {words[how]} ({','.join(sorted(each['values']))})")
        else:
            parts.append(key if how == "Exists" else f"!{key}")
    return ",".join(parts)


def fields(text: str, allowed: Sequence[str]) -> Callable[[Json], bool] | None:
    """The test that a field selector stands for; None if it lets everything through. Raises BadRequest."""
    tests: list[tuple[list[str], str, bool]] = []
    for term in filter(None, text.split(",")):
        path, operator, value = re.split(r"(!=|==|=)", term, maxsplit=1) if "=" in term else ("", "", "")
        if path not in ("metadata.name", "metadata.namespace", *allowed):
            raise bad_request(f"field label not supported: {path or term}")
        tests.append((path.split("."), value, operator != "!="))
    return (lambda obj: all((_text(obj, path) == value) is equal for path, value, equal in tests)) if tests else None


def _text(obj: Json, path: Sequence[str]) -> str:
    here: Any = obj
    for step in path:
        here = here.get(step) if isinstance(here, dict) else None
    return "" if here is None else str(here)
