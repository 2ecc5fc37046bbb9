"""A deletion, from the objects' side: the target as the primary runs it, Service and route lead to it again, and what is
still needed stays. Pure; `services.router.rollout.removing` says what comes when.
"""

import json as encoding
from collections.abc import Iterable
from typing import Final

from services.router.found import Found, target_revision
from services.router.objects import (
    OPT_OUT,
    NoSelector,
    Options,
    Wanted,
    kept_by_target,
    owned,
    selector,
    tied,
    untied,
)  # fmt: skip
from services.router.parse import Canary
from services.router.patches import merge_patch
from services.router.primary_objects import FRESH, carried_revision, rewrite_affinity
from services.router.rollout.state import LEFT, Stage, State, released
from shared.canary import configs, names
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind

_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_COLLECTING: Final = "foregroundDeletion"
"""Kubernetes' finalizer of what is deleted in the foreground, for as long as the collector is at its dependents."""


def wanted(canary: Canary, state: State, found: Found, options: Options) -> Iterable[Wanted]:
    """In the order in which it must be written: the Service leads to the target before the route goes."""
    if LEFT in state.noticed:
        yield from (untied(canary, kind, each) for kind, each in found.belongings)
        return
    if state.stage in {Stage.RESTORING, Stage.RETURNING} and found.target is not None:
        yield from _target(canary, state, found, options)
    if state.stage is Stage.LEAVING or released(state):
        yield from _kept_configs(canary, found)
        yield from _apex(canary, found, options)
    if state.stage is Stage.LEAVING:
        for each in canary.names.each_route():
            yield Wanted(kinds.APISIX_ROUTE, each.canary_route, gone=True)
    if released(state) and not collecting(canary, found):
        yield from _collected(canary, found)


def collecting(canary: Canary, found: Found) -> bool:
    """Is the collector still taking the Canary's name off what we shall tie to it again?

    Its writes name no version, so one that is under way would untie what we have just tied, and nobody would ever
    collect that. The Canary can't go before the collector is done anyway.
    """
    finalizers = json.mapping(canary.document, "metadata").get("finalizers") or ()
    return _COLLECTING in finalizers and any(True for _ in _collected(canary, found))


def fronted(canary: Canary, found: Found, options: Options) -> bool:
    """Does a route or a Service of ours lead past the target? A route that is being deleted leads nowhere."""
    route = any("deletionTimestamp" not in each["metadata"] for each in found.generated)
    return route or _leads_to_primary(canary, found, options)


def unpromoted(canary: Canary, found: Found, options: Options) -> bool:
    """Does the target show something else than the primary runs?"""
    if found.primary is None or found.target is None:
        return False
    if target_revision(found) == carried_revision(canary, found, options):
        return False
    shown = json.mapping(found.target, "spec", "template")
    return bool(merge_patch(shown, _template(canary, found, options) or shown))


def sized(canary: Canary, found: Found) -> bool:
    """Has the target as many replicas as the primary?"""
    return json.number(found.target, "spec", "replicas", default=1) >= _size(found)


def _target(canary: Canary, state: State, found: Found, options: Options) -> Iterable[Wanted]:
    template = _template(canary, found, options) if state.stage is Stage.RESTORING else None
    exact: dict[tuple[str, ...], object] = {("spec", "template"): template} if template else {}
    merged = {} if sized(canary, found) else {"spec": {"replicas": _size(found)}}
    yield Wanted(kinds.DEPLOYMENT, canary.names.target, None, exact, merged)


def _size(found: Found) -> int:
    """The primary's number by now, as far as the target's own autoscaler would leave it so."""
    size = max(json.number(found.primary, "spec", "replicas", default=1), 1)
    most = json.number(found.autoscaler, "spec", "maxReplicas", default=size)
    return min(size, most)


