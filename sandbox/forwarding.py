"""Passes a request on to a loopback listener: what the gateway's data path and the forward proxy have in common."""

import asyncio
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

# They speak of one connection, not of the message; the length is counted anew.
_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
     "transfer-encoding", "upgrade", "content-length")
)  # fmt: skip
_OURS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # what aiohttp would add by itself


class Forwarder:
    """An async context manager around one client session. Bodies are passed on whole and as they are."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_OURS,
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
            await asyncio.sleep(0)  # the closed transports give up their sockets

    async def send(
        self, request: web.BaseRequest, port: int, target: str, timeout: aiohttp.ClientTimeout
    ) -> web.Response:
        """The answer of the listener to this request, for the path and query `target`.

        Raises aiohttp.ClientError, among them ServerTimeoutError, when there is none.
        """
        if self._session is None:
            raise RuntimeError("enter the forwarder first")
        async with self._session.request(
            request.method,
            URL(f"http://127.0.0.1:{port}{target}", encoded=True),
            headers=_end_to_end(request.headers),
            data=await request.read() if request.can_read_body else None,
            allow_redirects=False,
            timeout=timeout,
        ) as answer:
            headers = _end_to_end(answer.headers)
            return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=await answer.read())


def _end_to_end(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP)
