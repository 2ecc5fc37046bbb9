"""All the caches of one service: an informer per kind and watched namespace, spoken to as one.

With rights for the whole cluster there is one informer per kind; with rights per namespace there is one per kind and
namespace, because a watch over all namespaces would be refused.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from shared.kube import json
from shared.kube.errors import Gone
from shared.kube.informer import Informer, Keep, Source, strip_managed_fields
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.kube.pace import PACE, Pace
from shared.kube.turns import Turns

OnChange = Callable[[Kind, Json | None, Json | None], None]
"""(kind, old, new); see shared.kube.store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """How one kind is followed."""

    keep: Keep = strip_managed_fields
    metadata_only: bool = False
    optional: bool = False
    """The kind needn't be served; where it isn't, it has no objects."""


class Caches:
    """Objects of several kinds. `run` must run for anything to happen."""

    def __init__(
        self,
        cluster: Source,
        kinds: Mapping[Kind, Follow],
        *,
        namespaces: Iterable[str] = (),
        on_change: OnChange | None = None,
        observe: Callable[[str, str], None] | None = None,
        pace: Pace = PACE,
    ) -> None:
        """`namespaces` empty: all of them."""
        source = Turns(cluster)
        self._informers: dict[Kind, dict[str, Informer]] = {}
        self._optional = {kind for kind, follow in kinds.items() if follow.optional}
        for kind, follow in kinds.items():
            self._informers[kind] = {
                namespace: Informer(
                    source,
                    kind,
                    namespace=namespace or None,
                    metadata_only=follow.metadata_only,
                    absent=(Gone,) if follow.optional else (),
                    keep=follow.keep,
                    on_change=_bound(on_change, kind),
                    observe=observe,
                    pace=pace,
                )
                for namespace in tuple(namespaces) or ("",)
            }

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What is followed."""
        return tuple(self._informers)

    @property
    def needed(self) -> tuple[Kind, ...]:
        """What must be served."""
        return tuple(kind for kind in self._informers if kind not in self._optional)

    async def run(self) -> None:
        """Follows everything until it's cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._each():
                group.create_task(informer.run(), name=f"follow {informer.kind.plural} {informer.namespace or ''}")

    async def wait_synced(self) -> None:
        for informer in self._each():
            await informer.wait_synced()

    def synced(self) -> bool:
        """Has everything been listed once?"""
        return all(informer.synced() for informer in self._each())

    def healthy(self) -> bool:
        return all(informer.healthy() for informer in self._each())

    def ailing(self) -> list[str]:
        """The kinds that aren't in order, for people; with their namespaces, where not all are watched."""
        return sorted(
            f"{informer.kind.plural} of {informer.namespace}" if informer.namespace else informer.kind.plural
            for informer in self._each()
            if not informer.healthy()
        )

    def of(self, kind: Kind, namespace: str = "") -> Informer | None:
        """The informer that covers a namespace; None where nobody watches."""
        informers = self._informers[kind]
        return informers.get(namespace) or informers.get("")

    def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        informer = self.of(kind, namespace)
        return informer.get(namespace, name) if informer else None

    def all(self, kind: Kind) -> Iterable[Json]:
        return (obj for informer in self._informers[kind].values() for obj in informer.all())

    def by_namespace(self, kind: Kind, namespace: str) -> Iterable[Json]:
        informer = self.of(kind, namespace)
        return informer.by_namespace(namespace) if informer else ()

    def absorb(self, kind: Kind, obj: Json) -> None:
        if informer := self.of(kind, json.namespace(obj)):
            informer.absorb(obj)

    def forget(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        if informer := self.of(kind, namespace):
            informer.forget(namespace, name, uid)

    async def at_least(self, kind: Kind, namespace: str, name: str, version: str, timeout: float) -> Json | None:
        informer = self.of(kind, namespace)
        return await informer.at_least(namespace, name, version, timeout) if informer else None

    async def current(self, kind: Kind, namespace: str, name: str, version: str, timeout: float) -> Json | None:
        informer = self.of(kind, namespace)
        return await informer.current(namespace, name, version, timeout) if informer else None

    def _each(self) -> Iterable[Informer]:
        return (informer for informers in self._informers.values() for informer in informers.values())


def _bound(on_change: OnChange | None, kind: Kind) -> Callable[[Json | None, Json | None], None] | None:
    if on_change is None:
        return None
    report = on_change
    return lambda old, new: report(kind, old, new)
