"""What clients send: objects, patches and options, in JSON or YAML. Pure."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import yaml

from sandbox.apiserver import errors, patches, protobuf, strategic
from sandbox.apiserver.kinds import Json, Resource

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
_PATCHES: Final = (JSON_PATCH, MERGE, STRATEGIC, APPLY)
_OBJECTS: Final = (JSON, "application/yaml", "")


def read(raw: bytes) -> Any:
    """JSON, or YAML where it's none. Raises BadRequest."""
    try:
        return json.loads(raw)
    except ValueError:
        pass
    try:
        return yaml.safe_load(raw)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise errors.bad_request(f"the body is neither JSON nor YAML: {error}") from error


def obj(raw: bytes, kind: str) -> Json:
    """The object of a POST or a PUT."""
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.read(raw)
    if kind not in _OBJECTS:
        raise errors.unsupported(kind, ", ".join(_OBJECTS[:2]))
    return _mapping(read(raw))


def options(raw: bytes, query: Mapping[str, str]) -> Json:
    """DeleteOptions, which may stand in the body or in the query."""
    found = _mapping(read(raw)) if raw.strip() else {}
    for name in ("propagationPolicy", "gracePeriodSeconds"):
        if name in query:
            found.setdefault(name, query[name])
    return found


def configuration(raw: bytes) -> Json:
    """What a server-side apply applies."""
    return _mapping(read(raw))


def change(resource: Resource, raw: bytes, kind: str) -> Callable[[Json], Any]:
    """The change that a patch stands for. Raises UnsupportedMediaType, BadRequest."""
    if kind not in _PATCHES or (kind == STRATEGIC and resource.custom):
        raise errors.unsupported(kind, ", ".join(each for each in _PATCHES if each != STRATEGIC or not resource.custom))
    patch = read(raw)
    if kind == JSON_PATCH:
        return lambda old: patches.json_patch(old, patch)
    patch = _mapping(patch)
    merge = strategic.merge if kind == STRATEGIC else patches.merge
    return lambda old: merge(old, patch)


def _mapping(found: Any) -> Json:
    if not isinstance(found, dict):
        raise errors.bad_request("the body is no object")
    return found
