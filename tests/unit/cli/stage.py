"""The command line on a cluster in memory: a door that lists, lines that were said, and time that a pause lets pass."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from cli import app, arguments
from shared.kube.door import Page
from shared.kube.errors import Gone
from shared.kube.json import Json
from shared.kube.kinds import Kind
from tests.fakes.cluster import FakeCluster
from tests.story.theatre import Theatre

REQUEST = "serinus.dev/request"


class Door:
    """What a person's kubeconfig opens. `meanwhile` is what somebody else does right before the next patch."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.meanwhile: list[Callable[[], None]] = []
        self.unserved: set[Kind] = set()

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        return await self._cluster.get(kind, namespace, name)

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = "", metadata_only: bool = False
    ) -> Page:
        if kind in self.unserved:
            raise Gone(f"list {kind.plural}: the server could not find the requested resource")
        found = [
            obj for key, obj in self._cluster.objects.items() if key[0] == kind.kind and namespace in (None, key[1])
        ]
        if metadata_only:
            found = [{"kind": kind.kind, "metadata": obj["metadata"]} for obj in found]
        return found, "1"

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return await self._cluster.patch(kind, namespace, name, patch, subresource=subresource)


@dataclass
class Person:
    """Types commands; `pause` is what happens while `--wait` waits."""

    theatre: Theatre
    pause: Callable[[], Awaitable[None]] | None = None
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.door = Door(self.theatre.cluster)
        self._ids = 0

    async def types(self, command: str) -> list[str]:
        """What was answered."""
        self.said = []
        asked = arguments.parse(command.split())
        await app.run(self.door, asked, self.theatre.clock, self._id, self.said.append, self._pause)
        return self.said

    def _id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"

    async def _pause(self, seconds: float) -> None:
        self.theatre.clock.time += timedelta(seconds=seconds)
        if self.pause:
            await self.pause()

    @property
    def request(self) -> str:
        """The annotation."""
        annotations = self.theatre.canary["metadata"].get("annotations") or {}
        return str(annotations.get(REQUEST, ""))
