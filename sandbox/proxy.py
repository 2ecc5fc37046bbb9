"""The sandbox's way out for the services: a plain HTTP forward proxy that knows the cluster's names.

The services run with `HTTP_PROXY` set to it, so manifests keep their addresses (`http://flagger-loadtester.test/`)
and nothing that a test starts can reach anything but the sandbox's own listeners.
"""

from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from sandbox.forwarding import Forwarder
from sandbox.listener import Listener
from sandbox.network import Network

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0)  # the client's own timeout ends a slow answer


class Proxy:
    """An async context manager. `requests` counts what was passed on, by name; `refused` what wasn't."""

    def __init__(self, network: Network, port: int = 0) -> None:
        self.requests: dict[str, int] = {}
        self.refused: list[str] = []
        self._network = network
        self._forwarder = Forwarder()
        self._listener = Listener(self._handle, port=port)

    @property
    def url(self) -> str:
        """The value of HTTP_PROXY."""
        return self._listener.url

    @property
    def port(self) -> int:
        """Its loopback port."""
        return self._listener.port

    async def __aenter__(self) -> Self:
        await self._forwarder.__aenter__()
        await self._listener.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.stop()
        await self._forwarder.__aexit__(kind, error, trace)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        target = URL(request.raw_path, encoded=True)
        host, port = target.host, target.port
        if request.method == "CONNECT" or target.scheme != "http" or host is None or port is None:
            return self._refuse(request.raw_path, "it passes on absolute http:// requests only")
        listener = self._network.resolve(host, port)
        if listener is None:
            return self._refuse(f"{host}:{port}", "nobody has this address in the sandbox")
        self.requests[host] = self.requests.get(host, 0) + 1
        try:
            return await self._forwarder.send(request, listener, target.raw_path_qs, _TIMEOUT)
        except aiohttp.ClientError as error:
            return web.Response(status=502, text=f"{host}:{port} gave no answer: {error}\n")

    def _refuse(self, what: str, why: str) -> web.Response:
        self.refused.append(what)
        return web.Response(status=403, text=f"the sandbox's proxy refuses {what}: {why}\n")
