"""Objects, their one resourceVersion, and the recent past that watches resume from.

What is in the store is never changed: a write puts a new object. So everybody may keep references, lists are pictures,
and an object is encoded once for all who ask.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from sandbox.apiserver import errors
from sandbox.apiserver.kinds import Json

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
Key = tuple[str, str]
"""Namespace (empty for what is in none) and name."""

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def encode(value: object) -> bytes:
    """Compact JSON."""
    return _encode(value).encode()


class Stored:
    """One version of an object, with its JSON once somebody wanted it."""

    __slots__ = ("_metadata", "_raw", "key", "object", "version")

    def __init__(self, key: Key, obj: Json, version: int) -> None:
        self.key = key
        self.object = obj
        self.version = version
        self._raw = b""
        self._metadata = b""

    @property
    def raw(self) -> bytes:
        """The object as JSON. It begins with its kind and apiVersion, see `bare`."""
        if not self._raw:
            self._raw = encode(self.object)
        return self._raw

    @property
    def bare(self) -> bytes:
        """The object without kind and apiVersion, as it stands in lists of built-in kinds."""
        head = encode({"kind": self.object["kind"], "apiVersion": self.object["apiVersion"]})
        return b"{" + self.raw[len(head) :]

    @property
    def metadata_raw(self) -> bytes:
        """The object as PartialObjectMetadata."""
        if not self._metadata:
            head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            self._metadata = encode({**head, "metadata": self.object["metadata"]})
        return self._metadata


@dataclass(frozen=True, slots=True)
class Event:
    """A change. `stored` is the object afterwards (or as it was last, deleted), `previous` before."""

    type: EventType
    stored: Stored
    previous: Stored | None


@dataclass(slots=True, eq=False)
class Subscription:
    """The changes of one kind that somebody hasn't taken yet."""

    events: deque[Event] = field(default_factory=deque)
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, event: Event) -> None:
        self.events.append(event)
        self.woken.set()


class _Shelf:
    """All objects of one kind, and its past. `floor`: changes after this version are remembered."""

    __slots__ = ("floor", "history", "listeners", "objects", "subscriptions")

    def __init__(self, floor: int) -> None:
        self.objects: dict[Key, Stored] = {}
        self.history: deque[Event] = deque()
        self.floor = floor
        self.subscriptions: set[Subscription] = set()
        self.listeners: list[Callable[[Event], None]] = []


class Store:
    """Every write is one version, over all kinds. `history` is how many changes of a kind are remembered."""

    def __init__(self, history: int = 4096) -> None:
        self.version = 1
        self._history = history
        self._floor = 0
        self._shelves: dict[str, _Shelf] = {}
        self._everywhere: list[Callable[[str, Event], None]] = []
        self._dependents: dict[str, dict[tuple[str, Key], None]] = {}
        self._uids: dict[str, tuple[str, Key]] = {}

    def get(self, kind: str, key: Key) -> Stored | None:
        return self._shelf(kind).objects.get(key)

    def scan(self, kind: str, namespace: str = "") -> list[Stored]:
        """The objects of a kind in the order of their names; of all namespaces if none is given."""
        objects = self._shelf(kind).objects
        keys = sorted(key for key in objects if key[0] == namespace) if namespace else sorted(objects)
        return [objects[key] for key in keys]

    def dependents(self, uid: str, kind: str = "") -> list[tuple[str, Stored]]:
        """The objects that name this one as an owner, with their kinds."""
        found = [(each, self.get(each, key)) for each, key in self._dependents.get(uid, ()) if not kind or each == kind]
        return [(each, stored) for each, stored in found if stored]

    def exists(self, uid: str) -> bool:
        return uid in self._uids

    def find(self, uid: str) -> tuple[str, Stored] | None:
        """The object with this uid, with its kind."""
        known = self._uids.get(uid)
        stored = self.get(*known) if known else None
        return (known[0], stored) if known and stored else None

    def put(self, kind: str, obj: Json) -> Stored:
        """Store a new object or a new state of one; its resourceVersion is set here."""
        shelf, key = self._shelf(kind), key_of(obj)
        previous = shelf.objects.get(key)
        stored = shelf.objects[key] = self._next(key, obj)
        if previous is None:
            self._uids[obj["metadata"]["uid"]] = kind, key
        if previous is None or _owners(previous.object) != _owners(obj):
            self._index(kind, previous, stored)
        self._publish(kind, shelf, Event("ADDED" if previous is None else "MODIFIED", stored, previous))
        return stored

    def remove(self, kind: str, key: Key, last: Json | None = None) -> Stored:
        """Forget an object. `last` is how its deletion shows it, if not as it is."""
        shelf = self._shelf(kind)
        previous = shelf.objects.pop(key)
        stored = self._next(key, last or previous.object)
        self._uids.pop(stored.object["metadata"]["uid"], None)
        self._index(kind, previous, None)
        self._publish(kind, shelf, Event("DELETED", stored, previous))
        return stored

    def listen(self, kind: str, hear: Callable[[Event], None]) -> None:
        """Call `hear` at each change of a kind, before the write returns. It must not write."""
        self._shelf(kind).listeners.append(hear)

    def listen_everywhere(self, hear: Callable[[str, Event], None]) -> None:
        self._everywhere.append(hear)

    def subscribe(self, kind: str, since: int) -> Subscription:
        """The changes after a version, as far as they happened, and all later ones. Raises Expired."""
        shelf = self._shelf(kind)
        if since < shelf.floor:
            raise errors.expired(since, shelf.floor)
        subscription = Subscription()
        missed: list[Event] = []
        for event in reversed(shelf.history):
            if event.stored.version <= since:
                break
            missed.append(event)
        for event in reversed(missed):
            subscription.push(event)
        shelf.subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, kind: str, subscription: Subscription) -> None:
        self._shelf(kind).subscriptions.discard(subscription)

    def forget(self) -> None:
        """Drop the past, as the compaction of etcd does."""
        self.version += 1  # whoever knows the newest version of today is late, too
        self._floor = self.version
        for shelf in self._shelves.values():
            shelf.history.clear()
            shelf.floor = self.version

    def _shelf(self, kind: str) -> _Shelf:
        shelf = self._shelves.get(kind)
        if shelf is None:
            shelf = self._shelves[kind] = _Shelf(self._floor)
        return shelf

    def _next(self, key: Key, obj: Json) -> Stored:
        self.version += 1
        ordered = {"kind": obj["kind"], "apiVersion": obj["apiVersion"], **obj}
        ordered["metadata"] = {**obj["metadata"], "resourceVersion": str(self.version)}
        return Stored(key, ordered, self.version)

    def _index(self, kind: str, previous: Stored | None, stored: Stored | None) -> None:
        for owner in _owners(previous.object) if previous else ():
            if known := self._dependents.get(owner["uid"]):
                known.pop((kind, previous.key if previous else ("", "")), None)
                if not known:
                    del self._dependents[owner["uid"]]
        for owner in _owners(stored.object) if stored else ():
            self._dependents.setdefault(owner["uid"], {})[kind, stored.key if stored else ("", "")] = None

    def _publish(self, kind: str, shelf: _Shelf, event: Event) -> None:
        shelf.history.append(event)
        if len(shelf.history) > self._history:
            shelf.floor = shelf.history.popleft().stored.version
        for subscription in shelf.subscriptions:
            subscription.push(event)
        for hear in shelf.listeners:
            hear(event)
        for hear_all in self._everywhere:
            hear_all(kind, event)


def key_of(obj: Json) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _owners(obj: Json) -> Iterable[Json]:
    owners: list[Json] = obj["metadata"].get("ownerReferences") or []
    return owners
