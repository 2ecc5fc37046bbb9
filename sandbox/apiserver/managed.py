"""`metadata.managedFields`: which manager last wrote which field, and when. Pure.

Coarser than the real thing in one way: a list is one field. What our services read is right: a manager's entry moves
when it changes a field, and goes when others took over all its fields.
"""

from typing import Any

from sandbox.apiserver.kinds import Json


def record(
    old: Json | None,
    new: Json,
    *,
    manager: str,
    operation: str,
    subresource: str,
    now: str,
    applied: Json | None = None,
) -> list[Json] | None:
    """The entries after `manager` made `new` of `old`; None for none. With `applied` it owns that, changed or not."""
    claimed, removed = _changes(_visible(old) if old else {}, _visible(new))
    entries: list[Json] = (old or {}).get("metadata", {}).get("managedFields") or []
    kept: list[Json] = []
    known: Json = {}
    for entry in entries:
        if is_of(entry, manager, operation, subresource):
            known = entry["fieldsV1"]
        elif left := without(without(entry["fieldsV1"], claimed), removed):
            kept.append(entry if left is entry["fieldsV1"] else {**entry, "fieldsV1": left})
    fields = tree(applied) if applied is not None else with_more(without(known, removed), claimed)
    if fields == known and not claimed and not removed:
        return entries or None
    if fields:
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


def is_of(entry: Json, manager: str, operation: str, subresource: str) -> bool:
    return (entry["manager"], entry["operation"], entry.get("subresource", "")) == (manager, operation, subresource)


def tree(obj: Json) -> Json:
    """All fields of an object that somebody can own."""
    return _changes({}, _visible({"metadata": {}, **obj}))[0]


def changed(old: Json, new: Json) -> Json:
    """The fields that have another value now."""
    return _changes(_visible(old), _visible(new))[0]


def common(fields: Json, others: Json, path: str = "") -> list[str]:
    """The values that both trees own, as paths. To own that an object is there is to own none of its fields."""
    met: list[str] = []
    for name in fields.keys() & others.keys():
        here = f"{path}.{name.removeprefix('f:')}"
        if fields[name] and others[name]:
            met += common(fields[name], others[name], here)
        elif not fields[name] and not others[name]:
            met.append(here)
    return sorted(met)


def _visible(obj: Json) -> Json:
    """What somebody can own: not what the server itself writes into the metadata."""
    names = ("labels", "annotations", "finalizers", "ownerReferences")
    metadata = {name: obj["metadata"][name] for name in names if obj["metadata"].get(name)}
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    return {**rest, **({"metadata": metadata} if metadata else {})}


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
            if not isinstance(known, dict) and name != "metadata":
                below["."] = {}  # who made an object owns that it's there
            if below:
                claimed[f"f:{name}"] = below
            if gone:
                removed[f"f:{name}"] = gone
        else:
            claimed[f"f:{name}"] = {}
    return claimed, removed


def with_more(fields: Json, more: Json) -> Json:
    """Both trees in one."""
    merged = dict(fields)
    for name, below in more.items():
        known = merged.get(name)
        merged[name] = with_more(known or ({} if known is None else {".": {}}), below) if below else known or {}
    return merged


def without(fields: Json, less: Json) -> Json:
    """What is left of a tree. The same object if nothing is taken away."""
    left: Json | None = None
    for name, below in less.items():
        if name not in fields or (below and not fields[name]):
            continue
        rest = without(fields[name], below) if below else {}
        if rest is fields[name] and rest:
            continue
        left = dict(fields) if left is None else left
        if rest:
            left[name] = {} if rest.keys() == {"."} else rest  # as Kubernetes writes that only the object is owned
        else:
            del left[name]
    return fields if left is None else left
