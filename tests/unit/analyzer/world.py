"""Everything around an analyzer, written as fakes, for tests of what it asks and what it says."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import BaseModel

from services.analyzer.handlers import Analyzer
from services.analyzer.policy import Answer, Reply
from shared.bus.markers import State
from shared.errors import RetryLater
from shared.runtime.metrics import CounterName, HistogramName
from shared.wire.messages import Glance, Hook, HookPayload, Provider, Verdict
from tests.unit.analyzer.asked import DUE


@dataclass
class World:
    """Everything around an analyzer: it plays all ports, and keeps one log of what happened."""

    answers: dict[str, Answer] = field(default_factory=dict)
    series: dict[str, Answer] = field(default_factory=dict)
    """Answers with several rows, by their whole query; those in `answers` go by its beginning."""
    replies: dict[str, Reply] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    verdicts: list[Verdict] = field(default_factory=list)
    message_ids: list[str] = field(default_factory=list)
    glances: list[tuple[Glance, datetime]] = field(default_factory=list)
    counted: list[tuple[str, object]] = field(default_factory=list)
    away: str = ""
    under_way: int = 0
    at_once: int = 0

    async def ask(self, provider: Provider, query: str) -> Answer:
        self.log.append(f"ask {query}")
        await self._a_moment()
        return self.answers.get(query, Answer(value=100.0))

    async def rows(self, provider: Provider, query: str) -> Answer:
        self.log.append(f"rows {query}")
        await self._a_moment()
        return self.series.get(query) or self.answers.get(query.partition("(")[0], Answer())

    async def call(self, hook: Hook, payload: HookPayload, *, event_id: str, repeated: bool) -> Reply:
        self.log.append(f"call {hook.name}{' again' if repeated else ''}")
        assert payload.checksum == "85d557f47b"
        assert event_id.startswith("tick/u-1/abc/7/")
        await self._a_moment()
        reply = self.replies.get(hook.name, Reply(accepted=True))
        return Reply(accepted=reply.accepted, error=reply.error, repeated=repeated)

    async def begin(self, key: str) -> tuple[State, str]:
        if self.away == "begin":
            raise RetryLater("no bus")
        state = State.DONE if key in self.notes else State.UNSURE if key in self.begun else State.NEW
        self.begun.add(key)
        return state, self.notes.get(key, "")

    async def done(self, key: str, note: str = "") -> None:
        if self.away == "done":
            raise RetryLater("no bus")
        self.notes[key] = note

    async def publish(self, subject: str, message: BaseModel, *, stream: str, message_id: str = "") -> None:
        if self.away == "publish":
            raise RetryLater("no bus")
        assert isinstance(message, Verdict)
        assert (subject, stream) == ("serinus.inbox.test.podinfo-canary", "INBOX")
        assert message_id.startswith(message.id)
        self.message_ids.append(message_id)
        self.verdicts.append(message)

    async def glance(
        self, namespace: str, name: str, message: Glance, due: datetime, *, next_one: bool = False
    ) -> None:
        assert next_one, "it must not replace what the router asks"
        if self.away == "publish":
            raise RetryLater("no bus")
        self.glances.append((message, due))

    def inc(self, name: CounterName, amount: float = 1.0, /, **labels: str) -> None:
        self.counted.append((name, labels))

    def observe(self, name: HistogramName, value: float, /, **labels: str) -> None:
        self.counted.append((name, value))

    def now(self) -> datetime:
        return DUE + timedelta(seconds=0.25)

    def monotonic(self) -> float:
        return 0.0

    @property
    def analyzer(self) -> Analyzer:
        return Analyzer(
            prometheus=self, hooks=self, markers=self, outbox=self, clock=self, meter=self, judged_by="analyzer-0"
        )

    @property
    def verdict(self) -> Verdict:
        return self.verdicts[-1]

    @property
    def outcome(self) -> str:
        return self.verdict.outcome.value

    @property
    def shown(self) -> list[tuple[str, str]]:
        return [(check.name, check.outcome) for check in self.verdict.checks]

    async def _a_moment(self) -> None:
        self.under_way += 1
        self.at_once = max(self.at_once, self.under_way)
        await asyncio.sleep(0.001)
        self.under_way -= 1
