"""The watched cluster as one canary sees it: from caches to `Found`. No writes here, and no decisions.

Secrets and ConfigMaps are cached without their data; a tracked one is read by name when its version moves, hashed and
forgotten.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from services.router import nodes, wanted
from services.router.classes import Classes
from services.router.found import Found, RouteFound
from services.router.index import Index
from services.router.memory import Memory
from services.router.objects import kept_by_target, owned
from services.router.parse import Canary
from services.router.ports import Cache, Writes
from shared.canary import configs
from shared.canary.names import Names
from shared.errors import RetryLater
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire.messages import Fact

_KINDS: Final = {"ConfigMap": kinds.CONFIG_MAP, "Secret": kinds.SECRET}
WATCHED: Final = (
    kinds.CANARY, kinds.METRIC_TEMPLATE, kinds.DEPLOYMENT, kinds.SERVICE, kinds.ENDPOINT_SLICE, kinds.AUTOSCALER,
    kinds.APISIX_ROUTE, kinds.APISIX_UPSTREAM, kinds.CONFIG_MAP, kinds.SECRET,
)  # fmt: skip
OPTIONAL: Final = frozenset({kinds.APISIX_UPSTREAM})
"""Not served by every API server that we run on."""
OWNED: Final = (
    kinds.DEPLOYMENT, kinds.AUTOSCALER, kinds.SERVICE, kinds.APISIX_ROUTE, kinds.APISIX_UPSTREAM, kinds.CONFIG_MAP,
    kinds.SECRET,
)  # fmt: skip
"""Of what kinds a Canary's belongings may be."""
METADATA_ONLY: Final = frozenset({kinds.CONFIG_MAP, kinds.SECRET})
SLOW: Final = 1.0
"""Seconds after which a watch that hasn't brought what a fact tells of is no longer waited for."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """The configs of a target: checksums by key, or why they can't be known."""

    checksums: Mapping[str, str] | None
    problem: str = ""


