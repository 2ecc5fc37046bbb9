"""Strategic merge patches: lists of the built-in kinds merge by the key that Kubernetes' types declare. Pure.

Only lists of a name in `_MERGE_KEYS` merge; all others are replaced, as with a merge patch.
"""

from typing import Any, Final

from sandbox.apiserver.errors import bad_request
from sandbox.apiserver.kinds import Json

_MERGE_KEYS: Final = {
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_SETS: Final = frozenset({"finalizers"})
_ORDER, _REMOVE, _RETAIN, _PATCH = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys", "$patch"


def merge(target: Any, patch: Any) -> Any:
    """The target with the patch in it. Raises BadRequest for a directive that there isn't."""
    if not isinstance(patch, dict):
        return patch
    merged: Json = dict(target) if isinstance(target, dict) else {}
    directive = patch.get(_PATCH)
    if directive == "delete":
        return {}
    if directive not in (None, "merge", "replace"):
        raise bad_request(f"Unknown patch type: {directive}")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != _PATCH}
    if _RETAIN in patch:
        merged = {key: value for key, value in merged.items() if key in patch[_RETAIN]}
    for key, value in patch.items():
        if key in (_PATCH, _RETAIN) or key.startswith(_ORDER):
            continue
        if key.startswith(_REMOVE):
            name = key.removeprefix(_REMOVE)
            merged[name] = [each for each in merged.get(name) or [] if each not in value]
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, list):
            merged[key] = _merge_list(key, merged.get(key) or [], value, patch.get(_ORDER + key))
        else:
            merged[key] = merge(merged.get(key), value)
    for key in (key.removeprefix(_ORDER) for key in patch if key.startswith(_ORDER)):
        if key not in patch and key in merged:
            merged[key] = _ordered(merged[key], patch[_ORDER + key], _merge_key(key, merged[key]))
    return merged


def _merge_key(name: str, *lists: list[Any]) -> str:
    """Container ports merge by containerPort, the ports of a Service by port."""
    if name == "ports":
        items = [each for found in lists for each in found if isinstance(each, dict)]
        return "containerPort" if any("containerPort" in each for each in items) else "port"
    return _MERGE_KEYS.get(name, "")


def _merge_list(name: str, target: list[Any], patch: list[Any], order: list[Any] | None) -> list[Any]:
    if name in _SETS:
        return [*target, *(each for each in patch if each not in target)]
    key = _merge_key(name, target, patch)
    if not key or any(not isinstance(each, dict) for each in patch):
        return patch
    if any(each.get(_PATCH) == "replace" and len(each) == 1 for each in patch):
        return [each for each in patch if _PATCH not in each]
    merged = {each.get(key): each for each in target}
    for each in patch:
        if key not in each:
            raise bad_request(f"map: {each} does not contain declared merge key: {key}")
        if each.get(_PATCH) == "delete":
            merged.pop(each[key], None)
        else:
            merged[each[key]] = merge(merged.get(each[key]), each)
    return _ordered(list(merged.values()), order, key) if order else list(merged.values())


def _ordered(items: list[Any], order: list[Any], key: str) -> list[Any]:
    """The items in the wanted order; those it doesn't name stay behind those they followed."""
    names = [each[key] if isinstance(each, dict) else each for each in order]
    place = {name: index for index, name in enumerate(names)}
    last = -1
    ranks = []
    for item in items:
        name = item.get(key) if isinstance(item, dict) else item
        last = place.get(name, last)
        ranks.append(last)
    return [item for _, item in sorted(zip(ranks, items, strict=True), key=lambda pair: pair[0])]
