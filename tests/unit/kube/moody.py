"""An API server in a bad mood: a small honest one that can be told to misbehave, request by request."""

import asyncio
import json
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox.listener import accept_no_more
from shared.kube.json import Json

Mood = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Moody:
    """Serves Deployments of all namespaces. A mood is taken by the next watch (or list) and then forgotten."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.version = 100
        self.oldest = 0
        self.history: list[tuple[int, Json]] = []
        self.watch_moods: deque[Mood] = deque()
        self.list_moods: deque[Mood] = deque()
        self.requests: list[web.Request] = []
        self.page = 1000
        self.served = True
        self._changed = asyncio.Condition()
        self._streams: set[web.StreamResponse] = set()
        self._runner: web.AppRunner | None = None
        self._socket: socket.socket | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._socket = socket.create_server(("127.0.0.1", self.port))
        await web.SockSite(self._runner, self._socket).start()
        self.port = self._socket.getsockname()[1]

    async def stop(self) -> None:
        for stream in tuple(self._streams):
            cut(stream)
        if self._runner and self._socket:
            await accept_no_more(self._socket)
            await self._runner.cleanup()
            self._runner = None

    async def put(self, name: str, *, uid: str = "", **fields: Any) -> Json:
        key = ("test", name)
        known = self.objects.get(key)
        self.version += 1
        metadata = {
            "namespace": "test",
            "name": name,
            "uid": uid or (known["metadata"]["uid"] if known else f"uid-{name}-{self.version}"),
            "resourceVersion": str(self.version),
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
        }
        obj = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, **fields}
        await self._tell("MODIFIED" if known else "ADDED", key, obj)
        return obj

    async def remove(self, name: str) -> None:
        self.version += 1
        obj = self.objects["test", name]
        obj = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.version)}}
        await self._tell("DELETED", ("test", name), obj)

    async def bookmark(self, version: int) -> None:
        """Also a way to lie about versions."""
        await self._append(
            self.version, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}
        )

    def compact(self) -> None:
        """Forgets the past: whoever resumes from it gets a 410."""
        self.oldest = self.version

    def drop(self) -> None:
        """Cuts all streams without a word."""
        for stream in tuple(self._streams):
            cut(stream)

    def counted(self, *, watch: bool) -> int:
        return sum(("watch" in request.query) is watch for request in self.requests)

    async def _tell(self, kind: str, key: tuple[str, str], obj: Json) -> None:
        if kind == "DELETED":
            del self.objects[key]
        else:
            self.objects[key] = obj
        await self._append(self.version, {"type": kind, "object": obj})

    async def _append(self, version: int, event: Json) -> None:
        async with self._changed:
            self.history.append((version, event))
            self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        moods = self.watch_moods if "watch" in request.query else self.list_moods
        if moods:
            return await moods.popleft()(request)
        if not self.served:
            return status(404, "the server could not find the requested resource")
        if "watch" in request.query:
            return await self._watch(request)
        return self._list(request)

    def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("continue") or 0)
        limit = int(request.query.get("limit", 0)) and self.page
        everything = [dict(obj) for obj in self.objects.values()]
        chosen = everything[start : start + limit] if limit else everything
        for obj in chosen:
            obj.pop("kind"), obj.pop("apiVersion")
        more = {"continue": str(start + limit)} if limit and start + limit < len(everything) else {}
        metadata = {"resourceVersion": str(self.version)} | more
        return web.json_response({"kind": "DeploymentList", "metadata": metadata, "items": chosen})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self.oldest:
            return status(410, "too old resource version", "Expired")
        response = await self.open(request)
        told = 0
        try:
            while True:
                async with self._changed:
                    while told == len(self.history):
                        await self._changed.wait()
                for version, event in self.history[told:]:
                    if version > since:
                        await response.write(json.dumps(event).encode() + b"\n")
                told = len(self.history)
        finally:
            self._streams.discard(response)

    async def open(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        self._streams.add(response)
        return response


def cut(stream: web.StreamResponse) -> None:
    """Closes the connection in the middle of a chunked body."""
    request: Any = stream._req
    if request is not None and request.transport is not None:
        request.transport.abort()


def status(code: int, message: str, reason: str = "", **headers: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code}
    return web.json_response(body, status=code, headers=headers)


def answers(response: Callable[[], web.Response]) -> Mood:
    """A mood that is one plain answer."""

    async def mood(request: web.Request) -> web.StreamResponse:
        return response()

    return mood


def streams(moody: Moody, *chunks: bytes, abort: bool = False) -> Mood:
    """A mood that is a stream of these chunks; then it ends in order, or not."""

    async def mood(request: web.Request) -> web.StreamResponse:
        response = await moody.open(request)
        for chunk in chunks:
            await response.write(chunk)
        if abort:
            await asyncio.sleep(0.02)
            cut(response)
        moody._streams.discard(response)
        return response

    return mood


async def eventually(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Waits for what another task brings about."""
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.002)
