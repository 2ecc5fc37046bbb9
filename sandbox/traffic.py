"""Visitors of one host who keep coming through the gateway, and what each of them got.

Everybody who shows that something costs no request counts with this: a request that found no answer counts as one that failed.
"""

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import aiohttp

from shared.runtime import tasks

NO_ANSWER: Final = 0
_LONGEST: Final = aiohttp.ClientTimeout(total=60)


class Door(Protocol):
    """Where visitors come in; a Gateway is one."""

    @property
    def http_port(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """`at` is a monotonic time, when the request was sent."""

    at: float
    status: int
    text: str = ""
    """Kept of failures only."""

    @property
    def failed(self) -> bool:
        return self.status == NO_ANSWER or self.status >= 500


class Traffic:
    """An async context manager: so many requests a second, evenly, each on its own and none waiting for another."""

    def __init__(self, gateway: Door, host: str, *, rate: float = 20.0, path: str = "/") -> None:
        self.answers: list[Answer] = []
        self._url = f"http://127.0.0.1:{gateway.http_port}{path}"
        self._host, self._rate = host, rate
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._task = asyncio.create_task(self._come())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Those who are under way get their answer."""
        if self._task is not None:
            await tasks.ended(self._task)
        await asyncio.gather(*self._under_way)
        if self._session is not None:
            await self._session.close()

    def since(self, moment: float) -> list[Answer]:
        """What those got who came after this monotonic time."""
        return [answer for answer in self.answers if answer.at >= moment]

    async def more(self, count: int) -> None:
        """Wait until so many more have got their answer."""
        wanted = len(self.answers) + count
        while len(self.answers) < wanted:
            await asyncio.sleep(1 / self._rate)

    async def _come(self) -> None:
        while True:
            task = asyncio.create_task(self._ask())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            await asyncio.sleep(1 / self._rate)

    async def _ask(self) -> None:
        assert self._session is not None
        at = time.monotonic()
        try:
            async with self._session.get(self._url, headers={"Host": self._host}, timeout=_LONGEST) as answer:
                text = await answer.text()
                self.answers.append(Answer(at, answer.status, text[:200] if answer.status >= 500 else ""))
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers.append(Answer(at, NO_ANSWER, str(error)))
