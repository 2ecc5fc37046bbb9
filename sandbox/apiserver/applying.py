"""Server-side apply: what becomes of an object when a manager applies its configuration. Pure.

A field that the manager applied before, applies no longer and shares with nobody goes; a field of others that would get
another value is a conflict, unless forced. Ownership is as coarse as in `managed`: a list is one field.
"""

from typing import Any

from sandbox.apiserver import managed, patches, strategic
from sandbox.apiserver.errors import ApiFailure
from sandbox.apiserver.kinds import Json, Resource


def merged(resource: Resource, old: Json, applied: Json, *, manager: str, subresource: str, force: bool) -> Json:
    """The object with the configuration in it. Raises Conflict."""
    own: Json = {}
    others: Json = {}
    entries: list[Json] = old["metadata"].get("managedFields") or []
    for entry in entries:
        if managed.is_of(entry, manager, "Apply", subresource):
            own = entry["fieldsV1"]
        else:
            others = managed.with_more(others, entry["fieldsV1"])
    # What is only ours is taken out and put in anew: so lists that we alone own are replaced, others are merged.
    base = _taken_out(old, _alone(own, others))
    new: Json = patches.merge(base, applied) if resource.custom else strategic.merge(base, applied)
    if not force:
        _check(entries, managed.changed(old, new), manager, subresource)
    return new


def _alone(own: Json, others: Json) -> Json:
    """The fields that nobody else has anything in."""
    found: Json = {}
    for name, below in own.items():
        if name not in others:
            found[name] = below
        elif below and others[name] and (rest := _alone(below, others[name])):
            found[name] = rest
    return found


def _taken_out(target: Any, fields: Json) -> Any:
    if not isinstance(target, dict) or not fields:
        return target
    left: Json = dict(target)
    for name, below in fields.items():
        key = name.removeprefix("f:")
        if key not in left:
            continue
        rest = _taken_out(left[key], below) if below else {}
        if rest:
            left[key] = rest
        else:
            del left[key]
    return left


def _check(entries: list[Json], changed: Json, manager: str, subresource: str) -> None:
    met = [
        (entry["manager"], path)
        for entry in entries
        if not managed.is_of(entry, manager, "Apply", subresource)
        for path in managed.common(entry["fieldsV1"], changed)
    ]
    if not met:
        return
    causes = [{"reason": "FieldManagerConflict", "message": f'conflict with "{w}"', "field": p} for w, p in met]
    listed = ", ".join(f'conflict with "{who}": {path}' for who, path in met)
    word = "conflict" if len(met) == 1 else "conflicts"
    raise ApiFailure(409, "Conflict", f"Apply failed with {len(met)} {word}: {listed}", {"causes": causes})
