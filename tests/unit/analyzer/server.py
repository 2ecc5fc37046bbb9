"""An HTTP server on the loopback that answers what a test tells it to."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from sandbox.listener import Listener

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def answer(status: int = 200, **parts: Any) -> Answer:
    async def respond(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, **parts)

    return respond


class Server:
    """Answers what it's told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answers: list[Answer] = []
        self.url = ""

    def will(self, *answers: Answer) -> None:
        """The last answer is also given to all that come after."""
        self.answers = list(answers)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        return await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)


@asynccontextmanager
async def serving(path: str = "", tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    found = Server()
    async with Listener(found.handle, tls=tls) as listener:
        found.url = listener.url + path
        yield found
