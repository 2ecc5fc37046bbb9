"""A misbehaving API server, a door to it, and a followed kind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.kube import door, informer, kinds
from shared.kube.json import Json
from shared.kube.pace import Pace
from tests.unit.kube.moody import Moody

FAST = Pace(first=0.01, most=0.05, missing=0.05, absent=0.05, steady=5.0, grace=0.1)


@dataclass(frozen=True)
class Access:
    kube_url: str
    kube_token_file: str = ""
    kube_ca_file: str = ""
    kubeconfig: str = ""


@pytest.fixture
async def moody() -> AsyncIterator[Moody]:
    server = Moody()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def cluster(moody: Moody) -> AsyncIterator[door.Cluster]:
    opened = await door.connect(Access(moody.url), field_manager="tester")
    yield opened
    await opened.close()


@dataclass
class Followed:
    """A running informer and everything that it told."""

    informer: informer.Informer
    changes: list[tuple[Json | None, Json | None]] = field(default_factory=list)

    def told(self) -> list[str]:
        """The changes in short: `+a` appeared, `~a` changed, `-a` vanished."""
        return [self._short(old, new) for old, new in self.changes]

    def _short(self, old: Json | None, new: Json | None) -> str:
        sign = "+" if old is None else "-" if new is None else "~"
        return sign + str(((new or old) or {})["metadata"]["name"])

    def names(self) -> set[str]:
        return {str(obj["metadata"]["name"]) for obj in self.informer.all()}


@contextlib.asynccontextmanager
async def following(cluster: door.Cluster, pace: Pace = FAST, **options: Any) -> AsyncIterator[Followed]:
    followed = Followed.__new__(Followed)
    followed.changes = []
    followed.informer = informer.Informer(
        cluster, kinds.DEPLOYMENT, pace=pace, on_change=lambda old, new: followed.changes.append((old, new)), **options
    )
    task = asyncio.create_task(followed.informer.run())
    try:
        yield followed
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
