"""What every connection to NATS has in common, whichever library opens it: its voice in the log, and its TLS."""

import asyncio
import logging
import ssl
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from nats.aio.client import Client
from nats.errors import Error

from shared.errors import Never

log = logging.getLogger(__name__)

T = TypeVar("T")

_CLOSING: Final = 3.0
"""Seconds that the end of a connection may take."""

HOPELESS: Final = frozenset(
    {
        "authorization violation",
        "invalid client protocol",
        "maximum connections exceeded",
        "secure connection - tls required",
    }
)
"""What a server says for good: asking again with the same settings gets the same answer."""


class Link:
    """Tells each change of one connection once, and when it's over for good."""

    def __init__(
        self,
        on_closed: Callable[[], None],
        on_change: Callable[[], None] = lambda: None,
        *,
        fatal: Collection[str] = HOPELESS,
    ) -> None:
        self._on_closed = on_closed
        self._on_change = on_change
        self._fatal = fatal
        self.down = asyncio.Event()
        """Set while a connection that was there is lost."""
        self.outages = 0
        """How often it was lost and came back: the bus may be another one since."""
        self._told: set[str] = set()
        self._ending = False

    def ending(self) -> None:
        """From now on, losing the connection is what we want."""
        self._ending = True

    async def error(self, error: Exception) -> None:
        """Also called for each failed attempt to connect, once a second and server: each text is told once."""
        text = " ".join(f"{type(error).__name__}: {error}".removesuffix(": ").split())
        log.log(logging.DEBUG if text in self._told else logging.WARNING, "NATS: %s", text)
        self._told.add(text)
        if isinstance(error, Error) and str(error).removeprefix("nats: ").strip("'").lower() in self._fatal:
            self._on_closed()

    async def lost(self) -> None:
        self.down.set()
        if not self._ending:
            log.warning("the connection to NATS is lost")
            self._on_change()

    async def back(self) -> None:
        self.down.clear()
        self.outages += 1
        self._told.clear()
        log.info("connected to NATS again")
        self._on_change()

    async def closed(self) -> None:
        if not self._ending:
            self._on_closed()


async def close(client: Client) -> None:
    """nats-py waits for ever where the server's certificate is refused again and again (measured)."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSING):
            await client.close()


def tls(ca_file: str) -> ssl.SSLContext | None:
    """Trust in this CA alone; None leaves the choice to the URL and the system's CAs."""
    return ssl.create_default_context(cafile=ca_file) if ca_file else None


def seed(file: str) -> str:
    """The nkey seed in this file, for the whole life of a connection. Raises Never when there is none.

    nats-py, given the file, signs with what stands in it at each reconnect but goes on naming the first public key
    (measured): a rotated Secret, which changes under a running pod, would make the server refuse it.
    """
    try:
        return Path(file).read_text().strip()
    except OSError as error:
        raise Never(f"no nkey seed for NATS: {error}") from error


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The work's answer, or None when the event was set first; the work is cancelled then."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()  # changes nothing about one that is done
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
    return None if working.cancelled() else working.result()
