"""What the demo saw, second by second: the data behind the live view, the event log and the picture."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look. Times are seconds since the demo began; rates are the canary's own where it had any traffic."""

    at: float
    phase: str
    weight: int
    failed_checks: int
    success: float | None
    p99: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One public rollout event, as anybody who subscribes gets it."""

    at: float
    type: str
    message: str
    warning: bool
    weight: int
    checks: tuple[Mapping[str, Any], ...] = ()


@dataclass(slots=True)
class Record:
    """Grows while the demo plays."""

    samples: list[Sample] = field(default_factory=list)
    events: list[Told] = field(default_factory=list)
    chapters: list[tuple[float, str]] = field(default_factory=list)

    def add(self, event: Json, at: float) -> Told:
        """Take in one CloudEvent."""
        data = event["data"]
        told = Told(
            at=at,
            type=data["type"],
            message=data["message"],
            warning=data["event_type"] == "Warning",
            weight=data["weight"],
            checks=tuple(data["checks"]),
        )
        self.events.append(told)
        return told

    def messages(self, since: int = 0) -> list[str]:
        """The texts from the event with this index on."""
        return [event.message for event in self.events[since:]]

    def last_checks(self) -> tuple[Mapping[str, Any], ...]:
        """The checks of the last verdict that anything was told about."""
        return next((event.checks for event in reversed(self.events) if event.checks), ())
