"""What guards and actions are given and give back. Private to the machine."""

from dataclasses import dataclass
from datetime import datetime

from services.router.rollout.inputs import Judged, Message, Observation
from services.router.rollout.spec import Spec
from services.router.rollout.state import Purpose, State
from services.router.rollout.texts import Draft


@dataclass(frozen=True, slots=True)
class Context:
    """One decision's inputs."""

    spec: Spec
    state: State
    seen: Observation
    message: Message
    now: datetime

    @property
    def verdict(self) -> Judged:
        """The message, where a guard has made sure that it is a verdict."""
        if not isinstance(self.message, Judged):
            raise TypeError("an action for verdicts was given something else")
        return self.message


@dataclass(frozen=True, slots=True)
class Step:
    """An action's answer: the new state, what to tell, and the tick to arm (purpose, due)."""

    state: State
    events: tuple[Draft, ...] = ()
    tick: tuple[Purpose, datetime] | None = None
    clear_tick: bool = False
