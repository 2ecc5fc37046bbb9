"""GET with `watch`: what changes, as one JSON object a line, until the client has gone or its time is up."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final

from sandbox.apiserver import calls, errors
from sandbox.apiserver.calls import Look, Target
from sandbox.apiserver.errors import ApiFailure
from sandbox.apiserver.kinds import Json, Resource
from sandbox.apiserver.objects import Objects
from sandbox.apiserver.reading import Matches, matcher, shown
from sandbox.apiserver.store import Event, Stored, Subscription, encode

_LONGEST: Final = 1800  # seconds of a watch that names no timeout
_INITIAL_END: Final = {"k8s.io/initial-events-end": "true"}


class Watch:
    """One watch. `bookmarks` is how many quiet seconds pass between two bookmarks."""

    def __init__(
        self, objects: Objects, target: Target, query: Mapping[str, str], look: Look, bookmarks: float = 30.0
    ) -> None:
        self._store = objects.store
        self._resource = target.resource
        self._namespace = target.namespace
        self._matches: Matches = matcher(target, query)
        self._look = look
        self._pause = bookmarks if calls.truth(query, "allowWatchBookmarks") else float(_LONGEST)
        self._bookmarks = calls.truth(query, "allowWatchBookmarks")
        self._initial = calls.truth(query, "sendInitialEvents")
        self._since = calls.number(query, "resourceVersion")
        self._seconds = calls.number(query, "timeoutSeconds") or _LONGEST
        if self._since > self._store.version:
            raise errors.too_large_version(self._since, self._store.version)

    async def lines(self, now: Callable[[], float]) -> AsyncGenerator[bytes, None]:
        """The stream. `now` is a monotonic clock."""
        deadline = now() + self._seconds
        # Without a version, or with 0, a watch begins with what is there.
        picture = self._initial or not self._since
        try:
            subscription = self._store.subscribe(self._resource.key, self._store.version if picture else self._since)
        except ApiFailure as failure:
            yield _line("ERROR", encode(failure.status()))
            return
        try:
            for stored in self._store.scan(self._resource.key, self._namespace) if picture else ():
                if self._matches(stored.object):
                    yield self._event("ADDED", stored)
            if self._initial and self._bookmarks:
                yield self._bookmark(_INITIAL_END)
            while (left := deadline - now()) > 0:
                if await _woken(subscription, min(left, self._pause)):
                    for line in self._taken(subscription):
                        yield line
                elif self._bookmarks:
                    yield self._bookmark()
        finally:
            self._store.unsubscribe(self._resource.key, subscription)

    def _taken(self, subscription: Subscription) -> list[bytes]:
        subscription.woken.clear()
        found: list[bytes] = []
        while subscription.events:
            event = subscription.events.popleft()
            if not self._namespace or event.stored.key[0] == self._namespace:
                found += self._seen(event)
        return found

    def _seen(self, event: Event) -> list[bytes]:
        """A selector makes objects appear and vanish by what they are labelled with."""
        previous = event.previous
        was = previous is not None and event.type != "ADDED" and self._matches(previous.object)
        holds = event.type != "DELETED" and self._matches(event.stored.object)
        if holds:
            return [self._event("MODIFIED" if was else "ADDED", event.stored)]
        if not was or previous is None:
            return []
        if event.type == "DELETED":
            return [self._event("DELETED", event.stored)]
        metadata = {**previous.object["metadata"], "resourceVersion": str(event.stored.version)}
        gone = Stored(previous.key, {**previous.object, "metadata": metadata}, event.stored.version)
        return [self._event("DELETED", gone)]

    def _event(self, word: str, stored: Stored) -> bytes:
        return _line(word, shown(self._resource, stored, self._look))

    def _bookmark(self, annotations: Json | None = None) -> bytes:
        return _line("BOOKMARK", encode(_position(self._resource, self._look, self._store.version, annotations)))


def _position(resource: Resource, look: Look, version: int, annotations: Json | None) -> Json:
    kind, api_version = (look.shape, "meta.k8s.io/v1") if look.shape else (resource.kind, resource.api_version)
    metadata: Json = {"resourceVersion": str(version), "creationTimestamp": None}
    if annotations:
        metadata["annotations"] = annotations
    return {"kind": kind, "apiVersion": api_version, "metadata": metadata}


def _line(word: str, obj: bytes) -> bytes:
    return b'{"type":"' + word.encode() + b'","object":' + obj + b"}\n"


async def _woken(subscription: Subscription, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await subscription.woken.wait()
    except TimeoutError:
        return False
    return True
