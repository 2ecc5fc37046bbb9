"""A cache that follows one kind, whatever the API server and the network do.

It lists once, then watches from there, and resumes from the last version it has heard of. Only a version that the
server no longer has (410) makes it list again, and then the difference tells what changed and what was deleted
meanwhile. Idle, it costs no request beside the watch, which the server ends after one to two minutes.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from typing import Protocol

from shared.errors import Never, RetryLater
from shared.kube import json, requests
from shared.kube.errors import Expired, Gone, Refused
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.kube.pace import PACE, Pace
from shared.kube.store import OnChange, Store

log = logging.getLogger(__name__)

Keep = Callable[[Json], Json]
"""What of an object is worth its memory. It may change and return what it gets."""


class Source(Protocol):
    """What an informer needs of the API server; shared.kube.door.Cluster is one."""

    def pages(
        self, kind: Kind, namespace: str | None, label_selector: str = "", metadata_only: bool = False, limit: int = 500
    ) -> AsyncIterator[tuple[list[Json], str]]: ...

    def watch(
        self, kind: Kind, namespace: str | None, version: str, seconds: int, *, metadata_only: bool = False
    ) -> AsyncGenerator[Json, None]: ...

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None: ...


def strip_managed_fields(obj: Json) -> Json:
    """Drops who wrote which field: a third of an object's bytes, and nothing we decide by."""
    json.mapping(obj, "metadata").pop("managedFields", None)
    return obj


def slim_managed_fields(obj: Json) -> Json:
    """Keeps who wrote which part (`subresource`) when, and drops the lists of fields."""
    metadata = json.mapping(obj, "metadata")
    metadata["managedFields"] = [
        {key: entry[key] for key in ("manager", "operation", "subresource", "time") if key in entry}
        for entry in json.items(metadata, "managedFields")
    ]
    return obj


