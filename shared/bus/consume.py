"""From a durable consumer to a handler, and what becomes of the message afterwards."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeVar

from faststream.nats import NatsBroker
from pydantic import TypeAdapter

from shared.runtime.serve import Runtime
from shared.wire.messages import Message

M = TypeVar("M", bound=Message)


class Delivery(Protocol):
    """How a message came. A handler needs it rarely."""

    attempts: int
    subject: str
    headers: Mapping[str, str]

    async def extend(self) -> None:
        """Takes another `ack_wait` from now; happens by itself while the handler runs."""
        ...


def consume(
    broker: NatsBroker,
    *,
    stream: str,
    durable: str,
    filter_subject: str,
    decode: TypeAdapter[M],
    handler: Callable[[M, Delivery], Awaitable[None]],
    runtime: Runtime,
    service: str,
    workers: int = 1,
    max_deliver: int,
    longest_delay: float = 30.0,
) -> None:
    """Registers a consumer; it starts with `broker.connect`."""
    raise NotImplementedError
