"""Flagger and Serinus on one API server, each with a namespace of its own, and what each of them costs there."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.flagger.guide import Play
from sandbox import installed
from sandbox.controlplane.api import Api, Json
from sandbox.controlplane.server import ControlPlane
from sandbox.flagger import world
from sandbox.flagger.process import USER, Flagger
from sandbox.flagger.world import World
from sandbox.stage import Options
from shared.runtime import tasks

SERVICES: Final = ("watcher", "analyzer", "router", "notifier", "bootstrap")
_ACCOUNTS: Final = tuple(f"system:serviceaccount:{installed.NAMESPACE}:serinus-{name}" for name in SERVICES)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Seen:
    """A collection followed by a watch: when something was seen, to the millisecond and without a poll."""

    objects: dict[str, Json] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(self, api: Api, collection: str) -> None:
        """Until cancelled."""
        await api.until(collection, lambda _: True)  # of a definition that has just come
        async for event in api.watch(collection, "0"):
            if event["type"] != "BOOKMARK":
                async with self.changed:
                    self.objects[event["object"]["metadata"]["name"]] = event["object"]
                    self.changed.notify_all()

    async def until(self, name: str, done: Callable[[Json], bool], timeout: float) -> float:
        """When this became so of the object, by `time.monotonic`."""
        try:
            async with asyncio.timeout(timeout), self.changed:
                await self.changed.wait_for(lambda: name in self.objects and done(self.objects[name]))
        except TimeoutError:
            last = self.objects.get(name, {})
            raise TimeoutError(f"{name} isn't as awaited after {timeout:.0f} s: {last.get('status')}") from None
        return time.monotonic()


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the two."""

    name: str
    plane: ControlPlane
    api: Api
    users: frozenset[str]
    pids: Callable[[], Sequence[int]]
    canaries: Seen = field(default_factory=Seen)
    deployments: Seen = field(default_factory=Seen)
    routes: Seen = field(default_factory=Seen)

    @property
    def namespace(self) -> str:
        return self.name.lower()

    def play(self, name: str) -> Play:
        """A canary of this side."""
        return Play(plane=self.plane, api=self.api, namespace=self.namespace, name=name)

    def requests(self, since: int) -> "Counter[str]":
        """Of this side since a place in the audit log, by verb and kind. Watches come and go by themselves."""
        found = (entry for entry in self.plane.audit()[since:] if entry["user"]["username"] in self.users)
        return Counter(_said(entry) for entry in found if entry["verb"] != "watch")

    def memory(self) -> float:
        """Resident now, in MB, of all its processes."""
        return sum(_resident(pid) for pid in self.pids()) / 1e6

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        return sum(_used(pid) for pid in self.pids())


def _said(entry: Json) -> str:
    ref = entry.get("objectRef") or {}
    resource = "/".join(filter(None, (ref.get("resource"), ref.get("subresource"))))
    return f"{entry['verb']} {resource or entry['requestURI']}"


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def _used(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@dataclass(slots=True, kw_only=True)
class Arena:
    """Both, and the world that they share."""

    world: World
    flagger: Side
    serinus: Side

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.flagger, self.serinus


@asynccontextmanager
async def opened(directory: Path, options: Options) -> AsyncIterator[Arena]:
    """Serinus installed from `k8s/`, Flagger as a process; each looks at its own namespace only."""
    audited = (USER.name, *_ACCOUNTS)
    options.settings = {**options.settings, "SERINUS_WATCH_NAMESPACE": "serinus"}
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(world.opened(directory, options, audit_users=audited))
        for name in ("flagger", "serinus"):
            await found.plane.kubectl("create", "namespace", name)
        await installed.install(found.plane, found.stage)
        flagger = await stack.enter_async_context(Flagger(found.plane, found.stage, namespace="flagger"))
        arena = Arena(
            world=found,
            flagger=_side(found, "Flagger", {USER.name}, lambda: [flagger.process.pid]),
            serinus=_side(found, "Serinus", set(_ACCOUNTS), lambda: [*_services(found), found.stage.nats.pid]),
        )
        following = [asyncio.create_task(work) for side in arena.sides for work in _following(side)]
        stack.push_async_callback(tasks.ended, *following)
        yield arena


def _side(found: World, name: str, users: set[str], pids: Callable[[], Sequence[int]]) -> Side:
    return Side(name=name, plane=found.plane, api=found.stage.api, users=frozenset(users), pids=pids)


def _services(found: World) -> list[int]:
    return [container.process.pid for container in found.runner.containers("serinus-")]


def _following(side: Side) -> Iterator[Coroutine[None, None, None]]:
    play = side.play("any")
    for seen, path in ((side.canaries, play.canary), (side.deployments, play.target), (side.routes, play.source)):
        yield seen.follow(side.api, path.rpartition("/")[0])
