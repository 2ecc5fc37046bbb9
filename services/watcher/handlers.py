"""What happens when something changed: find the Canaries it matters to, and put a fact for each into the outbox.

`changed` is called by the caches, inside the event loop and in the order of the changes, and never waits. Until
`begin`, when everything has been listed, changes only build up the index; then every Canary of ours gets facts about
itself and its target, and about a tracked config only if it isn't what the status remembers. The first one's id also
says how everything looked that the Canary depends on: replicas that begin together tell it once, and what vanished
while nobody watched is looked for, however soon after the last look.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final

from services.watcher import memory, policy
from services.watcher.index import Entry, Index
from services.watcher.outbox import Outbox, Pending
from services.watcher.policy import Address
from services.watcher.ports import Bus, Cluster
from shared.canary import configs, ownership
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire import subjects
from shared.wire.messages import CanaryRef, Fact

_CONFIGS: Final = {kinds.CONFIG_MAP.kind: kinds.CONFIG_MAP, kinds.SECRET.kind: kinds.SECRET}

Prepare = Callable[[], Awaitable[Fact | None]]


class Handlers:
    """The watcher's ears. It remembers the Deployments' config references, because Canaries depend on them."""

    def __init__(self, *, cluster: Cluster, outbox: Outbox, default_provider: str) -> None:
        self._cluster = cluster
        self._outbox = outbox
        self._default_provider = default_provider
        self._index = Index()
        self._deployments: dict[Address, Json] = {}
        self._begun = False

    @property
    def canaries(self) -> int:
        """How many Canaries are ours."""
        return len(self._index)

    def changed(self, kind: Kind, old: Json | None, new: Json | None) -> None:
        """One change, as the caches tell it: None is nothing there, and a vanished object is its last state."""
        if kind is kinds.DEPLOYMENT:
            self._remember(old, new)
        before = self._waiting(old)
        if kind is kinds.CANARY:
            self._place(old, new)
        obj = new or old
        if not self._begun or obj is None or not policy.material(old, new):
            return
        for canary in sorted({*before, *self._waiting(new)}, key=lambda ref: ref.uid):
            self._tell(canary, obj, deleted=new is None)

    def begin(self, objects: Iterable[Json]) -> None:
        """Everything was listed, and this is it: changes are told from now on, what happened before is made up for."""
        self._begun = True
        views = self._views(objects)
        for entry in self._index.all():
            first = policy.fact(entry.ref, entry.canary, view=policy.view(views.get(entry.ref.uid, ())))
            self._put(entry.ref, policy.address(entry.canary), partial(_given, first))
            if target := self._deployments.get(entry.target):
                self._tell(entry.ref, target)
                self._catch_up(entry, target)

    def _views(self, objects: Iterable[Json]) -> dict[str, list[Json]]:
        """What there is for each Canary, by its uid."""
        views: dict[str, list[Json]] = {}
        for obj in objects:
            for canary in self._waiting(obj):
                views.setdefault(canary.uid, []).append(obj)
        return views

    def _remember(self, old: Json | None, new: Json | None) -> None:
        """Keeps track of what a Deployment's template refers to."""
        obj = new or old
        if obj is None:
            return
        address = policy.address(obj)
        if new is None:
            self._deployments.pop(address, None)
        else:
            self._deployments[address] = new
        if memory.tracked(old) != memory.tracked(new) and new is not None:
            self._index.retrack(address, memory.tracked(new))

    def _place(self, old: Json | None, new: Json | None) -> None:
        """A Canary enters the index, moves within it, or leaves it."""
        if new is not None and ownership.ours(new, self._default_provider):
            self._index.put(new, memory.tracked(self._deployments.get(policy.target(new))))
        elif gone := new or old:
            self._index.drop(policy.address(gone))

    def _waiting(self, obj: Json | None) -> tuple[CanaryRef, ...]:
        return self._index.of(policy.addresses(obj)) if obj is not None else ()

    def _tell(self, canary: CanaryRef, obj: Json, *, deleted: bool = False) -> None:
        prepare: Prepare
        if json.text(obj, "kind") in _CONFIGS and not deleted:
            prepare = partial(self._read, canary, obj)
        else:
            prepare = partial(_given, policy.fact(canary, obj, deleted=deleted))
        self._put(canary, policy.address(obj), prepare)

    def _put(self, canary: CanaryRef, address: Address, prepare: Prepare) -> None:
        self._outbox.put(Pending(canary, address, prepare, asyncio.get_running_loop().time()))

    def _catch_up(self, entry: Entry, target: Json) -> None:
        """A tracked config may have changed while nobody watched."""
        remembered = json.mapping(entry.canary, "status", "trackedConfigs")
        for ref in memory.tracked(target):
            stub = {"kind": ref.kind, "metadata": {"namespace": entry.target.namespace, "name": ref.name}}
            prepare = partial(self._read, entry.ref, stub, json.text(remembered, ref.key))
            self._put(entry.ref, policy.address(stub), prepare)

    async def _read(self, canary: CanaryRef, obj: Json, known: str | None = None) -> Fact | None:
        """The fact about a ConfigMap or Secret as it is now; its content is gone when this returns.

        None when there's none (its deletion is told by itself), or when its checksum is `known` already.
        """
        kind = _CONFIGS[json.text(obj, "kind")]
        found = await self._cluster.get(kind, json.namespace(obj), json.name(obj))
        if found is None:
            return None
        found["kind"] = kind.kind
        checksum = None if configs.ignored(found) else configs.checksum(found.get("data"))
        if known is not None and (checksum or "") == known:
            return None
        return policy.fact(canary, found, checksum=checksum)


async def _given(fact: Fact) -> Fact:
    return fact


async def store(bus: Bus, fact: Fact) -> None:
    """Puts one fact into the router's inbox."""
    subject = subjects.inbox(fact.canary.namespace, fact.canary.name)
    await bus.publish(subject, fact, stream=subjects.INBOX_STREAM, message_id=fact.id)
