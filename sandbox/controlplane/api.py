"""A small client for the Kubernetes API: raw JSON in and out, for the fake kubelet and the tests.

It is independent of the services' own client on purpose: a test must not ask the code under test what is true.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"  # JSON is YAML


class ApiError(Exception):
    """The API server answered with an error; `reason` is Kubernetes' word for it (NotFound, Conflict, …)."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body[:500]}")
        self.status = status
        try:
            self.reason: str = json.loads(body).get("reason", "")
        except (ValueError, AttributeError):
            self.reason = ""


class Api:
    """One identity on one API server. An async context manager; it belongs to the event loop that entered it."""

    def __init__(self, url: str, token: str, ca_file: Path | None = None, *, connections: int = 32) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self.ca_file = ca_file
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else True
        # Watches pin a connection each, so they come on top of those that carry requests.
        connector = aiohttp.TCPConnector(limit=self._connections, ssl=tls, socket_factory=self._socket)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, read_bufsize=2**22)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is None:
            return
        await self._session.close()
        self._session = None
        # The connections of cancelled requests and watches are still saying goodbye in TLS, which aiohttp doesn't wait
        # for; an event loop that closes meanwhile would leak them.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(10.0):
                while left := [sock for sock in self._sockets if sock.fileno() != -1]:
                    for sock in left:
                        with contextlib.suppress(OSError):
                            sock.shutdown(socket.SHUT_RDWR)
                    await asyncio.sleep(0.001)

    async def get(self, path: str, **query: str) -> Json:
        """GET an object, or a list of them."""
        return await self.request("GET", path, query=query)

    async def create(self, path: str, body: Json) -> Json:
        """POST an object to its collection (or a request to a subresource)."""
        return await self.request("POST", path, body=body)

    async def replace(self, path: str, body: Json) -> Json:
        """PUT an object."""
        return await self.request("PUT", path, body=body)

    async def patch(self, path: str, body: Json, kind: str = MERGE, **query: str) -> Json:
        """PATCH an object; `kind` is one of MERGE, STRATEGIC (built-in kinds only) and APPLY (needs `fieldManager`)."""
        return await self.request("PATCH", path, body=body, query=query, content_type=kind)

    async def delete(self, path: str, body: Json | None = None) -> Json:
        """DELETE an object, with DeleteOptions if any."""
        return await self.request("DELETE", path, body=body)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> Json:
        """One request; raises ApiError for an answer of 400 and above, aiohttp's errors for no answer."""
        text = await self.text(method, path, body=body, query=query, content_type=content_type, timeout=timeout)
        found: Json = json.loads(text)
        return found

    async def text(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        timeout: float = 30.0,
    ) -> str:
        """Like `request`, for what isn't JSON (/readyz, /metrics)."""
        async with self._open().request(
            method,
            self.url + path,
            params=query,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": content_type},
            timeout=aiohttp.ClientTimeout(total=timeout),
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise ApiError(answer.status, text)
            return text

    async def watch(self, path: str, version: str, **query: str) -> AsyncIterator[Json]:
        """The events of a collection since `version`, until the server ends the stream; raises ApiError(410) as ERROR."""
        wanted = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true", **query}
        endless = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
        async with self._open().get(self.url + path, params=wanted, timeout=endless) as answer:
            if answer.status >= 400:
                raise ApiError(answer.status, await answer.text())
            async for line in answer.content:
                event: Json = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), json.dumps(event["object"]))
                yield event

    async def until(self, path: str, done: Callable[[Json], bool], *, timeout: float = 120.0, **query: str) -> Json:
        """Ask for an object (or a list) until `done` says yes of it; TimeoutError carries the last answer.

        An object that doesn't exist yet isn't done, nor is one whose server is away or, as for a moment after a new
        CRD, still initializing its storage (429). A poll, since what is awaited is another process's doing; what takes
        long is asked for less often, since many wait at the same time.
        """
        last: Json | str = "nothing"
        pause = 0.05
        try:
            async with asyncio.timeout(timeout):
                while True:
                    try:
                        last = found = await self.get(path, **query)
                        if done(found):
                            return found
                    except ApiError as error:
                        last = str(error)
                        if error.status not in (404, 429):
                            raise
                    except aiohttp.ClientConnectionError as error:
                        last = str(error)
                    await asyncio.sleep(pause)
                    pause = min(pause * 1.1, 0.5)
        except TimeoutError:
            raise TimeoutError(f"{path} isn't as awaited after {timeout} s: {str(last)[:2000]}") from None

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        made = socket.socket(*address[:3])
        self._sockets.add(made)
        return made

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("enter the client first: `async with Api(…) as api`")
        return self._session
