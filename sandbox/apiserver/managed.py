"""`metadata.managedFields`: which manager last wrote which field, and when. Pure.

Coarser than the real thing in two ways: a list is one field, and there are no conflicts. What our services read is
right: a manager's entry moves when it changes a field, and goes when others took over all its fields.
"""

from typing import Any

from sandbox.apiserver.kinds import Json


def record(
    old: Json | None, new: Json, *, manager: str, operation: str, subresource: str, now: str
) -> list[Json] | None:
    """The entries after `manager` made `new` of `old`; None for none."""
    before = _visible(old) if old else {}
    after = _visible(new)
    claimed, removed = _changes(before, after)
    entries: list[Json] = (old or {}).get("metadata", {}).get("managedFields") or []
    own = {"manager": manager, "operation": operation, "subresource": subresource}
    kept = []
    fields: Json = {}
    for entry in entries:
        if all(entry.get(name, "") == value for name, value in own.items()):
            fields = _without(entry["fieldsV1"], removed)
        elif left := _without(_without(entry["fieldsV1"], claimed), removed):
            kept.append(entry if left is entry["fieldsV1"] else {**entry, "fieldsV1": left})
    if fields := _with(fields, claimed):
        kept.append(
            {
                "manager": manager,
                "operation": operation,
                "apiVersion": new["apiVersion"],
                "time": now,
                "fieldsType": "FieldsV1",
                "fieldsV1": fields,
                **({"subresource": subresource} if subresource else {}),
            }
        )
    return kept or None


def _visible(obj: Json) -> Json:
    """What somebody can own: not what the server itself writes into the metadata."""
    names = ("labels", "annotations", "finalizers", "ownerReferences")
    metadata = {name: obj["metadata"][name] for name in names if obj["metadata"].get(name)}
    return {**{k: v for k, v in obj.items() if k not in ("apiVersion", "kind")}, "metadata": metadata}


def _changes(old: Any, new: Any) -> tuple[Json, Json]:
    """Trees of the fields that have a new value, and of those that are gone. A leaf is an empty tree."""
    claimed: Json = {}
    removed: Json = {f"f:{name}": {} for name in old if name not in new}
    for name, value in new.items():
        known = old.get(name)
        if known is value or (known == value and name in old):
            continue
        if isinstance(value, dict) and value:
            below, gone = _changes(known if isinstance(known, dict) else {}, value)
            if below:
                claimed[f"f:{name}"] = below
            if gone:
                removed[f"f:{name}"] = gone
        else:
            claimed[f"f:{name}"] = {}
    return claimed, removed


def _with(fields: Json, more: Json) -> Json:
    merged = dict(fields)
    for name, below in more.items():
        merged[name] = _with(merged.get(name, {}), below) if below else {}
    return merged


def _without(fields: Json, less: Json) -> Json:
    """The same object if nothing is taken away."""
    left: Json | None = None
    for name, below in less.items():
        if name not in fields:
            continue
        rest = _without(fields[name], below) if below and fields[name] else {}
        if rest is fields[name] and rest:
            continue
        left = dict(fields) if left is None else left
        if rest:
            left[name] = rest
        else:
            del left[name]
    return fields if left is None else left