class World:
    """Everything the router watches."""

    def __init__(
        self,
        caches: Mapping[Kind, Cache],
        cluster: Writes,
        *,
        tracking: bool,
        index: Index,
        classes: Callable[[], Classes | None] = lambda: None,
    ) -> None:
        """`index` is kept up to date by whoever fills the caches. `classes` answers the IngressClasses, or None."""
        self._caches = caches
        self._cluster = cluster
        self._tracking = tracking
        self.memory = Memory()
        self._index = index
        self.news = index.news
        self._classes = classes
        self._checksums: dict[tuple[str, str, str], tuple[str, str | None]] = {}

    def cache(self, kind: Kind) -> Cache:
        return self._caches[kind]

    def canary(self, namespace: str, name: str) -> Json | None:
        """The Canary as the watch last showed it, with what others have wiped out of its status."""
        document = self.cache(kinds.CANARY).get(namespace, name)
        if document is None:
            return None
        self.memory.learn(document)
        return self.memory.recalled(document)

    def wiped(self, namespace: str, name: str) -> bool:
        """Does the status lack what we wrote there?"""
        document = self.cache(kinds.CANARY).get(namespace, name)
        return document is not None and self.memory.wiped(document)

    async def assure(self, namespace: str, name: str) -> None:
        """Has a Canary a phase and nothing of ours, the API server is asked before anybody believes it: the cache may
        have been filled while our fields were pruned, and their return is no new version."""
        document = self.canary(namespace, name)
        if json.text(document, "status", "phase") and not json.mapping(document, "status", "serinus"):
            self.memory.learn(await self._cluster.get(kinds.CANARY, namespace, name) or {})

    async def catch_up(self, fact: Fact) -> None:
        """Let the cache reach what the fact tells of; it reads if the watch is slow."""
        seen = fact.object
        kind = next((each for each in self._caches if each.kind == seen.kind), None)
        if kind is None:
            return
        if fact.checksum:  # the watcher has computed it, so nobody reads the object twice
            self._checksums[seen.kind, seen.namespace, seen.name] = (seen.resource_version, fact.checksum)
        await self._caches[kind].current(seen.namespace, seen.name, seen.resource_version, SLOW)

    def tells(self, fact: Fact) -> bool:
        """May it tell something new? While our part of the status is missing it always may: that can come back unseen."""
        own = json.mapping(self.cache(kinds.CANARY).get(fact.canary.namespace, fact.canary.name), "status", "serinus")
        return not own or self.news.tells(fact)

    async def reread(self, kind: Kind, namespace: str, name: str) -> None:
        """Ask the API server instead of the watch."""
        cache = self._caches[kind]
        fresh = await self._cluster.get(kind, namespace, name)
        if fresh is not None:
            cache.absorb(fresh)
        elif (known := cache.get(namespace, name)) is not None:
            cache.forget(namespace, name, json.uid(known))

    async def reread_parts(self, namespace: str, names: Names) -> None:
        """All that a canary's writes may have lost a race for."""
        parts = (
            (kinds.DEPLOYMENT, names.target), (kinds.DEPLOYMENT, names.primary), (kinds.SERVICE, names.apex),
            (kinds.SERVICE, names.primary_service), (kinds.SERVICE, names.canary_service),
            (kinds.AUTOSCALER, names.primary_autoscaler),
            *((kinds.APISIX_ROUTE, each.canary_route) for each in names.each_route()),
        )  # fmt: skip
        for kind, name in parts:
            if name:
                await self.reread(kind, namespace, name)

    async def found(self, canary: Canary, *, invalid: str, hold: str) -> Found:
        """What is there for this canary. Reads the API only for a tracked config whose version moved."""
        names, namespace = canary.names, canary.spec.namespace
        target = self.cache(kinds.DEPLOYMENT).get(namespace, names.target)
        tracked = await self._tracked(namespace, target)
        services = self.cache(kinds.SERVICE)
        return Found(
            target=target,
            primary=self.cache(kinds.DEPLOYMENT).get(namespace, names.primary),
            services={
                name: service
                for name in (names.apex, names.primary_service, names.canary_service)
                if (service := services.get(namespace, name)) is not None
            },
            upstream=self.cache(kinds.APISIX_UPSTREAM).get(namespace, names.apex),
            upstream_copies={
                name: copy
                for name in (names.primary_service, names.canary_service)
                if (copy := self.cache(kinds.APISIX_UPSTREAM).get(namespace, name)) is not None
            },
            routes={each.route: self._route(namespace, each) for each in names.each_route()},
            classes=self._classes(),
            autoscaler=self._autoscaler(namespace, names.autoscaler),
            primary_autoscaler=self._autoscaler(namespace, names.primary_autoscaler),
            other_autoscaler="" if names.autoscaler else self._scaling(namespace, names.target),
            nodes=self._addresses(namespace, names.canary_service),
            primary_nodes=self._addresses(namespace, names.primary_service),
            templates=self._templates(canary),
            configs=tracked.checksums,
            config_problem=tracked.problem,
            copies=await self._copies(namespace, tracked.checksums or {}),
            rival=self._rival(canary),
            invalid=invalid,
            hold=hold,
            belongings=self._belongings(canary) if canary.spec.deleting else (),
        )

    def _belongings(self, canary: Canary) -> tuple[tuple[Kind, Json], ...]:
        namespace = canary.spec.namespace
        return tuple(
            (kind, each)
            for kind in OWNED
            if kind in self._caches
            for each in self._caches[kind].by_namespace(namespace)
            if owned(canary, each) or (kept_by_target(canary, each) and _of_our_making(canary, kind, each))
        )

    def _route(self, namespace: str, names: Names) -> RouteFound:
        cache = self.cache(kinds.APISIX_ROUTE)
        source = cache.get(namespace, names.route)
        rules, services = json.items(source, "spec", "http"), self.cache(kinds.SERVICE)
        neighbours = {json.text(each, "serviceName") for rule in rules for each in json.items(rule, "backends")}
        return RouteFound(
            source=source,
            generated=cache.get(namespace, names.canary_route),
            siblings=self._index.siblings.sharing(rules, (namespace, names.route), (namespace, names.canary_route)),
            services={name: found for name in neighbours if (found := services.get(namespace, name)) is not None},
        )

    def _autoscaler(self, namespace: str, name: str) -> Json | None:
        return self.cache(kinds.AUTOSCALER).get(namespace, name) if name else None

    def _scaling(self, namespace: str, target: str) -> str:
        return next(map(json.name, self._index.scalers.of(namespace, "Deployment", target)), "")

    def _addresses(self, namespace: str, service: str) -> tuple[str, ...]:
        return nodes.ready_addresses(self._index.slices.of(namespace, service))

    def _templates(self, canary: Canary) -> dict[tuple[str, str], Json]:
        cache, found = self.cache(kinds.METRIC_TEMPLATE), {}
        for metric in canary.model.analysis.metrics if canary.model.analysis else ():
            if metric.template_ref:
                key = (metric.template_ref.namespace or canary.spec.namespace, metric.template_ref.name)
                if (template := cache.get(*key)) is not None:
                    found[key] = template
        return found

    async def _copies(self, namespace: str, tracked: Mapping[str, str]) -> dict[str, str]:
        """What the copies hold, as their annotation says it; one that Flagger made has none, so it is read."""
        found = {}
        for key in tracked:
            word, _, name = key.partition("/")
            kind = kinds.SECRET if word == "secret" else kinds.CONFIG_MAP
            copy = self.cache(kind).get(namespace, f"{name}-primary")
            found[key] = json.text(copy, "metadata", "annotations", wanted.CHECKSUM)
            if copy is not None and not found[key]:
                found[key] = await self._checksum(kind, copy) or ""
        return found

    def _rival(self, canary: Canary) -> str:
        """An older Canary of the same target; the first of equals by name."""
        mine = (json.text(canary.document, "metadata", "creationTimestamp"), canary.spec.name)
        spec = canary.spec
        for each in self._index.canaries.of(spec.namespace, spec.target_kind, spec.target):
            older = (json.text(each, "metadata", "creationTimestamp"), json.name(each)) < mine
            if older and json.uid(each) != spec.uid:
                return f"{json.name(each)}.{json.namespace(each)}"
        return ""

    # --- tracked configs -------------------------------------------------------------------------------------

    async def _tracked(self, namespace: str, target: Json | None) -> Tracked:
        if not self._tracking:
            return Tracked(None)
        checksums: dict[str, str] = {}
        for reference in configs.references(json.mapping(target, "spec", "template")):
            kind = _KINDS[reference.kind]
            seen = self.cache(kind).get(namespace, reference.name)
            if seen is None:
                if reference.optional:
                    continue
                text = f'{reference.kind.lower()} {reference.name}.{namespace} get query error: {kind.plural} "{reference.name}" not found'
                return Tracked(checksums, text)
            checksum = await self._checksum(kind, seen)
            if checksum is not None:
                checksums[reference.key] = checksum
        return Tracked(checksums)

    async def _checksum(self, kind: Kind, seen: Json) -> str | None:
        """Of this object at this version; None if it opts out of tracking."""
        key = (kind.kind, json.namespace(seen), json.name(seen))
        known = self._checksums.get(key)
        if known is None or known[0] != json.version(seen):
            full = await self._cluster.get(kind, key[1], key[2])
            if full is None:
                raise RetryLater(f"{kind.kind} {key[2]}.{key[1]} went away while it was read", delay=0.2)
            value = None if configs.ignored({"kind": kind.kind, **full}) else configs.checksum(full.get("data"))
            known = (json.version(full), value)
            self._checksums[key] = known
        return known[1]


def _of_our_making(canary: Canary, kind: Kind, document: Json) -> bool:
    """By its name, or the mark of a config's copy: people may name the target as an owner, too."""
    if kind in METADATA_ONLY:
        return bool(json.text(document, "metadata", "annotations", wanted.CHECKSUM))
    names = canary.names
    made = {names.apex, names.primary, names.primary_autoscaler, names.primary_service, names.canary_service}
    return json.name(document) in made | {each.canary_route for each in names.each_route()}
