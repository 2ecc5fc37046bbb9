"""What the machine needs to know of a Canary's spec, and the arithmetic of weights.

Built by `services.router.parse`; frozen, and complete: defaults are already in it.
"""

from dataclasses import dataclass
from datetime import timedelta


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
    deadline: timedelta = timedelta(seconds=600)
    skip_analysis: bool = False
    suspended: bool = False
    hooks: frozenset[str] = frozenset()
    """Webhook types that the Canary has at least one of."""
    muted: frozenset[str] = frozenset()
    """Names of webhooks whose waiting alert is muted."""
    drain: timedelta = timedelta(seconds=10)
    """How long traffic may linger on a side after its weight went to zero (setting of the router)."""
    revert_on_deletion: bool = False
    deleting: bool = False

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


def next_promotion_weight(spec: Spec, current: int) -> int:
    """The canary's weight after one more step of traffic back to the promoted primary; 0 ends it."""
    return max(current - spec.promotion_step, 0) if spec.promotion_step > 0 else 0
