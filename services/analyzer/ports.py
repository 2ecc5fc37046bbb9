"""What the analyzer needs from outside, named for its need. app.py builds the real ones; tests write their own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel

from services.analyzer.policy import Answer, Reply
from shared.bus.markers import State
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.runtime.metrics import CounterName, HistogramName
from shared.wire.messages import Glance, Hook, HookPayload, Provider, SecretRef


class Objects(Protocol):
    """Reads one Kubernetes object. None: there is none. Raises RetryLater when the API server can't say."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None: ...


class Credentials(Protocol):
    """Reads a secret by name, at most a few seconds old.

    Raises Never when it isn't there or mustn't be read, RetryLater when the API server is away.
    """

    async def read(self, ref: SecretRef) -> Mapping[str, str]: ...


class Prometheus(Protocol):
    """Asks a Prometheus, for one number or for all series. Never raises for anything a Prometheus can do; may take its
    timeout. May be repeated."""

    async def ask(self, provider: Provider, query: str) -> Answer: ...

    async def rows(self, provider: Provider, query: str) -> Answer: ...


class Hooks(Protocol):
    """Calls a webhook, with its retries. Never raises for anything a webhook can do. Repeating it is an effect."""

    async def call(self, hook: Hook, payload: HookPayload, *, event_id: str, repeated: bool) -> Reply: ...


class Outbox(Protocol):
    """Stores a message. A repeat of the same id is dropped, which counts as success. Raises RetryLater."""

    async def publish(self, subject: str, message: BaseModel, *, stream: str, message_id: str = "") -> None: ...

    async def glance(
        self, namespace: str, name: str, message: Glance, due: datetime, *, next_one: bool = False
    ) -> None: ...


class Markers(Protocol):
    """Remembers across processes which calls were begun and how they ended. Raises RetryLater."""

    async def begin(self, key: str) -> tuple[State, str]: ...

    async def done(self, key: str, note: str = "") -> None: ...


class Meter(Protocol):
    """Counts and measures."""

    def inc(self, name: CounterName, amount: float = 1.0, /, **labels: str) -> None: ...

    def observe(self, name: HistogramName, value: float, /, **labels: str) -> None: ...
