"""What the machine needs to know of a Canary's spec, and the arithmetic of weights.

Built by `services.router.parse`; frozen, and complete: defaults are already in it.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Strategy(StrEnum):
    """How a canary is tried; Flagger's words."""

    CANARY = "canary"
    """The public reaches it in growing shares."""
    BLUE_GREEN = "blue-green"
    """The public reaches it all at once, after so many passed checks."""
    AB_TESTING = "ab-testing"
    """Testers reach it for so many checks; the public never does before it is promoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One Canary's rules. Names follow Flagger: `target` is targetRef.name."""

    namespace: str
    name: str
    uid: str
    target: str
    target_kind: str = "Deployment"
    interval: timedelta = timedelta(seconds=60)
    threshold: int = 1
    step: int = 0
    steps: tuple[int, ...] = ()
    max_weight: int = 100
    promotion_step: int = 0
    iterations: int = 0
    """Passed checks that an analysis without weights takes; 0: it goes by weights."""
    testers: bool = False
    """Requests that `analysis.match` describes go to the canary while it is analysed."""
    mirror: bool = False
    """The canary gets copies of requests as long as it gets none of its own."""
    cookie: str = ""
    """Name of the cookie that keeps clients on the canary; empty without session affinity."""
    primary_cookie: str = ""
    """The same for the primary."""
    deadline: timedelta = timedelta(seconds=600)
    skip_analysis: bool = False
    suspended: bool = False
    hooks: frozenset[str] = frozenset()
    """Webhook types that the Canary has at least one of."""
    muted: frozenset[str] = frozenset()
    """Names of webhooks whose waiting alert is muted."""
    drain: timedelta = timedelta(seconds=10)
    """How long traffic may linger on a side after its weight went to zero (setting of the router)."""
    deleting: bool = False
    """Deleted, and our finalizer keeps it."""

    @property
    def canary_ref(self) -> str:
        """`N.NS`, as texts name the canary."""
        return f"{self.name}.{self.namespace}"

    @property
    def target_ref(self) -> str:
        """`T.NS`, as texts name the workload."""
        return f"{self.target}.{self.namespace}"

    @property
    def primary_ref(self) -> str:
        return f"{self.target}-primary.{self.namespace}"

    @property
    def strategy(self) -> Strategy:
        if self.iterations == 0:
            return Strategy.CANARY
        return Strategy.AB_TESTING if self.testers else Strategy.BLUE_GREEN


@dataclass(frozen=True, slots=True)
class Move:
    """One step of an analysis, by where it leads."""

    weight: int
    iterations: int = 0
    switch: bool = False
    """The public goes to the canary all at once."""


def next_move(spec: Spec, weight: int, iterations: int, *, begun: bool) -> Move | None:
    """The step after so much, or None when the analysis is complete. `begun`: there was a first step.

    Iterations keep the weight that they find: none, but after a failed promotion all.
    """
    if spec.iterations > 0:
        if iterations < spec.iterations:
            return Move(weight, iterations + 1)
        switches = spec.strategy is Strategy.BLUE_GREEN and weight < 100
        return Move(100, spec.iterations + 1, switch=True) if switches else None
    if spec.mirror and not begun and weight == 0:
        return Move(0)
    higher = next_weight(spec, weight)
    return None if higher is None else Move(higher)


def gate(spec: Spec, weight: int, iterations: int) -> str:
    """The type of webhook that must agree to the step after so much; empty where none is asked.

    What goes before a switch of the public is a promotion to those who ask for it, as in Flagger.
    """
    if spec.iterations > 0:
        return "confirm-promotion" if iterations >= spec.iterations else ""
    return "confirm-promotion" if next_weight(spec, weight) is None else "confirm-traffic-increase"


def first_gates(spec: Spec) -> frozenset[str]:
    """The types of webhooks that are asked before the first step."""
    return frozenset({"pre-rollout"} if spec.iterations > 0 else {"pre-rollout", "confirm-traffic-increase"})


def next_weight(spec: Spec, current: int) -> int | None:
    """The weight after `current` in percent, or None when the analysis is complete.

    `stepWeight` may overshoot `maxWeight` (20, 40, 60 of 50), as in Flagger; the last step is clipped to 100.
    `stepWeights` takes the smallest entry above the current weight, so that a list edited mid-run, or one that
    doesn't rise, neither jumps to 100 nor gets stuck.
    """
    if spec.step > 0:
        return min(current + spec.step, 100) if current < min(spec.max_weight, 100) else None
    rising = [weight for weight in spec.steps if weight > current]
    return min(rising) if rising else None


def weight_before(spec: Spec, weight: int) -> int:
    """The weight of the step before, by the plan; 0 where this is the first."""
    found = 0
    while (higher := next_weight(spec, found)) is not None and higher < weight:
        found = higher
    return found


def next_promotion_weight(spec: Spec, current: int) -> int:
    """The canary's weight after one more step of traffic back to the promoted primary; 0 ends it."""
    return max(current - spec.promotion_step, 0) if spec.promotion_step > 0 else 0
