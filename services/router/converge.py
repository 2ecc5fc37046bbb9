"""Makes the cluster hold what is wanted, and writes only what differs. The only writer of workloads and routes."""

import logging
from typing import Final

from services.router import copies, handing_back, policy, wanted
from services.router.found import Found
from services.router.objects import Options, Wanted
from services.router.parse import FINALIZER, REQUEST, Canary
from services.router.patches import merge_patch
from services.router.ports import Writes
from services.router.rollout.state import Phase, State, released
from services.router.world import METADATA_ONLY, World
from shared.errors import Never
from shared.kube import json, kinds
from shared.kube.errors import Forbidden
from shared.kube.json import Json
from shared.kube.kinds import Kind

log = logging.getLogger(__name__)
_TEXTS: Final = {
    "Service": "service {name} {verb}e error: {error}",
    "ApisixRoute": "APISIX route {name} {verb}e error: {error}",
    "Deployment": "{verb}ing deployment {name} failed: {error}",
    "ConfigMap": "{verb}ing configmap {name} failed: {error}",
    "Secret": "{verb}ing secret {name} failed: {error}",
}


class Trouble(Exception):
    """The API server refuses what is wanted; the text is for people. Trying again is right, but won't help by itself."""

    def __init__(self, kind: Kind, name: str, verb: str, error: Exception) -> None:
        text = _TEXTS.get(kind.kind, f"{{verb}}ing {kind.kind} {{name}} failed: {{error}}")
        super().__init__(text.format(name=name, verb=verb, error=error))


class Converge:
    """One canary's objects, made so. Raises Conflict, Trouble or RetryLater; running it again is always right."""

    def __init__(self, cluster: Writes, world: World, options: Options) -> None:
        self._cluster = cluster
        self._world = world
        self._options = options

    async def run(self, canary: Canary, state: State, found: Found) -> bool:
        """Write what differs. True if anything was written, so that the caller looks again."""
        refused = bool(policy.refusals(canary.model, found))
        wrote = wanted.protected(state, found, refused) and await self._protect(canary)
        if not wanted.hands_off(canary, state, found, refused):
            for copy in wanted.copies(state, found):
                await self._copy(canary, found, copy)
                wrote = True
            for each in wanted.wanted(canary, state, found, self._options):
                wrote = await self._apply(canary, each) or wrote
        return wrote

    async def release(self, canary: Canary, state: State, found: Found) -> bool:
        """Let go of a Canary that is deleted. Its last event must be out: it may vanish with this."""
        rival = state.phase is Phase.TERMINATING and bool(found.rival)  # its objects are the older one's
        done = released(state) and not handing_back.collecting(canary, found)
        return (done or rival) and await self._finalizer(canary.document, keep=False)

    async def disown(self, document: Json) -> None:
        """Ours once, and now another controller's: that one puts the finalizer there itself if it was asked to."""
        known = bool(json.mapping(document, "status", "serinus"))
        if known and not json.flag(document, "spec", "revertOnDeletion"):
            await self._finalizer(document, keep=False)

    async def take_off(self, canary: Canary, state: State) -> bool:
        """Take off a request that was carried out, so that people see that it's used up and may ask the same again."""
        value = json.text(canary.document, "metadata", "annotations", REQUEST)
        if not value or value != state.request:
            return False
        try:
            await self._mark(canary.document, {"annotations": {REQUEST: None}})
        except (Never, Forbidden) as error:  # the status remembers it, so it can't act twice
            log.warning("request %s of %s stays: %s", value, canary.spec.name, error)
            return False
        return True

    def pending(self, canary: Canary, state: State, found: Found) -> bool:
        """Would `run` write anything? Asks caches only."""
        refused = bool(policy.refusals(canary.model, found))
        if wanted.hands_off(canary, state, found, refused):
            return False
        return bool(wanted.copies(state, found)) or any(
            self._differs(canary, each) for each in wanted.wanted(canary, state, found, self._options)
        )

    def _differs(self, canary: Canary, want: Wanted) -> bool:
        have = self._world.cache(want.kind).get(canary.spec.namespace, want.name)
        if have is None or want.gone:
            return (have is None) != want.gone and (want.gone or want.create is not None)
        return bool(difference(have, want))

    async def _apply(self, canary: Canary, want: Wanted) -> bool:
        namespace = canary.spec.namespace
        have = self._world.cache(want.kind).get(namespace, want.name)
        if not self._differs(canary, want):
            return False
        verb = "delet" if want.gone else "creat" if have is None else "updat"
        try:
            await self._write(namespace, want, have)
        except (Never, Forbidden) as error:
            raise Trouble(want.kind, f"{want.name}.{namespace}", verb, error) from error
        log.info("%s %s.%s %sed", _called(want.kind), want.name, namespace, verb)
        return True

    async def _write(self, namespace: str, want: Wanted, have: Json | None) -> None:
        cache = self._world.cache(want.kind)
        if have is None:
            cache.absorb(await self._cluster.create(want.kind, want.create or {}))
        elif want.gone:
            await self._cluster.delete(want.kind, namespace, want.name, uid=json.uid(have))
            cache.forget(namespace, want.name, json.uid(have))
        else:
            patch = difference(have, want)
            if want.exact:  # a difference of whole subtrees is one of this version; a number is right for any
                patch.setdefault("metadata", {})["resourceVersion"] = json.version(have)
            answer = await self._cluster.patch(want.kind, namespace, want.name, patch)
            cache.absorb(copies.without_content(answer) if want.kind in METADATA_ONLY else answer)

    async def _copy(self, canary: Canary, found: Found, copy: wanted.Copy) -> None:
        kind = copies.kind_of(copy)
        try:
            made = await copies.write(self._cluster, self._world.cache(kind), canary, found, copy, self._options)
        except (Never, Forbidden) as error:
            raise Trouble(kind, f"{copies.name_of(copy)}.{canary.spec.namespace}", "updat", error) from error
        self._world.cache(kind).absorb(made)
        log.info("%s %s synced", kind.kind, copies.name_of(copy))

    async def _protect(self, canary: Canary) -> bool:
        """From now on nothing can be lost by a deletion."""
        try:
            return await self._finalizer(canary.document, keep=True)
        except (Never, Forbidden) as error:
            raise Trouble(kinds.CANARY, f"{canary.spec.name}.{canary.spec.namespace}", "updat", error) from error

    async def _finalizer(self, document: Json, *, keep: bool) -> bool:
        metadata = json.mapping(document, "metadata")
        have = [str(each) for each in metadata.get("finalizers") or ()]
        if (FINALIZER in have) == keep or (keep and "deletionTimestamp" in metadata):
            return False
        names = [each for each in have if each != FINALIZER] + ([FINALIZER] if keep else [])
        await self._mark(document, {"finalizers": names})
        return True

    async def _mark(self, document: Json, metadata: Json) -> None:
        """Change the Canary's metadata, if it still is what was looked at."""
        patch = {"metadata": {**metadata, "resourceVersion": json.version(document)}}
        answer = await self._cluster.patch(kinds.CANARY, json.namespace(document), json.name(document), patch)
        self._world.cache(kinds.CANARY).absorb(answer)


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


def _called(kind: Kind) -> str:
    return {"ApisixRoute": "APISIX route"}.get(kind.kind, kind.kind)
