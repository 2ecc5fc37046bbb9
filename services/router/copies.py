"""Copies of tracked ConfigMaps and Secrets, which the primary uses instead of the sources (behaviour sheet §3.7)."""

from services.router import objects
from services.router.found import Found
from services.router.objects import Options
from services.router.parse import Canary
from services.router.patches import merge_patch
from services.router.ports import Cache, Writes
from services.router.wanted import CHECKSUM, Copy
from shared.canary import names
from shared.errors import Conflict
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind

_PARTS = ("data", "binaryData")


def kind_of(copy: Copy) -> Kind:
    return kinds.SECRET if copy.key.startswith("secret/") else kinds.CONFIG_MAP


def name_of(copy: Copy) -> str:
    return names.primary(copy.key.partition("/")[2])


async def write(cluster: Writes, cache: Cache, canary: Canary, found: Found, copy: Copy, options: Options) -> Json:
    """Copy a config with everything it holds (W-G14). The answer is the copy without its data."""
    kind, namespace, name = kind_of(copy), canary.spec.namespace, name_of(copy)
    source = await cluster.get(kind, namespace, copy.key.partition("/")[2])
    if source is None:
        raise Conflict(f"{kind.kind} {copy.key} in {namespace} went away before it was copied")
    body = _body(canary, kind, source, copy, options)
    body["metadata"]["ownerReferences"] = _owners(canary, found, cache.get(namespace, name))
    have = cache.get(namespace, name)
    if have is None:
        made = await cluster.create(kind, body)
    else:
        metadata = {"annotations": {CHECKSUM: copy.checksum}, "ownerReferences": body["metadata"]["ownerReferences"]}
        full = await cluster.get(kind, namespace, name) or {}
        changes = {part: merge_patch(json.mapping(full, part), json.mapping(body, part)) for part in _PARTS}
        patch = {"metadata": metadata, **{part: change for part, change in changes.items() if change}}
        made = await cluster.patch(kind, namespace, name, patch)
    return without_content(made)


def without_content(config: Json) -> Json:
    """As the caches hold it: no secret stays in memory."""
    return {key: value for key, value in config.items() if key not in _PARTS}


def _body(canary: Canary, kind: Kind, source: Json, copy: Copy, options: Options) -> Json:
    body: Json = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name_of(copy),
            "namespace": canary.spec.namespace,
            "labels": objects.included(json.mapping(source, "metadata", "labels"), options),
            "annotations": {CHECKSUM: copy.checksum},
        },
    }
    return {**body, **{part: source[part] for part in ("type", *_PARTS) if part in source}}


def _owners(canary: Canary, found: Found, have: Json | None) -> list[Json]:
    """Several canaries may share a config: only one may control its copy."""
    ours = objects.owners(canary, found)
    known = {each["uid"] for each in ours}
    others = [each for each in json.items(have, "metadata", "ownerReferences") if json.text(each, "uid") not in known]
    return [*ours, *({**each, "controller": False} if json.flag(each, "controller") else each for each in others)]
