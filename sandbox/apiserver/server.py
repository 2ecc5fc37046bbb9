"""The embedded API server: plain HTTP on the loopback, in the caller's event loop, up in a moment.

There is no RBAC: every token, and none, may do everything. Nodes are played by `sandbox.controlplane.kubelet`.
"""

import asyncio
import contextlib
import json
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from sandbox.apiserver import calls, discovery, kinds
from sandbox.apiserver.calls import Target
from sandbox.apiserver.controllers.deployments import Deployments
from sandbox.apiserver.controllers.endpoints import Endpoints
from sandbox.apiserver.controllers.garbage import Garbage
from sandbox.apiserver.controllers.loop import Loop
from sandbox.apiserver.controllers.namespaces import Namespaces
from sandbox.apiserver.controllers.replicasets import ReplicaSets
from sandbox.apiserver.errors import ApiFailure
from sandbox.apiserver.objects import Objects
from sandbox.apiserver.reading import Reader
from sandbox.apiserver.registry import Registry
from sandbox.apiserver.store import Store, encode
from sandbox.apiserver.subresources import Subresources
from sandbox.apiserver.watching import Watch
from sandbox.apiserver.writing import Author, Write
from sandbox.controlplane.api import Api
from sandbox.listener import accept_no_more
from sandbox.ports import free_port

_OPENAPI_V2: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_HEALTH: Final = ("/healthz", "/livez", "/readyz")
_NAMESPACES: Final = ("default", "kube-system")
_LARGEST: Final = 3 * 2**20  # bytes of a body, as a real server has it
_REMEMBERED: Final = 100_000  # requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was answered, or a watch that began. `verb` is Kubernetes' word, empty beside the resources."""

    verb: str
    method: str
    path: str
    agent: str
    user: str
    status: int


class ApiServer:
    """An async context manager. `requests` are the last answered ones, oldest first."""

    ca_file: Final = None

    def __init__(self, *, port: int = 0, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.admin_token = "admin"  # there is nothing to guard
        self.requests: deque[Asked] = deque(maxlen=_REMEMBERED)
        self._registry = Registry()
        self.objects = Objects(Store(), self._registry)
        self._reader = Reader(self.objects)
        self._subresources = Subresources(self.objects)
        self._author = Author(self.objects, self._subresources)
        controllers = (
            Namespaces(self.objects),
            ReplicaSets(self.objects, now),
            Deployments(self.objects, now),
            Endpoints(self.objects),
            Garbage(self.objects),
        )
        self._loop = Loop(self.objects.store, controllers)
        self._controlling: asyncio.Task[None] | None = None
        self._runner: web.AppRunner | None = None
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Serve from now on. May be called again after `stop`: all objects are still there, as after a restart."""
        app = web.Application(client_max_size=_LARGEST)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # Watches of clients that are gone shall not linger until the next change.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self._socket = socket.create_server(("127.0.0.1", self.port))
        await web.SockSite(self._runner, self._socket).start()
        self._controlling = asyncio.create_task(self._loop.run())
        namespaces = self._registry.built_in(kinds.NAMESPACES)
        for name in _NAMESPACES:
            if not self.objects.store.get(namespaces.key, ("", name)):
                self.objects.create(namespaces, "", {"metadata": {"name": name}})

    async def stop(self) -> None:
        """End all connections. Raises what a controller died of."""
        if self._runner and self._socket:
            await accept_no_more(self._socket)
            await self._runner.cleanup()
            self._runner = None
        if self._controlling:
            self._controlling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._controlling

    def forget(self) -> None:
        """Drop the past, as a compaction does: older resourceVersions and continued lists are answered with 410."""
        self.objects.store.forget()
        self._reader.forget()

    def api(self, token: str | None = None) -> Api:
        """A client; the admin's unless another token is given. Enter it with `async with`."""
        return Api(self.url, token or self.admin_token)

    def kubeconfig(self, path: Path, token: str | None = None, namespace: str = "default") -> Path:
        """Write a kubeconfig for a token (the admin's unless another is given)."""
        context = {"cluster": "sandbox", "user": "sandbox", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sandbox",
            "contexts": [{"name": "sandbox", "context": context}],
            "clusters": [{"name": "sandbox", "cluster": {"server": self.url}}],
            "users": [{"name": "sandbox", "user": {"token": token or self.admin_token}}],
        }
        path.write_text(json.dumps(config, indent=2))  # JSON is YAML
        path.chmod(0o600)
        return path

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        verb = ""
        try:
            if (plain := self._plain(request)) is not None:
                response: web.StreamResponse = plain
            else:
                target = calls.target(self._registry, request.path)
                verb = calls.verb(request.method, target, request.query)
                if verb == "watch":
                    return await self._watch(request, target)
                response = await self._serve(request, target, verb)
        except ApiFailure as failure:
            response = _json(failure.code, encode(failure.status()))
        self._record(request, verb, response.status)
        return response

    def _plain(self, request: web.Request) -> web.Response | None:
        """What isn't about objects."""
        if request.path in _HEALTH:
            return web.Response(text="ok")
        if request.path == "/openapi/v2":  # kubectl wants it for kinds that aren't served; nothing is an empty document
            return web.Response(content_type=_OPENAPI_V2)
        document = discovery.document(self._registry, request.path) if request.method == "GET" else None
        return _json(200, encode(document)) if document is not None else None

    async def _serve(self, request: web.Request, target: Target, verb: str) -> web.Response:
        look = calls.look(request.headers.get("Accept", ""), request.query)
        if verb == "list":
            return _json(200, self._reader.list(target, request.query, look))
        if verb == "get" and target.subresource not in ("", "status"):
            return _json(200, self._subresources.read(target))
        if verb == "get":
            return _json(200, self._reader.one(target, look))
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge as error:
            raise ApiFailure(413, "RequestEntityTooLarge", f"the body is limited to {_LARGEST} bytes") from error
        asked = Write(
            verb=verb,
            target=target,
            query=request.query,
            look=look,
            agent=request.headers.get("User-Agent", ""),
            content=request.headers.get("Content-Type", "").split(";")[0].strip(),
            raw=raw,
        )
        return _json(*self._author.write(asked))

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        look = calls.look(request.headers.get("Accept", ""), request.query)
        watch = Watch(self.objects, target, request.query, look)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self._record(request, "watch", 200)
        async with contextlib.aclosing(watch.lines(time.monotonic)) as lines:
            with contextlib.suppress(ConnectionError):  # the client has gone
                async for line in lines:
                    await response.write(line)
        return response

    def _record(self, request: web.Request, verb: str, status: int) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        known = {self.admin_token: "admin", **self._subresources.users}
        self.requests.append(
            Asked(
                verb=verb,
                method=request.method,
                path=request.path,
                agent=request.headers.get("User-Agent", ""),
                user=known.get(token, "system:anonymous"),
                status=status,
            )
        )


def _json(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")
