"""What the router needs from outside, named for its need."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel

from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire.messages import Glance, Tick


class Writes(Protocol):
    """The Kubernetes API, for writes and the few reads that no cache can answer.

    Raises Conflict (somebody wrote first), Never (refused for good) or RetryLater.
    """

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None: ...
    async def create(self, kind: Kind, body: Json) -> Json: ...
    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json: ...
    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None: ...


class Cache(Protocol):
    """A watched kind. Reads never block; `current` waits briefly for the watch to show a version, then asks."""

    def get(self, namespace: str, name: str) -> Json | None: ...
    def all(self) -> Iterable[Json]: ...
    def by_namespace(self, namespace: str) -> Iterable[Json]: ...
    def absorb(self, obj: Json) -> None: ...
    def forget(self, namespace: str, name: str, uid: str) -> None: ...
    async def current(self, namespace: str, name: str, resource_version: str, timeout: float) -> Json | None: ...


class Bus(Protocol):
    """NATS JetStream. Everything is stored when a call returns, or RetryLater is raised."""

    async def publish(
        self,
        subject: str,
        message: BaseModel,
        *,
        stream: str,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None: ...
    async def schedule(self, namespace: str, name: str, message: Tick, due: datetime) -> None: ...
    async def glance(self, namespace: str, name: str, message: Glance, due: datetime) -> None: ...
    async def last(self, stream: str, subject: str) -> tuple[Mapping[str, str], bytes] | None: ...
