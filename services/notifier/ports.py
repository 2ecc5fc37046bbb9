"""What the notifier needs from outside, named for its need. app.py builds the real ones; tests write their own."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from services.notifier.messages import Target
from shared.bus.markers import State
from shared.http.posting import Attempt
from shared.http.webhooks import Called
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.runtime.metrics import CounterName
from shared.wire.messages import Hook, HookPayload, SecretRef


class Objects(Protocol):
    """Reads one Kubernetes object. None: there is none. Raises RetryLater when the API server can't say."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None: ...


class Providers(Protocol):
    """Finds out where an AlertProvider's alerts go. Raises Never with Flagger's text, RetryLater when nobody can say."""

    async def read(self, ref: SecretRef) -> Target: ...


class Messengers(Protocol):
    """POSTs one document. Never raises for anything a server can do; may take its timeout. Repeating it is an effect."""

    async def post(self, url: str, body: Json, headers: Mapping[str, str], *, proxy: str) -> Attempt: ...


class Hooks(Protocol):
    """Calls a webhook, with its retries. Never raises for anything a webhook can do. Repeating it is an effect."""

    async def call(self, hook: Hook, payload: HookPayload, *, event_id: str, repeated: bool) -> Called: ...


class Markers(Protocol):
    """Remembers across processes which tellings were begun and which are done. Raises RetryLater."""

    async def begin(self, key: str) -> tuple[State, str]: ...

    async def done(self, key: str, note: str = "") -> None: ...

    async def forget(self, key: str) -> None: ...


class Meter(Protocol):
    """Counts."""

    def inc(self, name: CounterName, amount: float = 1.0, /, **labels: str) -> None: ...


class Now(Protocol):
    """Wall time."""

    def now(self) -> datetime: ...
