"""Tells events as Kubernetes Events, each exactly once, whoever tells them: the notifier does, and the router while
there is no bus.

A first telling is one create, a repetition one patch. Nothing is read beforehand: what the API server answered last is
kept for a while to save work, and a version in each patch says when that is no longer true.
"""

import logging
from collections import OrderedDict
from typing import Final, Protocol

from shared.errors import Conflict, RetryLater
from shared.kube import records
from shared.kube.errors import AlreadyExists, Forbidden, Gone
from shared.kube.json import Json
from shared.kube.kinds import EVENT, Kind
from shared.wire.messages import RolloutEvent

KEEP: Final = 2048
"""Events whose last state is kept; each is about a kilobyte."""

TRIES: Final = 6
"""At one telling. Rivals are our own other workers and replicas, with other repetitions of the same text."""

_TERMINATING: Final = "because it is being terminated"
_log: Final = logging.getLogger(__name__)


class Records(Protocol):
    """Writes Kubernetes Events; both answer the object as it is now, and raise what shared.kube.errors lists.

    There's no right to read them: a patch of nothing changes nothing and answers the object.
    """

    async def create(self, kind: Kind, body: Json) -> Json: ...

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json) -> Json: ...


class Events:
    """Safe for several workers and replicas at once."""

    def __init__(self, api: Records) -> None:
        self._api = api
        self._kept: OrderedDict[tuple[str, str], Json] = OrderedDict()

    async def tell(self, event: RolloutEvent) -> None:
        """Raises RetryLater while the API server is away. In a namespace that is going or gone, nobody listens."""
        key = (event.canary.namespace, records.name(event))
        for _ in range(TRIES):
            try:
                if await self._told(key, event):
                    return
            except Conflict:
                await self._look(key)
            except Forbidden as error:
                if _TERMINATING not in str(error):
                    raise
                _log.info("not told, since the namespace is being deleted: %s", event.message)
                return
        raise RetryLater(f"event {key[1]}: {TRIES} lost races", delay=0.2)

    async def _told(self, key: tuple[str, str], event: RolloutEvent) -> bool:
        """False: it expired in the meantime, so it has to be created."""
        found = self._kept.get(key)
        if found is None:
            return await self._create(key, event)
        patch = records.repeat(found, event)
        if patch is None:
            return True
        try:
            self._keep(key, await self._api.patch(EVENT, *key, patch))
        except Gone:
            self._kept.pop(key, None)
            return False
        return True

    async def _create(self, key: tuple[str, str], event: RolloutEvent) -> bool:
        try:
            self._keep(key, await self._api.create(EVENT, records.first(event)))
        except AlreadyExists:
            await self._look(key)
            return False
        except Gone:
            _log.info("not told, since the namespace is gone: %s", event.message)
        return True

    async def _look(self, key: tuple[str, str]) -> None:
        """Reads with the right to patch: an empty patch changes nothing and answers what there is."""
        try:
            self._keep(key, await self._api.patch(EVENT, *key, {}))
        except Gone:
            self._kept.pop(key, None)

    def _keep(self, key: tuple[str, str], found: Json) -> None:
        self._kept[key] = found
        self._kept.move_to_end(key)
        while len(self._kept) > KEEP:
            self._kept.popitem(last=False)
