"""Makes the cluster hold what is wanted, and writes only what differs. The only writer of workloads and routes."""

import logging

from services.router import wanted
from services.router.observe import Found
from services.router.parse import FINALIZER, Canary
from services.router.patches import merge_patch
from services.router.ports import Writes
from services.router.rollout.state import Phase, State
from services.router.wanted import Options, Wanted
from services.router.world import World
from shared.errors import Conflict
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind

log = logging.getLogger(__name__)


class Converge:
    """One canary's objects, made so. Raises Conflict, Never or RetryLater; running it again is always right."""

    def __init__(self, cluster: Writes, world: World, options: Options) -> None:
        self._cluster = cluster
        self._world = world
        self._options = options

    async def run(self, canary: Canary, state: State, found: Found) -> bool:
        """Write what differs. True if anything was written, so that the caller looks again."""
        if state.phase is Phase.NEW or canary.spec.suspended or found.hold or found.invalid or found.rival:
            return await self._finalizer(canary, state)
        wrote = await self._finalizer(canary, state)
        for copy in wanted.copies(state, found):
            await self._copy(canary, copy)
            wrote = True
        for each in wanted.wanted(canary, state, found, self._options):
            wrote = await self._apply(canary, each) or wrote
        return wrote

    async def _apply(self, canary: Canary, want: Wanted) -> bool:
        namespace = canary.spec.namespace
        cache = self._world.cache(want.kind)
        have = cache.get(namespace, want.name)
        if want.gone:
            if have is None:
                return False
            await self._cluster.delete(want.kind, namespace, want.name, uid=json.uid(have))
            cache.forget(namespace, want.name, json.uid(have))
            return True
        if have is None:
            if want.create is None:
                return False
            cache.absorb(await self._cluster.create(want.kind, want.create))
            log.info("%s %s.%s created", _called(want.kind), want.name, namespace)
            return True
        patch = difference(have, want)
        if not patch:
            return False
        patch.setdefault("metadata", {})["resourceVersion"] = json.version(have)
        cache.absorb(await self._cluster.patch(want.kind, namespace, want.name, patch))
        log.info("%s %s.%s updated", _called(want.kind), want.name, namespace)
        return True

    async def _copy(self, canary: Canary, copy: wanted.Copy) -> None:
        """Copy a tracked config for the primary, with everything it holds (W-G14)."""
        kind_name, _, name = copy.key.partition("/")
        kind = kinds.SECRET if kind_name == "secret" else kinds.CONFIG_MAP
        namespace = canary.spec.namespace
        source = await self._cluster.get(kind, namespace, name)
        if source is None:
            raise Conflict(f"{kind.kind} {name}.{namespace} went away before it was copied")
        cache = self._world.cache(kind)
        have = cache.get(namespace, f"{name}-primary")
        body = _copied(canary, kind, source, copy, self._options)
        if have is None:
            made = await self._cluster.create(kind, body)
        else:
            metadata = {"annotations": {wanted.CHECKSUM: copy.checksum}, "ownerReferences": _owners(canary, have)}
            full = await self._cluster.get(kind, namespace, f"{name}-primary") or {}
            parts = ("data", "binaryData")
            changes = {part: merge_patch(json.mapping(full, part), json.mapping(body, part)) for part in parts}
            patch = {"metadata": metadata, **{part: change for part, change in changes.items() if change}}
            made = await self._cluster.patch(kind, namespace, f"{name}-primary", patch)
        cache.absorb({key: value for key, value in made.items() if key not in {"data", "binaryData"}})
        log.info("%s %s-primary synced", kind.kind, name)

    async def _finalizer(self, canary: Canary, state: State) -> bool:
        """Ours is there exactly while `revertOnDeletion` asks for it and the reversal isn't done."""
        metadata = json.mapping(canary.document, "metadata")
        have = [str(each) for each in metadata.get("finalizers") or ()]
        deleting = "deletionTimestamp" in metadata
        keep = canary.spec.revert_on_deletion and not (
            state.phase is Phase.TERMINATING and "terminated" in state.noticed
        )
        if (FINALIZER in have) == keep or (deleting and keep):
            return False
        names = [each for each in have if each != FINALIZER] + ([FINALIZER] if keep else [])
        patch = {"metadata": {"finalizers": names, "resourceVersion": json.version(canary.document)}}
        answer = await self._cluster.patch(kinds.CANARY, canary.spec.namespace, canary.spec.name, patch)
        self._world.cache(kinds.CANARY).absorb(answer)
        return True


def difference(have: Json, want: Wanted) -> Json:
    """The merge patch that makes `have` what is wanted, empty if it is."""
    patch = merge_patch(have, want.merged, exact=False)
    for path, value in want.exact.items():
        seen = json.value(have, *path)
        if isinstance(value, dict) and isinstance(seen, dict):
            change: object = merge_patch(seen, value)
            if not change:
                continue
        elif seen == value:
            continue
        else:
            change = value
        here = patch
        for step in path[:-1]:
            here = here.setdefault(step, {})
        here[path[-1]] = change
    return patch


def _copied(canary: Canary, kind: Kind, source: Json, copy: wanted.Copy, options: Options) -> Json:
    body: Json = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": f"{json.name(source)}-primary",
            "namespace": canary.spec.namespace,
            "labels": wanted.included(json.mapping(source, "metadata", "labels"), options),
            "annotations": {wanted.CHECKSUM: copy.checksum},
            "ownerReferences": [wanted.owner(canary)],
        },
    }
    return {**body, **{part: source[part] for part in ("type", "data", "binaryData") if part in source}}


def _owners(canary: Canary, have: Json) -> list[Json]:
    """Several canaries may share a config: only one may control its copy."""
    ours = wanted.owner(canary)
    others = [each for each in json.items(have, "metadata", "ownerReferences") if json.text(each, "uid") != ours["uid"]]
    return [ours, *({**each, "controller": False} for each in others)]


def _called(kind: Kind) -> str:
    return {"ApisixRoute": "APISIX route"}.get(kind.kind, kind.kind)
