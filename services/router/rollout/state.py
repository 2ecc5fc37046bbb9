"""The state of one canary's rollout, as `Canary.status` holds it.

Values only; `services.router.status` converts them from and to JSON. `invariants` is checked by tests on every state.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Phase(StrEnum):
    """Flagger's phases, shown as `status.phase`."""

    NEW = ""
    INITIALIZING = "Initializing"
    INITIALIZED = "Initialized"
    WAITING = "Waiting"
    PROGRESSING = "Progressing"
    WAITING_PROMOTION = "WaitingPromotion"
    PROMOTING = "Promoting"
    FINALISING = "Finalising"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TERMINATING = "Terminating"


SETTLED = frozenset({Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED})
"""Nothing is under way, but a drain or a gate may be pending; a new revision starts from here."""

ANALYSING = frozenset({Phase.PROGRESSING, Phase.WAITING_PROMOTION})


class Stage(StrEnum):
    """Where inside a phase; ours, shown as `status.serinus.stage`."""

    IDLE = ""
    DRAINING = "draining"
    """The losing side has weight 0; it keeps its replicas until the drain time has passed."""
    REPORTING = "reporting"
    """The rollout is over; its post-rollout hooks are being asked."""
    CONFIRMING = "confirming"
    """confirm-rollout hooks are being asked for the first time."""
    READYING = "readying"
    """The canary scales up; weight 0."""
    PREPARING = "preparing"
    """The canary is ready; pre-rollout and confirm-traffic-increase hooks decide on the first step; weight 0."""
    JUDGING = "judging"
    """The canary has taken its first step and is judged once an interval."""
    COPYING = "copying"
    """The primary gets the new template and rolls out; traffic stays where it is."""
    SHIFTING = "shifting"
    """The promoted primary takes its traffic back in steps."""
    RESTORING = "restoring"
    """Deleted: the target gets back what the primary runs."""
    RETURNING = "returning"
    """Deleted: the target grows to the primary's size."""
    LEAVING = "leaving"
    """Deleted: everything leads to the target again; the primary stays until all gateways have followed."""


class Purpose(StrEnum):
    """What the pending tick asks; the same words as on the wire."""

    CONFIRM_ROLLOUT = "confirm-rollout"
    PRE_ROLLOUT = "pre-rollout"
    ANALYSIS = "analysis"
    POST_ROLLOUT = "post-rollout"
    PROVIDERS = "providers"
    TIMER = "timer"


@dataclass(frozen=True, slots=True)
class PendingTick:
    """The one tick this canary waits for. `seq` is the transition that armed it."""

    seq: int
    due: datetime
    purpose: Purpose
    revision: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is judged for now, and nothing counted. Bounded by progressDeadlineSeconds."""

    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Cookies:
    """Of session affinity, each as `name=value`; empty where there is none."""

    canary: str = ""
    """Set by the canary's answers while it has a share of the public: who sends it gets the canary."""
    primary: str = ""
    """The same of the primary, if it has one."""
    former: str = ""
    """The canary's of the rollout before: clients may still send it."""


@dataclass(frozen=True, slots=True)
class Raise:
    """Somebody scaled the idle target up, which was put back."""

    manager: str
    at: datetime
    generation: int
    """Of the target as it was found: each is put back once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything a decision may rest on beside spec and observation."""

    phase: Phase = Phase.NEW
    stage: Stage = Stage.IDLE
    weight: int = 0
    """The canary's share in percent, as the route shall have it. The primary has the rest."""
    failed_checks: int = 0
    iterations: int = 0
    """Steps of an analysis without weights, and one more once the public was switched over."""
    cookies: Cookies = Cookies()
    revision: str = ""
    """Under analysis, or the last one that was."""
    promoted: str = ""
    """The revision the primary was last promoted (or initialized) with."""
    promotion: str = ""
    """Id of the copy that the primary shall carry; empty while it keeps what it has."""
    transition: int = 0
    seq: int = 0
    """Number of the last rollout event."""
    tick: PendingTick | None = None
    hold: Hold | None = None
    rollout_started: datetime | None = None
    analysis_started: datetime | None = None
    """When this revision's first step was taken."""
    step_started: datetime | None = None
    step_ticks: int = 0
    """Ticks judged since the last step: 0 until the first."""
    noticed: tuple[str, ...] = field(default=())
    """Warnings already told, so that a lasting condition is told once."""
    request: str = ""
    """Id of the last request annotation that was carried out."""
    providers_checked: bool = False
    supported: bool = True
    raises: tuple[Raise, ...] = ()
    yielded: str = ""
    """Manager to whom the idle target's number of replicas was left."""