def _template(canary: Canary, found: Found, options: Options) -> Json | None:
    """The primary's, with the transform that made it undone. A config whose source has changed since stays the copy."""
    try:
        label, value = selector(canary, found, options)
    except NoSelector:
        return None
    same = {key for key, checksum in (found.configs or {}).items() if found.copies.get(key) == checksum}
    template = configs.rename_back(json.mapping(found.primary, "spec", "template"), same)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**json.mapping(metadata, "labels"), label: value}
    annotations = {key: text for key, text in json.mapping(metadata, "annotations").items() if key != FRESH}
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    rewrite_affinity(json.mapping(template, "spec"), canary.names.primary, canary.names.target, options)
    return template


def _collected(canary: Canary, found: Found) -> Iterable[Wanted]:
    """What the target has kept from being collected, and isn't needed any more."""
    if found.target is None:
        return
    used = _used_configs(found)
    for kind, each in found.belongings:
        stays = _key(kind, each) in used or (kind, json.name(each)) == (kinds.SERVICE, canary.names.apex)
        if kept_by_target(canary, each) and not stays:
            yield tied(canary, kind, each)


def _kept_configs(canary: Canary, found: Found) -> Iterable[Wanted]:
    """Copies that the target uses from now on."""
    used = _used_configs(found)
    yield from (untied(canary, kind, each) for kind, each in found.belongings if _key(kind, each) in used)


def _used_configs(found: Found) -> set[str]:
    return {ref.key for ref in configs.references(json.mapping(found.target, "spec", "template"))}


def _key(kind: Kind, config: Json) -> str:
    return configs.ConfigRef(kind.kind, json.name(config)).key


def _apex(canary: Canary, found: Found, options: Options) -> Iterable[Wanted]:
    """Clients go on using it, so it stays even if it was we who made it."""
    apex = found.services.get(canary.names.apex)
    if apex is None:
        return
    exact: dict[tuple[str, ...], object] = {}
    if _leads_to_primary(canary, found, options):
        exact["spec", "selector"] = _own_selector(canary, found, options, apex)
    if not _made_by_us(canary, apex) or found.target is None:
        yield Wanted(kinds.SERVICE, canary.names.apex, None, exact)
        return
    exact.update(untied(canary, kinds.SERVICE, apex).exact)
    yield Wanted(kinds.SERVICE, canary.names.apex, None, exact, {"metadata": {"annotations": dict.fromkeys(OPT_OUT)}})


def _made_by_us(canary: Canary, apex: Json) -> bool:
    """The garbage collector may have taken the Canary's name off already."""
    return owned(canary, apex) or kept_by_target(canary, apex)


def _leads_to_primary(canary: Canary, found: Found, options: Options) -> bool:
    apex, front = found.services.get(canary.names.apex), _primary_selector(canary, found, options)
    return bool(front) and json.mapping(apex, "spec", "selector") == front


def _primary_selector(canary: Canary, found: Found, options: Options) -> Json:
    """How a Service finds the primary's pods; even without a target, or without a primary."""
    if found.primary is not None:
        return json.mapping(found.primary, "spec", "selector", "matchLabels")
    try:
        label, value = selector(canary, found, options)
    except NoSelector:
        return {}
    return {label: names.primary(value)}


def _own_selector(canary: Canary, found: Found, options: Options, apex: Json) -> Json:
    """As people have applied it, if that finds the target's pods; else by the target's label."""
    applied = _applied_selector(apex)
    labels = json.mapping(found.target, "spec", "template", "metadata", "labels")
    if applied and not _made_by_us(canary, apex) and applied.items() <= labels.items():
        return applied
    front = _primary_selector(canary, found, options)
    return {label: str(value).removesuffix(names.PRIMARY) for label, value in front.items()}


def _applied_selector(apex: Json) -> Json:
    try:
        applied = encoding.loads(json.text(apex, "metadata", "annotations", _APPLIED) or "{}")
    except ValueError:
        return {}
    return json.mapping(applied, "spec", "selector") if isinstance(applied, dict) else {}
