"""What a dead letter holds of its message."""

from typing import Final

from shared.bus.delivery import Delivered
from shared.wire.messages import DeadLetter

_CHARACTERS: Final = 200_000
"""Of a body: JSON may make six bytes of one, and NATS accepts a megabyte."""


def letter(service: str, reason: str, stream: str, delivery: Delivered) -> DeadLetter:
    """Everything needed to look at it."""
    return DeadLetter(
        service=service,
        reason=reason,
        subject=delivery.subject,
        stream=stream,
        stream_seq=delivery.sequence,
        deliveries=delivery.attempts,
        headers=dict(delivery.headers),
        body=delivery.raw.data.decode(errors="replace")[:_CHARACTERS],
    )
