"""Merge patches (RFC 7386) and JSON patches (RFC 6902). Pure: the target is never changed, unchanged parts are shared."""

from collections.abc import Sequence
from typing import Any

from sandbox.apiserver.errors import ApiFailure, bad_request
from sandbox.apiserver.kinds import Json


def merge(target: Any, patch: Any) -> Any:
    """null removes, an object merges, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def json_patch(target: Json, operations: Any) -> Json:
    """All operations or none. Raises BadRequest for what is no patch, Invalid for one that doesn't fit."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    for operation in operations:
        try:
            target = _operate(target, operation)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError) as error:
            message = f"the server rejected our request due to an error in our request: {operation}: {error}"
            raise ApiFailure(422, "Invalid", message) from error
    return target


def _operate(target: Any, operation: Json) -> Any:
    path = _steps(operation["path"])
    match operation["op"]:
        case "add":
            return _set(target, path, operation["value"], insert=True)
        case "replace":
            _get(target, path)
            return _set(target, path, operation["value"], insert=False)
        case "remove":
            return _remove(target, path)
        case "move":
            source = _steps(operation["from"])
            return _set(_remove(target, source), path, _get(target, source), insert=True)
        case "copy":
            return _set(target, path, _get(target, _steps(operation["from"])), insert=True)
        case "test":
            if _get(target, path) != operation["value"]:
                raise ValueError("test failed")
            return target
    raise ValueError(f"unknown operation {operation['op']}")


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer} is no JSON pointer")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _get(target: Any, path: Sequence[str]) -> Any:
    for step in path:
        target = target[int(step)] if isinstance(target, list) else target[step]
    return target


def _set(target: Any, path: Sequence[str], value: Any, *, insert: bool) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(target, list):
        copy = list(target)
        index = len(copy) if step == "-" else int(step)
        if rest:
            copy[index] = _set(copy[index], rest, value, insert=insert)
        elif insert:
            if index > len(copy):
                raise IndexError(f"{index} is beyond the list")
            copy.insert(index, value)
        else:
            copy[index] = value
        return copy
    return {**target, step: _set(target[step], rest, value, insert=insert) if rest else value}


def _remove(target: Any, path: Sequence[str]) -> Any:
    step, rest = path[0], path[1:]
    if isinstance(target, list):
        index = int(step)
        changed = [_remove(target[index], rest)] if rest else []
        target[index]  # raises when there is none
        return [*target[:index], *changed, *target[index + 1 :]]
    if rest:
        return {**target, step: _remove(target[step], rest)}
    target[step]  # raises when there is none
    return {key: value for key, value in target.items() if key != step}
