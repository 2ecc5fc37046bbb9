"""One scenario, what it comes to, and the table of several."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sandbox.traffic import Answer, Traffic
from tests.e2e.rollouts import Rollout

RATE = 10.0
"""Visitors a second: many scenarios share two cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One row."""

    requests: int
    failed: tuple[Answer, ...]
    """5xx, or no answer."""
    steps: tuple[str, ...]
    """Rollout events that were lost or doubled, in words."""
    seconds: float
    """Until everything was right again."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`act` plays it on a canary of its own; `rough` ones break what others use, so they get a scene of their own."""

    name: str
    act: Callable[[Rollout], Awaitable[Outcome]]
    rough: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.name.lower().replace(" ", "-")

    def __str__(self) -> str:
        return self.namespace


@dataclass(slots=True)
class Watch:
    """What is counted, from `begin` to `right`."""

    rollout: Rollout
    traffic: Traffic
    began: float = 0.0
    ended: float = 0.0

    def begin(self) -> None:
        """Whatever comes now is what the scenario is about."""
        self.began = time.monotonic()

    def right(self) -> None:
        """Everything is as it shall be again. Visitors are counted until the watch is over."""
        self.ended = time.monotonic()

    def outcome(self) -> Outcome:
        """Of everybody who came since `begin`."""
        answers = self.traffic.since(self.began)
        return Outcome(
            requests=len(answers),
            failed=tuple(answer for answer in answers if answer.failed),
            steps=tuple(irregular(event["seq"] for event in self.rollout.scene.listener.of(self.rollout.namespace))),
            seconds=self.ended - self.began,
        )


@asynccontextmanager
async def watched(rollout: Rollout, host: str = "") -> AsyncIterator[Watch]:
    """Visitors come from here on: of this canary's host, unless another one is named."""
    host = host or f"{rollout.namespace}.example.com"
    async with Traffic(rollout.scene.stage.gateway, host, rate=RATE) as traffic:
        await traffic.more(1)
        yield Watch(rollout, traffic)


def irregular(numbers: Iterable[int]) -> list[str]:
    """Events are numbered from 1 without a gap; anything else was lost, or told twice."""
    heard = Counter(numbers)
    lost = [f"{number} lost" for number in range(1, max(heard, default=0)) if number not in heard]
    return [*lost, *(f"{number} told {count} times" for number, count in heard.items() if count > 1)]


def table(rows: Sequence[tuple[str, Outcome]]) -> str:
    """For people and for Markdown."""
    lines = [
        "| scenario | requests sent | 5xx seen | steps lost or doubled | seconds until right again |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {each.requests} | {len(each.failed)} | {len(each.steps)} | {each.seconds:.1f} |"
        for name, each in rows
    ]
    return "\n".join(lines)
