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


class Bus(Protocol):
    """Stores a message; returns once it's stored."""

    async def publish(self, subject: str, message: Message, *, stream: str, message_id: str) -> None:
        """A repeat of the same `message_id` is dropped there. Raises RetryLater, or Never."""
        ...
