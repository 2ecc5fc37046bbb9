"""A bus in memory: what was stored, once per id, and the one tick that waits for each canary."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel

from shared.wire import subjects
from shared.wire.messages import CloudEvent, Notice, Tick
from tests.fakes.cluster import Crash


class FakeBus:
    """Keeps the order of publication; `crash_at` makes the n-th publication the process's last."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, BaseModel]] = []
        self.ids: set[str] = set()
        self.ticks: dict[tuple[str, str], Tick] = {}
        self.calls = 0
        self.crash_at: int | None = None

    async def publish(
        self,
        subject: str,
        message: BaseModel,
        *,
        stream: str,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        key = f"{stream}/{message_id}"
        if key not in self.ids:
            self.ids.add(key)
            self.stored.append((subject, message))
        self._count()

    async def schedule(self, namespace: str, name: str, message: Tick, due: datetime) -> None:
        self.ticks[namespace, name] = message
        self._count()

    async def last(self, stream: str, subject: str) -> tuple[Mapping[str, str], bytes] | None:
        prefix = subject.removesuffix(">")
        found = [
            message for each, message in self.stored if each.startswith(prefix) and stream == subjects.ROLLOUT_STREAM
        ]
        return ({}, found[-1].model_dump_json().encode()) if found else None

    def _count(self) -> None:
        self.calls += 1
        if self.crash_at is not None and self.calls == self.crash_at:
            self.crash_at = None
            raise Crash(f"after publication {self.calls}")

    def events(self) -> list[CloudEvent]:
        return [message for _, message in self.stored if isinstance(message, CloudEvent)]

    def notices(self) -> list[Notice]:
        return [message for _, message in self.stored if isinstance(message, Notice)]
