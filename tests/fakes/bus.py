"""A bus in memory: what was stored, once per id, and the one tick that waits for each canary."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel

from shared.errors import RetryLater
from shared.wire import subjects
from shared.wire.messages import CloudEvent, Glance, Notice, Tick
from tests.fakes.cluster import Crash


class FakeBus:
    """Keeps the order of publication; `crash_at` makes the n-th publication the process's last."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, BaseModel]] = []
        self.placed: list[tuple[str, str]] = []  # stream and id of each stored message
        self.ids: set[str] = set()
        self.ticks: dict[tuple[str, str], Tick] = {}
        self.glances: dict[tuple[str, str], tuple[Glance, datetime]] = {}
        self.calls = 0
        self.crash_at: int | None = None
        self.away = False

    async def publish(
        self,
        subject: str,
        message: BaseModel,
        *,
        stream: str,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._reach()
        key = f"{stream}/{message_id}"
        if not message_id or key not in self.ids:
            self.ids.add(key)
            self.stored.append((subject, message))
            self.placed.append((stream, message_id))
        self._count()

    async def schedule(self, namespace: str, name: str, message: Tick, due: datetime) -> None:
        self._reach()
        self.ticks[namespace, name] = message
        self._count()

    async def glance(self, namespace: str, name: str, message: Glance, due: datetime) -> None:
        self._reach()
        self.glances[namespace, name] = (message, due)
        self._count()

    async def last(self, stream: str, subject: str) -> tuple[Mapping[str, str], bytes] | None:
        self._reach()
        if stream == subjects.TICK_STREAM:
            waiting = {subjects.schedule(*each): tick for each, tick in self.ticks.items()}
            return ({}, waiting[subject].model_dump_json(exclude_none=True).encode()) if subject in waiting else None
        found = [
            ({"Nats-Msg-Id": message_id} if message_id else {}, message.model_dump_json(exclude_none=True).encode())
            for (each, message), (place, message_id) in zip(self.stored, self.placed, strict=True)
            if place == stream and _fits(each, subject)
        ]
        return found[-1] if found else None

    def _reach(self) -> None:
        if self.away:
            raise RetryLater("the bus is away")

    def _count(self) -> None:
        self.calls += 1
        if self.crash_at is not None and self.calls == self.crash_at:
            self.crash_at = None
            raise Crash(f"after publication {self.calls}")

    def events(self) -> list[CloudEvent]:
        return [message for _, message in self.stored if isinstance(message, CloudEvent)]

    def notices(self) -> list[Notice]:
        return [message for _, message in self.stored if isinstance(message, Notice)]


def _fits(subject: str, wanted: str) -> bool:
    """A filter is a subject or, ending in `>`, all that begin with it."""
    return subject.startswith(wanted[:-1]) if wanted.endswith(">") else subject == wanted
