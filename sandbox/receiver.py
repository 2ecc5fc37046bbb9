"""Stands for Slack, Teams and whoever else is told things over HTTP: records each POST, answers as it's told to."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox.listener import Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


class Receiver(Listener):
    """The knobs are plain attributes: `first` are the statuses of the next answers, then `status` for all others.

    `delay` is in seconds and comes before the answer; the POST is recorded when it came in.
    """

    def __init__(self, *, status: int = 200, body: str = "ok", delay: float = 0.0, port: int = 0) -> None:
        super().__init__(self._receive, port=port)
        self.status = status
        self.body = body
        self.delay = delay
        self.first: list[int] = []
        self.posts: list[Post] = []
        self._came = asyncio.Condition()

    async def until(self, count: int, *, path: str = "", timeout: float = 30.0) -> list[Post]:
        """The POSTs to paths that begin so, once there are `count` of them; TimeoutError names those that came."""
        try:
            async with asyncio.timeout(timeout), self._came:
                await self._came.wait_for(lambda: len(self._to(path)) >= count)
        except TimeoutError:
            raise TimeoutError(f"{len(self._to(path))} of {count} POSTs to {path or 'any path'} came") from None
        return self._to(path)

    def _to(self, path: str) -> list[Post]:
        return [post for post in self.posts if post.path.startswith(path)]

    async def _receive(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response(status=405)
        post = Post(path=request.path_qs, headers=dict(request.headers), body=await request.read())
        async with self._came:
            self.posts.append(post)
            self._came.notify_all()
        status = self.first.pop(0) if self.first else self.status
        await asyncio.sleep(self.delay)
        return web.Response(status=status, text=self.body)
