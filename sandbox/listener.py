"""A light HTTP server on a free loopback port: the body of every double of the user's world.

It sits below aiohttp's routing on purpose, since the gateway and the application share the machine with everything
that a test or the demo runs.
"""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from aiohttp import web

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


async def accept_no_more(listening: socket.socket) -> None:
    """Before its server closes: asyncio (Python 3.11) forgets a client whom the loop took up just before `close`, socket
    and all, so those who are half way in get in first. Whoever comes later is refused.
    """
    asyncio.get_running_loop().remove_reader(listening.fileno())
    for _ in range(2):  # the turns of the loop from a connection to its protocol
        await asyncio.sleep(0)


class Listener:
    """Started by `async with`. With several handlers each new connection goes to the next of them.

    `grace` is in seconds, what requests under way get when it stops.
    """

    def __init__(
        self,
        *handlers: Handler,
        port: int = 0,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        grace: float = 1.0,
    ) -> None:
        self._handlers = handlers
        self._tls, self._grace = tls, grace
        self._host = host
        self._wanted = port
        self._servers: list[web.Server] = []
        self._listening: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The loopback port; known once started."""
        if self._listening is None:
            raise RuntimeError("the listener isn't started")
        port: int = self._listening.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Without a path."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}"

    async def start(self) -> None:
        """Accept connections from now on."""
        self._servers = [web.Server(handler, access_log=None) for handler in self._handlers]
        turn = itertools.cycle(self._servers)
        self._listening = await asyncio.get_running_loop().create_server(
            lambda: next(turn)(), self._host, self._wanted, backlog=1024, ssl=self._tls
        )

    async def stop(self) -> None:
        """Refuse connections and end those that are open. May be called twice: if the first call was cancelled half way, the
        second ends what that left open."""
        listening, self._listening = self._listening, None
        if listening is not None:
            try:
                for each in listening.sockets:
                    await accept_no_more(each)
            finally:
                listening.close()
        open_ones = [each.transport for server in self._servers for each in server.connections]
        for server in self._servers:
            server.pre_shutdown()  # idle connections end at once, only requests under way get their grace
        await asyncio.gather(*(server.shutdown(self._grace) for server in self._servers))
        for transport in open_ones if self._tls else ():
            if transport is not None:
                transport.abort()  # closing waits for the other side's goodbye, which may be gone
        # A closed transport gives up its socket one turn of the loop later; a test's loop may end right here.
        for _ in range(2):
            await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
