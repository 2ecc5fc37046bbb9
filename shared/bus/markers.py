"""Notes on HTTP effects that should happen once although messages are delivered at least once.

A note is made before the effect and changed after it. Who finds a note "begun" knows that somebody, perhaps an
earlier life of this process, tried and didn't live to say how it ended. Notes vanish after a day.
"""

import re
from enum import StrEnum
from typing import Final
from urllib.parse import quote

from faststream.nats import NatsBroker

from shared.bus import publish
from shared.errors import RetryLater
from shared.wire import subjects

_STREAM: Final = f"KV_{subjects.MARKER_BUCKET}"
_BEGUN: Final = b"begun"
_DONE: Final = b"done:"
_FORGOTTEN: Final = b"forgotten"


class State(StrEnum):
    """What is known about an effect before it is tried."""

    NEW = "new"
    UNSURE = "unsure"
    DONE = "done"


class Markers:
    """One note per effect in a key-value bucket."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker

    async def begin(self, key: str) -> tuple[State, str]:
        """Call before the effect; the second value is what `done` noted.

        NEW: nobody tried. UNSURE: somebody tried, it may have happened. DONE: it has. Raises RetryLater, after which
        the next answer may be UNSURE though nobody tried: the note was stored, only its acknowledgement got lost.
        """
        try:
            await self._write(key, _BEGUN, after=0)
        except publish.LostRace:
            return await self._known(key)
        return State.NEW, ""

    async def done(self, key: str, note: str = "") -> None:
        """Call when the effect has happened. Raises RetryLater."""
        await self._write(key, _DONE + note.encode())

    async def forget(self, key: str) -> None:
        """Call when the effect surely hasn't happened; the next `begin` answers NEW. Raises RetryLater."""
        await self._write(key, _FORGOTTEN)

    async def _known(self, key: str) -> tuple[State, str]:
        found = await publish.last(self._broker, _STREAM, subject(key))
        if found is None:  # a replica that is behind, or the note's last second
            raise RetryLater(f"marker {key} is there and isn't", delay=0.2)
        headers, body = found
        if body.startswith(_DONE):
            return State.DONE, body.removeprefix(_DONE).decode()
        if body != _FORGOTTEN:
            return State.UNSURE, ""
        await self._write(key, _BEGUN, after=int(headers["Nats-Sequence"]))
        return State.NEW, ""

    async def _write(self, key: str, body: bytes, *, after: int | None = None) -> None:
        headers = {} if after is None else {"Nats-Expected-Last-Subject-Sequence": str(after)}
        await publish.store(self._broker, subject(key), body, stream=_STREAM, headers=headers)


def subject(key: str) -> str:
    """A key as the one subject token that key-value tools can read too: their alphabet has no `:` and no `%`."""
    return f"$KV.{subjects.MARKER_BUCKET}." + re.sub(
        r"[.~]", lambda found: f"={ord(found[0]):02X}", quote(key, safe="")
    ).replace("%", "=")
