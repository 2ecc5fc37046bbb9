"""One delivery of one message, with what may be answered to it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from nats.aio.msg import Msg


class Delivery(Protocol):
    """How a message came. A handler needs it rarely."""

    @property
    def attempts(self) -> int: ...
    @property
    def sequence(self) -> int:
        """Its place in the stream."""
        ...

    @property
    def number(self) -> int:
        """Its place among the deliveries of its durable, whoever got them."""
        ...

    @property
    def subject(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...

    async def extend(self) -> None:
        """Takes another `ack_wait` from now; happens by itself while the handler runs."""
        ...


class Delivered:
    """A Delivery by NATS."""

    def __init__(self, raw: Msg) -> None:
        self.raw = raw
        self.attempts = raw.metadata.num_delivered
        self.sequence = raw.metadata.sequence.stream
        self.number = raw.metadata.sequence.consumer
        self.stored: datetime = raw.metadata.timestamp

    @property
    def subject(self) -> str:
        return self.raw.subject

    @property
    def headers(self) -> Mapping[str, str]:
        return self.raw.headers or {}

    async def extend(self) -> None:
        await self.raw.in_progress()

    async def acknowledge(self) -> None:
        """Done, and the server has said so."""
        try:
            await self.raw.ack_sync(timeout=2.0)
        except TimeoutError:  # disconnected: this one is buffered and sent after the reconnect
            await self.raw.ack()
