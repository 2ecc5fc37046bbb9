"""Unstructured Kubernetes objects, and the four ways to look into one.

Objects stay the JSON that the API server sent, so that no field is ever lost. The accessors answer "absent" with an
empty value instead of an exception, and treat a value of the wrong type as absent: an object of somebody else's making
must never stop a service.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]


def value(obj: Mapping[str, Any] | None, *path: str) -> Any:
    """Whatever lies at `path`, or None."""
    here: Any = obj
    for step in path:
        if not isinstance(here, dict) and not isinstance(here, Mapping):  # the first is far cheaper to ask
            return None
        here = here.get(step)
    return here


def mapping(obj: Mapping[str, Any] | None, *path: str) -> Json:
    """The object at `path`, or an empty one. It's not a copy: don't change it."""
    found = value(obj, *path)
    return found if isinstance(found, dict) else {}


def text(obj: Mapping[str, Any] | None, *path: str) -> str:
    """The string at `path`, or the empty string."""
    found = value(obj, *path)
    return found if isinstance(found, str) else ""


def items(obj: Mapping[str, Any] | None, *path: str) -> list[Json]:
    """The objects in the list at `path`, or none."""
    found = value(obj, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def number(obj: Mapping[str, Any] | None, *path: str, default: int = 0) -> int:
    """The whole number at `path` (`10.0` is one, `true` and infinity aren't), or `default`."""
    found = value(obj, *path)
    if isinstance(found, float):
        return int(found) if found.is_integer() else default
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def flag(obj: Mapping[str, Any] | None, *path: str) -> bool:
    """Is there a `true` at `path`?"""
    return value(obj, *path) is True


def namespace(obj: Mapping[str, Any] | None) -> str:
    return text(obj, "metadata", "namespace")


def name(obj: Mapping[str, Any] | None) -> str:
    return text(obj, "metadata", "name")


def uid(obj: Mapping[str, Any] | None) -> str:
    return text(obj, "metadata", "uid")


def version(obj: Mapping[str, Any] | None) -> str:
    """The object's resourceVersion."""
    return text(obj, "metadata", "resourceVersion")


def order(resource_version: str) -> int:
    """A resourceVersion as the number by which versions are compared; 0 when it isn't one."""
    return int(resource_version) if resource_version.isascii() and resource_version.isdigit() else 0
