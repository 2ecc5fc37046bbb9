"""A namespace has a default service account; a deleted one goes when everything in it has gone."""

from collections.abc import Iterable
from typing import Final

from sandbox.apiserver import kinds
from sandbox.apiserver.objects import Objects
from sandbox.apiserver.store import Event, Key

_ACCOUNT: Final = "default"


class Namespaces:
    """Keys are those of namespaces."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def touched(self, kind: str, event: Event) -> Iterable[Key]:
        if kind == kinds.NAMESPACES:
            return [event.stored.key] if event.type != "DELETED" else []
        home = ("", event.stored.key[0])
        return [home] if event.type == "DELETED" and home[1] else []

    def reconcile(self, key: Key) -> None:
        registry, store = self._objects.registry, self._objects.store
        home = store.get(kinds.NAMESPACES, key)
        if home is None:
            return
        if "deletionTimestamp" not in home.object["metadata"]:
            accounts = registry.built_in(kinds.SERVICE_ACCOUNTS)
            if store.get(accounts.key, (key[1], _ACCOUNT)) is None:
                self._objects.create(accounts, key[1], {"metadata": {"name": _ACCOUNT}})
            return
        left = 0
        for resource in {each.key: each for each in registry.all() if each.namespaced}.values():
            for stored in store.scan(resource.key, key[1]):
                if "deletionTimestamp" not in stored.object["metadata"]:
                    self._objects.delete(resource, stored.key)
            left += len(store.scan(resource.key, key[1]))
        if not left:
            self._objects.delete(registry.built_in(kinds.NAMESPACES), key, {"emptied": True})