class Informer:
    """The objects of one kind in one namespace (None: all). `run` must run for anything to happen."""

    def __init__(
        self,
        cluster: Source,
        kind: Kind,
        *,
        namespace: str | None = None,
        metadata_only: bool = False,
        absent: tuple[type[RetryLater], ...] = (),
        keep: Keep = strip_managed_fields,
        on_change: OnChange | None = None,
        observe: Callable[[str, str], None] | None = None,
        pace: Pace = PACE,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`observe` gets (kind, reason) whenever the watch had to be opened again; `chance` answers 0 to 1. Where the answer is
        one of `absent`, such as Gone where a kind isn't served, there are no objects, and all is well."""
        self.kind = kind
        self.namespace = namespace
        self._cluster = cluster
        self._metadata_only = metadata_only
        self._absent_when = absent
        self._keep = keep
        self._store = Store(on_change)
        self._observe = observe or (lambda kind, reason: None)
        self._pace = pace
        self._chance = chance
        self._synced = asyncio.Event()
        self._known = False
        self._waiting: set[asyncio.Future[None]] = set()
        self._resume = ""
        self._attempt = 0
        self._expired = False
        self._complaint = ""
        self._failing_since: float | None = 0.0
        self._heard = 0.0

    def __len__(self) -> int:
        return len(self._store)

    async def wait_synced(self) -> None:
        """Returns once the first list is complete."""
        await self._synced.wait()

    def synced(self) -> bool:
        """Has the kind been listed once?"""
        return self._synced.is_set()

    def known(self) -> bool:
        """Is what is here what there is, and not the nothing of a kind that can't be seen?"""
        return self._known

    def healthy(self) -> bool:
        """Is this cache complete, and the way to its source open (but for an outage of a few seconds)?"""
        now = asyncio.get_running_loop().time()
        failing = self._failing_since is not None and now - self._failing_since > self._pace.grace
        silent = now - self._heard > self._pace.watch[1] + self._pace.most
        return self._synced.is_set() and not failing and not silent

    def get(self, namespace: str, name: str) -> Json | None:
        """The cached object. Callers must not change it."""
        return self._store.get(namespace, name)

    def all(self) -> Iterable[Json]:
        return self._store.all()

    def by_namespace(self, namespace: str) -> Iterable[Json]:
        return self._store.by_namespace(namespace)

    def absorb(self, obj: Json) -> None:
        """The answer to an own write: it's in the cache at once, unless the cache is newer. `obj` stays as it is."""
        self._store.put(self._trimmed(obj | {"metadata": dict(json.mapping(obj, "metadata"))}))
        self._wake()

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """We deleted that object."""
        self._store.forget(namespace, name, uid)
        self._wake()

    async def at_least(self, namespace: str, name: str, resource_version: str, timeout: float) -> Json | None:
        """The object once the cache reflects that version of it or a later one, or its deletion.

        After `timeout` seconds it's what the cache has; `behind` tells.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.behind(namespace, name, resource_version):
                    moved = asyncio.get_running_loop().create_future()
                    self._waiting.add(moved)
                    try:
                        await moved
                    finally:
                        self._waiting.discard(moved)
        return self._store.get(namespace, name)

    def behind(self, namespace: str, name: str, resource_version: str) -> bool:
        """Is the cache older than that version of the object?"""
        return not self._store.reached(namespace, name, resource_version)

    async def current(self, namespace: str, name: str, resource_version: str, timeout: float) -> Json | None:
        """Like `at_least`, but when the watch doesn't catch up in time, the object is read and absorbed."""
        found = await self.at_least(namespace, name, resource_version, timeout)
        if not self.behind(namespace, name, resource_version):
            return found
        read = await self._cluster.get(self.kind, namespace, name)
        if read is not None:
            self.absorb(read)
            return self._store.get(namespace, name)
        if found is not None:
            self.forget(namespace, name, json.uid(found))
        return None

    async def run(self) -> None:
        """Follows the kind until it's cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            begin = loop.time()
            wait = 0.0
            try:
                if not self._resume:
                    await self._list()
                await self._follow()
                if loop.time() - begin < self._pace.steady:
                    self._observe(self.kind.kind, "ended early")
                    wait = self._back_off()
            except Expired:
                self._observe(self.kind.kind, "expired")
                self._resume = ""
                wait = self._back_off() if self._expired else 0.0  # once at once, also after an outage
                self._expired = True
            except (RetryLater, Never) as error:
                wait = self._absent() if isinstance(error, self._absent_when) else self._failed(error)
            await asyncio.sleep(wait)

    async def _list(self) -> None:
        """Puts the store in line with what is there now, page by page, so that no second copy lies in memory."""
        try:
            await self._list_in_pages(500)
        except Expired:  # so many objects, or so many changes, that the picture expired between two pages
            await self._list_in_pages(0)
        self._known = True
        self._synced.set()
        self._wake()

    async def _list_in_pages(self, limit: int) -> None:
        seen: dict[tuple[str, str], str] = {}
        version = ""
        back_in_time = False
        async for objects, version in self._cluster.pages(self.kind, self.namespace, "", self._metadata_only, limit):
            self._contact()
            back_in_time = back_in_time or json.order(version) < json.order(self._store.version)
            if back_in_time:
                self._store.reset()
            for obj in objects:
                seen[json.namespace(obj), json.name(obj)] = json.uid(obj)
                self._store.listed(self._trimmed(obj), version, everything=back_in_time)
        self._store.sweep(seen, version, everything=back_in_time)
        self._resume = version

    async def _follow(self) -> None:
        low, high = self._pace.watch
        seconds = low + round((high - low) * self._chance())
        events = self._cluster.watch(
            self.kind, self.namespace, self._resume, seconds, metadata_only=self._metadata_only
        )
        begin = asyncio.get_running_loop().time()
        async with contextlib.aclosing(events) as following:
            async for event in following:
                self._contact()
                if event:
                    self._take(event)
                    self._progress()
        if asyncio.get_running_loop().time() - begin > self._pace.steady:
            self._progress()

    def _take(self, event: Json) -> None:
        kind, obj = json.text(event, "type"), json.mapping(event, "object")
        version = json.version(obj)
        if 0 < json.order(version) < json.order(self._resume):
            raise Expired(f"{self.kind.plural}: the server went back from {self._resume} to {version}")
        if kind in ("ADDED", "MODIFIED"):
            self._store.put(self._trimmed(obj))
        elif kind == "DELETED":
            self._store.remove(self._trimmed(obj))
        if version:
            self._resume = self._store.version = version
        self._wake()

    def _trimmed(self, obj: Json) -> Json:
        if self._metadata_only:
            obj = {"metadata": json.mapping(obj, "metadata")}
        obj["apiVersion"], obj["kind"] = self.kind.api_version, self.kind.kind
        return self._keep(obj)

    def _wake(self) -> None:
        for moved in self._waiting:
            if not moved.done():
                moved.set_result(None)

    def _contact(self) -> None:
        self._heard = asyncio.get_running_loop().time()
        self._failing_since = None
        if self._complaint:
            log.info("%s can be followed again", self.kind.plural)
            self._complaint = ""

    def _absent(self) -> float:
        """The kind can't be seen and needn't be: it has no objects, and all is well."""
        self._known = False
        self._store.sweep({}, self._store.version, everything=True)
        self._store.reset()
        self._resume = ""
        self._contact()
        self._progress()
        self._synced.set()
        self._wake()
        return self._pace.absent

    def _failed(self, error: RetryLater | Never) -> float:
        """Notes the failure, tells it once per outage, and answers how long to wait."""
        self._observe(self.kind.kind, requests.outcome(error))
        if self._failing_since is None:
            self._failing_since = asyncio.get_running_loop().time()
        if self._complaint != type(error).__name__:
            self._complaint = type(error).__name__
            log.warning("%s can't be followed: %s", self.kind.plural, error)
        if isinstance(error, Gone | Refused):  # the kind went, or the version we resume from is none any more
            self._resume = ""
        wait = self._back_off()
        if isinstance(error, RetryLater) and error.delay > 1:  # the server named it
            wait = max(wait, error.delay)
        return min(wait, self._pace.missing) if isinstance(error, Gone) else wait

    def _progress(self) -> None:
        self._attempt, self._expired = 0, False

    def _back_off(self) -> float:
        wait = min(self._pace.most, self._pace.first * 2.0 ** min(self._attempt, 16))
        self._attempt += 1
        return wait * (0.5 + self._chance() / 2)
