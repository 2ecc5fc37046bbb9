"""What reaches the machine: what the world looks like, and what happened.

`Observation` is complete and level-triggered: a decision never rests on a change, only on how things are.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from services.router.rollout.readiness import READY, Readiness
from services.router.rollout.state import Purpose


class Outcome(StrEnum):
    """Of one check or one verdict; the words of the wire."""

    PASS = "pass"
    FAIL = "fail"
    HOLD = "hold"
    ERROR = "error"


class Kind(StrEnum):
    """What was checked; the words of the wire."""

    METRIC = "metric"
    HOOK = "hook"
    GATE = "gate"
    ROLLBACK = "rollback"
    EVIDENCE = "evidence"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a verdict. `message` is the event text, empty when the check has none to tell."""

    name: str
    kind: Kind
    outcome: Outcome
    message: str = ""
    note: str = ""
    """A warning beside it, told once."""


@dataclass(frozen=True, slots=True)
class Look:
    """Something may have changed: look at everything again."""

    cause: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A tick was judged. It counts only for the tick that the state waits for."""

    cause: str
    revision: str
    seq: int
    due: datetime
    purpose: Purpose
    outcome: Outcome
    checks: tuple[Check, ...] = ()
    abort: str = ""
    """Why the rollout must end at once: of a look between two ticks, which says nothing else."""

    def of(self, kind: Kind) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.kind is kind)


Message = Look | Judged


class Verb(StrEnum):
    """What a person may ask by annotation."""

    APPROVE = "approve"
    PROMOTE = "promote"
    ABORT = "abort"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Request:
    """A request annotation that was not carried out yet."""

    verb: Verb
    id: str


@dataclass(frozen=True, slots=True)
class Raised:
    """The idle target has replicas: who gave it those, and at which of its generations. Without a manager it has none,
    or nobody can be named."""

    manager: str = ""
    generation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The world around one canary, read from caches."""

    revision: str = ""
    """Hash of the target's pod template and tracked configs; empty while it can't be known (see `problem`)."""
    problem: str = ""
    """Why nothing can go on (missing target, route, config): the Warning's text."""
    target_missing: bool = False
    """The problem is that there is no target: nobody serves the canary's share."""
    primary: Readiness = READY
    primary_promotion: str = ""
    """Id of the copy the primary carries."""
    routed: int = 0
    """The canary's percent in the generated route, as it is."""
    primary_revision: str = ""
    """The revision the primary was made from; empty if another controller made it from something else."""
    canary: Readiness = READY
    canary_scaled: bool = True
    """The target's spec.replicas is above zero."""
    fronted: bool = False
    """A Service or route of ours leads past the target. This and the next three are looked at for a deletion only."""
    unpromoted: bool = False
    """The target shows something else than what the primary runs."""
    canary_sized: bool = True
    """The target has as many replicas as the primary."""
    belongings: tuple[str, ...] = ()
    """What would go with the Canary, as texts name it."""
    raised: Raised = Raised()
    """Somebody scaled the target up although it stands idle."""
    sized_by: frozenset[str] = frozenset()
    """Who claims to know the target's number of replicas, beside us."""
    refusals: tuple[str, ...] = ()
    """Texts naming fields that this version refuses."""
    hold: str = ""
    """A reason to hold that is ours to find (foreign writer, incompatible CRD)."""
    cut_off: bool = False
    """No replica has the bus: nobody can be asked, and nobody told but through the API server."""
    cut_off_for: timedelta | None = None
    """How long that may last before a canary with traffic is rolled back (setting of the router); None: for ever."""
    warnings: tuple[str, ...] = ()
    """Texts told once."""
    request: Request | None = None
