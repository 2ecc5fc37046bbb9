"""The only reader of wall and monotonic time, and the only maker of random ids.

Everything that decides takes the time as an argument; composition passes a `Clock` to what paces itself.
"""

import time
import uuid
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one to compare with what others wrote, one to measure with."""

    def now(self) -> datetime:
        """Wall time, aware, in UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def new_id() -> str:
    """A random id, for things that nothing else identifies."""
    return uuid.uuid4().hex
