"""What the watcher needs of the outside, each no wider than that."""

from typing import Protocol

from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire.messages import Message


class Cluster(Protocol):
    """Reads one object by name."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """None when there is none. Raises RetryLater, or Never."""
        ...


class Memory(Protocol):
    """What was last heard of an object; asks nobody."""

    def get(self, kind: Kind, namespace: str, name: str) -> Json | None: ...


class Bus(Protocol):
    """Stores a message; returns once it's stored."""

    async def publish(self, subject: str, message: Message, *, stream: str, message_id: str) -> object:
        """A repeat of the same `message_id` is dropped there. Raises RetryLater, or Never."""
        ...


class Counters(Protocol):
    """What the watcher tells about itself."""

    def published(self, kind: str, seconds: float) -> None:
        """A fact was stored, so long after its change was heard of."""
        ...

    def retried(self) -> None: ...

    def refused(self) -> None: ...
