"""Notes on HTTP effects that should happen once although messages are delivered at least once."""

from enum import StrEnum

from faststream.nats import NatsBroker


class MarkerState(StrEnum):
    """What is known about an effect before it is tried."""

    NEW = "new"
    UNSURE = "unsure"
    DONE = "done"


class Markers:
    """One note per effect in a key-value bucket, kept for a day."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker

    async def begin(self, key: str) -> MarkerState:
        """Call before the effect. NEW: nobody tried. UNSURE: somebody tried, it may have happened. DONE: it has."""
        raise NotImplementedError

    async def done(self, key: str, note: str = "") -> None:
        """Call when the effect has happened; `note` is what a later delivery has to know of its outcome."""
        raise NotImplementedError

    async def note(self, key: str) -> str:
        """The note of an effect for which `begin` answered DONE; empty when there is none."""
        raise NotImplementedError

    async def forget(self, key: str) -> None:
        """Call when the effect surely hasn't happened; the next `begin` answers NEW."""
        raise NotImplementedError