BEHIND = "note:weight:"
"""Beginning of the notice that a gateway doesn't follow this step's weight."""

TAKEN_OVER = "taken-over"
"""Stands for the id of a copy that another controller made: the primary carries it as long as it looks like it."""


def untouched(state: State) -> bool:
    """Begun by another controller and not decided on by us yet: until then the world stays as that one left it."""
    begun = state.phase not in {Phase.NEW, Phase.INITIALIZING, Phase.TERMINATING}
    return begun and not state.revision and not state.promoted


UNDER_WAY = ANALYSING | {Phase.WAITING, Phase.PROMOTING, Phase.FINALISING}
"""Phases that must not last: a tick is pending, or people have been told why not."""

_AT_ZERO = frozenset({Phase.NEW, Phase.INITIALIZING, Phase.INITIALIZED, Phase.FINALISING, Phase.SUCCEEDED})
_RESTING = frozenset({Stage.IDLE, Stage.DRAINING, Stage.REPORTING, Stage.CONFIRMING})
_STAGES: dict[Phase, frozenset[Stage]] = {
    Phase.PROGRESSING: frozenset({Stage.READYING, Stage.PREPARING, Stage.JUDGING}),
    Phase.WAITING_PROMOTION: frozenset({Stage.JUDGING}),
    Phase.PROMOTING: frozenset({Stage.COPYING, Stage.SHIFTING}),
    Phase.FINALISING: frozenset({Stage.DRAINING}),
    Phase.TERMINATING: frozenset({Stage.IDLE, Stage.DRAINING, Stage.RESTORING, Stage.RETURNING, Stage.LEAVING}),
    **dict.fromkeys(SETTLED, _RESTING),
}


TERMINATED, LEFT = "terminated", "left"
"""Notices of a deletion: it is over; and what belonged to the Canary shall stay."""


def released(state: State) -> bool:
    """Deleted, and nothing is left for us to do."""
    return state.phase is Phase.TERMINATING and TERMINATED in state.noticed


def blocked(state: State) -> bool:
    """People have been told that we keep our hands off."""
    return any(notice.startswith("block:") for notice in state.noticed)


def invariants(state: State) -> list[str]:
    """What must hold of every state, as sentences about what doesn't."""
    phase, stage, broken = state.phase, state.stage, []
    if not 0 <= state.weight <= 100:
        broken.append(f"weight {state.weight} is no percentage")
    if state.weight and phase in _AT_ZERO:
        broken.append(f"{phase} with canary weight {state.weight}")
    if state.cookies.canary and (state.weight == 0 or phase not in ANALYSING | {Phase.PROMOTING}):
        broken.append(f"{phase} with weight {state.weight} and cookie {state.cookies.canary}")
    if state.iterations and phase not in ANALYSING | {Phase.PROMOTING}:
        broken.append(f"{phase} with iteration {state.iterations}")
    one_side = phase in SETTLED | {Phase.WAITING} or stage in {Stage.READYING, Stage.PREPARING}
    if one_side and state.weight not in {0, 100}:
        broken.append(f"{phase}/{stage} with traffic on both sides")
    if stage not in _STAGES.get(phase, frozenset({Stage.IDLE})):
        broken.append(f"{stage} in {phase}")
    if phase in UNDER_WAY and state.tick is None and not blocked(state):
        broken.append(f"{phase}/{stage} waits for no tick")
    if "block:suspended" in state.noticed and phase not in SETTLED and state.tick is not None:
        broken.append(f"suspended {phase} waits for {state.tick.purpose}, which nobody will take")
    if phase in SETTLED | {Phase.TERMINATING} and (state.tick is None) != (stage is Stage.IDLE):
        broken.append(f"{phase}/{stage} with tick {state.tick}")
    return broken
