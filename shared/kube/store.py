"""The objects of one kind as last heard of, and what may change them. No I/O; the informer feeds it.

Three sources speak about an object: lists, watch events, and answers to our own writes. They arrive in any order, so
every one is judged by its resourceVersion, and an object that is known dead never comes back to life.
"""

from collections.abc import Callable, Iterator

from shared.kube import json
from shared.kube.json import Json

OnChange = Callable[[Json | None, Json | None], None]
"""(old, new), once per real change. `new` is None for a deletion; then `old` is the object's last known state with the
resourceVersion at which it is known to be gone."""


class Store:
    """By namespace, then by name. Whoever gets an object from here must not change it."""

    def __init__(self, on_change: OnChange | None = None) -> None:
        self._objects: dict[str, dict[str, Json]] = {}
        self._forgotten: dict[str, int] = {}  # uid to the version at which we deleted it; until the watch says so too
        self._on_change = on_change
        self.version = ""
        """Everything up to this resourceVersion is in here."""

    def __len__(self) -> int:
        return sum(len(names) for names in self._objects.values())

    def get(self, namespace: str, name: str) -> Json | None:
        return self._objects.get(namespace, {}).get(name)

    def all(self) -> Iterator[Json]:
        return (obj for names in list(self._objects.values()) for obj in list(names.values()))

    def by_namespace(self, namespace: str) -> Iterator[Json]:
        return iter(list(self._objects.get(namespace, {}).values()))

    def reached(self, namespace: str, name: str, version: str) -> bool:
        """Does this object's entry (or its absence) reflect at least `version`?"""
        wanted = json.order(version)
        return wanted <= json.order(self.version) or wanted <= json.order(json.version(self.get(namespace, name)))

    def put(self, obj: Json) -> None:
        """An event's object or an answer; ignored unless it's news.

        What isn't here at `version` was gone by then, so an older answer about it came too late.
        """
        old = self.get(json.namespace(obj), json.name(obj))
        late = 0 < json.order(json.version(obj)) <= json.order(self.version)
        if not self._risen(obj) and (_newer(obj, old) if old is not None else not late):
            self._set(old, obj)

    def remove(self, obj: Json) -> None:
        """The object of a DELETED event: its last state, with the deletion's own resourceVersion."""
        self._forgotten.pop(json.uid(obj), None)
        old = self.get(json.namespace(obj), json.name(obj))
        if old is not None and (json.uid(old) == json.uid(obj) or _newer(obj, old)):
            self._drop(obj)

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """We deleted it; its remaining events are not awaited. One that is still being finalised comes back."""
        old = self.get(namespace, name)
        # Where its successor is in its place, or has been, the watch may still have to tell of its life.
        self._forgotten[uid] = json.order(self.version if old is None else json.version(old))
        if old is not None and json.uid(old) == uid:
            self._drop(old)

    def reset(self) -> None:
        """The server is another one, with other versions: what it lists next replaces everything."""
        self._forgotten.clear()
        self.version = ""

    def listed(self, obj: Json, version: str, *, everything: bool = False) -> None:
        """An item of a list at `version`. The list is right about all that we know of up to that version."""
        old = self.get(json.namespace(obj), json.name(obj))
        if old is None:
            news = everything or not self._risen(obj)
        else:
            outdated = everything or json.order(json.version(old)) <= json.order(version)
            news = outdated and (json.uid(old), json.version(old)) != (json.uid(obj), json.version(obj))
        if news:
            self._set(old, obj)

    def sweep(self, seen: dict[tuple[str, str], str], version: str, *, everything: bool = False) -> None:
        """After a list at `version` of these (namespace, name) and uids: the rest is gone, unless we wrote it since."""
        for old in list(self.all()):
            unlisted = (json.namespace(old), json.name(old)) not in seen
            if unlisted and (everything or json.order(json.version(old)) <= json.order(version)):
                self._drop(old | {"metadata": json.mapping(old, "metadata") | {"resourceVersion": version}})
        alive = set(seen.values())  # or were, when the list was made; their deletion is still to be told
        self._forgotten = {
            uid: died for uid, died in self._forgotten.items() if uid in alive or died > json.order(version)
        }
        self.version = version

    def _set(self, old: Json | None, obj: Json) -> None:
        self._objects.setdefault(json.namespace(obj), {})[json.name(obj)] = obj
        if self._on_change:
            self._on_change(old, obj)

    def _drop(self, last: Json) -> None:
        names = self._objects[json.namespace(last)]
        del names[json.name(last)]
        if not names:
            del self._objects[json.namespace(last)]
        if self._on_change:
            self._on_change(last, None)

    def _risen(self, obj: Json) -> bool:
        """Is this news of before we deleted it? It may live on, marked, until it is finalised."""
        died = self._forgotten.get(json.uid(obj))
        if died is None:
            return False
        marked = bool(json.text(obj, "metadata", "deletionTimestamp"))
        return not marked or json.order(json.version(obj)) <= died


def _newer(obj: Json, old: Json) -> bool:
    """Versions are numbers, by Kubernetes' own promise; where they aren't, another one is a newer one."""
    new, known = json.order(json.version(obj)), json.order(json.version(old))
    return new > known if new and known else json.version(obj) != json.version(old)
