"""What the verbs need of the cluster, what they print with, and how they refuse."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from shared.kube.door import Page
from shared.kube.json import Json
from shared.kube.kinds import Kind

Pause = Callable[[float], Awaitable[None]]
"""Lets so many seconds pass."""
Say = Callable[[str], object]
"""Takes one line for the person."""


class Api(Protocol):
    """The Kubernetes API with the person's rights. Raises the errors of shared.errors and shared.kube.errors."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None: ...
    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = "", metadata_only: bool = False
    ) -> Page: ...
    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long `--wait` waits, and how."""

    seconds: float
    monotonic: Callable[[], float]
    pause: Pause


class Refusal(Exception):
    """What was asked isn't done; the text is one sentence for the person."""


class Impatience(Refusal):
    """What was asked is under way, but not done in the time that was given."""
