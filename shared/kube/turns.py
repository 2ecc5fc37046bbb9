"""Lists and watches begin a few at a time.

With rights per namespace there is an informer for each kind in each of them. Hundreds that begin in the same moment, as after a
start or an outage of the API server, would be refused by it (429), and what others want of it with them.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from shared.kube.informer import Source
from shared.kube.json import Json
from shared.kube.kinds import Kind

AT_ONCE: Final = 16
"""More than there are kinds: with rights over the cluster nobody waits."""


class Turns:
    """A source that is asked for so much at once and no more. Watches that stand don't count."""

    def __init__(self, source: Source, at_once: int = AT_ONCE) -> None:
        self._source = source
        self._places = asyncio.Semaphore(at_once)

    async def pages(
        self, kind: Kind, namespace: str | None, label_selector: str = "", metadata_only: bool = False, limit: int = 500
    ) -> AsyncIterator[tuple[list[Json], str]]:
        async with self._places:
            async for page in self._source.pages(kind, namespace, label_selector, metadata_only, limit):
                yield page

    async def watch(
        self, kind: Kind, namespace: str | None, version: str, seconds: int, *, metadata_only: bool = False
    ) -> AsyncGenerator[Json, None]:
        events = self._source.watch(kind, namespace, version, seconds, metadata_only=metadata_only)
        async with contextlib.aclosing(events) as following:
            async with self._places:
                first = await anext(following, None)
            if first is not None:
                yield first
                async for event in following:
                    yield event

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        return await self._source.get(kind, namespace, name)
