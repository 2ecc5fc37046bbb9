"""What the analyzer needs from outside, named for its need. app.py builds the real ones; tests write their own."""

from collections.abc import Mapping
from typing import Protocol

from services.analyzer.policy import Answer, Reply
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire.messages import Hook, HookPayload, Provider, SecretRef, Verdict


class Objects(Protocol):
    """Reads one Kubernetes object. None: there is none. Raises RetryLater when the API server can't say."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None: ...


class Credentials(Protocol):
    """Reads a secret by name, at most a few seconds old.

    Raises Never when it isn't there or mustn't be read, RetryLater when the API server is away.
    """

    async def read(self, ref: SecretRef) -> Mapping[str, str]: ...


class Metrics(Protocol):
    """Asks a Prometheus. Never raises for anything a Prometheus can do; may take its timeout. May be repeated."""

    async def ask(self, provider: Provider, query: str) -> Answer: ...


class Hooks(Protocol):
    """Calls a webhook, with its retries. Never raises for anything a webhook can do. Repeating it is an effect."""

    async def call(self, hook: Hook, payload: HookPayload, *, event_id: str, repeated: bool) -> Reply: ...


class Outbox(Protocol):
    """Stores a verdict for the router. A second one of the same id is dropped. Raises RetryLater."""

    async def verdict(self, verdict: Verdict) -> None: ...


class Markers(Protocol):
    """Remembers across processes which calls were begun and how they ended. Raises RetryLater."""

    async def begin(self, key: str) -> tuple[State, str]: ...

    async def done(self, key: str, note: str = "") -> None: ...
