"""One scenario, what it comes to, and the table of several."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

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
    """`act` plays it on a canary of its own; `rough` ones break what others use, so they come one after the other.

    `seconds` is about how long it takes. `tested` names the test of the cluster suite that plays the same its own way;
    the others are played there by this list.
    """

    name: str
    act: Callable[[Rollout], Awaitable[Outcome]]
    rough: bool = False
    seconds: int = 90
    tested: str = ""

    @property
    def namespace(self) -> str:
        return self.name.lower().replace(" ", "-").replace("'", "").replace(",", "")

    def __str__(self) -> str:
        return self.namespace


@dataclass(slots=True)
class Watch:
    """What is counted, from `begin` to `right`."""

    rollouts: tuple[Rollout, ...]
    traffic: tuple[Traffic, ...]
    began: float = 0.0
    ceased: float = 0.0
    ended: float = 0.0

    def begin(self) -> None:
        """Whatever comes now is what the scenario is about: visitors count from here."""
        self.began = self.ceased = time.monotonic()

    def cease(self) -> None:
        """What goes on for a while has had its last: seconds count from here."""
        self.ceased = time.monotonic()

    def right(self) -> None:
        """Everything is as it shall be again. Visitors are counted until the watch is over."""
        self.ended = time.monotonic()

    async def more(self, count: int = 20) -> None:
        """Wait until so many more have come to each: what goes wrong late is missed then."""
        for each in self.traffic:
            await each.more(count)

    def outcome(self) -> Outcome:
        """Of everybody who came since `begin`."""
        answers = [answer for each in self.traffic for answer in each.since(self.began)]
        steps = (irregular(event["seq"] for event in each.scene.listener.of(each.namespace)) for each in self.rollouts)
        return Outcome(
            requests=len(answers),
            failed=tuple(answer for answer in answers if answer.failed),
            steps=tuple(step for each in steps for step in each),
            seconds=self.ended - self.ceased,
        )


@asynccontextmanager
async def watched(*rollouts: Rollout, host: str = "", rate: float = RATE) -> AsyncIterator[Watch]:
    """Visitors come from here on: of these canaries' hosts, unless another one is named."""
    gateway = rollouts[0].scene.stage.gateway
    hosts = [host] if host else [f"{each.namespace}.example.com" for each in rollouts]
    async with AsyncExitStack() as stack:
        traffic = [await stack.enter_async_context(Traffic(gateway, each, rate=rate)) for each in hosts]
        watch = Watch(rollouts, tuple(traffic))
        await watch.more(1)
        yield watch


def irregular(numbers: Iterable[int]) -> list[str]:
    """Events are numbered from 1 without a gap; anything else was lost, or told twice."""
    heard = Counter(numbers)
    lost = [f"{number} lost" for number in range(1, max(heard, default=0)) if number not in heard]
    return [*lost, *(f"{number} told {count} times" for number, count in heard.items() if count > 1)]


def table(rows: Sequence[tuple[str, Outcome]]) -> str:
    """For people and for Markdown."""
    head = [
        "| scenario | requests sent | 5xx seen | steps lost or doubled | seconds until right again |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *(row(name, each) for name, each in rows)])


def row(name: str, each: Outcome) -> str:
    """One line of it."""
    return f"| {name} | {each.requests} | {len(each.failed)} | {len(each.steps)} | {each.seconds:.1f} |"


def wrong(rows: Sequence[tuple[str, Outcome]]) -> list[str]:
    """What no row may have, in words."""
    found = []
    for name, each in rows:
        found += [f"{name}: nobody came"] if not each.requests else []
        found += [f"{name}: a visitor got {answer.status or 'no answer'}: {answer.text}" for answer in each.failed]
        found += [f"{name}: event {step}" for step in each.steps]
    return found
