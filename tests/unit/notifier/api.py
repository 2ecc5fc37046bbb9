"""The part of an API server that keeps Events: versions, conflicts, and answers that get lost on their way."""

import asyncio
import copy
from collections.abc import Iterable

from shared.errors import Conflict, RetryLater
from shared.kube import json
from shared.kube.errors import AlreadyExists, Forbidden, Gone
from shared.kube.json import Json
from shared.kube.kinds import EVENT, Kind
from tests.fakes.cluster import merged


class FakeEvents:
    """`turns` says how often others may run before each answer; `lost` whether the answer to a write is lost."""

    def __init__(self, turns: Iterable[int] = (), lost: Iterable[bool] = ()) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.requests: list[str] = []
        self.gone: set[str] = set()
        self.terminating: set[str] = set()
        self.forbidden = False
        self._turns = iter(turns)
        self._lost = iter(lost)
        self._version = 0

    async def create(self, kind: Kind, body: Json) -> Json:
        key = (json.namespace(body), json.name(body))
        await self._asked("create", kind, key[0])
        if key in self.objects:
            raise AlreadyExists("exists")
        return self._stored(key, body)

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json) -> Json:
        key = (namespace, name)
        await self._asked("patch" if patch else "look", kind, namespace)
        found = self.objects.get(key)
        if found is None:
            raise Gone("not found")
        if not patch:
            return copy.deepcopy(found)
        if json.version(patch) not in ("", json.version(found)):
            raise Conflict("modified")
        return self._stored(key, merged(found, patch))

    async def _asked(self, verb: str, kind: Kind, namespace: str) -> None:
        assert kind == EVENT
        self.requests.append(verb)
        for _ in range(next(self._turns, 0)):
            await asyncio.sleep(0)
        if namespace in self.gone:
            raise Gone("namespaces not found")
        if self.forbidden:
            raise Forbidden("events is forbidden")
        if namespace in self.terminating and verb == "create":
            raise Forbidden("forbidden: unable to create new content in namespace x because it is being terminated")

    def _stored(self, key: tuple[str, str], obj: Json) -> Json:
        self._version += 1
        made = copy.deepcopy(obj)
        made["metadata"]["resourceVersion"] = str(self._version)
        self.objects[key] = made
        if next(self._lost, False):
            raise RetryLater("the answer is lost")
        return copy.deepcopy(made)

    @property
    def counts(self) -> dict[str, int]:
        return {json.text(each, "message"): json.number(each, "count") for each in self.objects.values()}
