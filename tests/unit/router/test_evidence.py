"""How a rollout's alpha is divided."""

import math

import pytest

from services.router.evidence import alpha_of_a_look, steps
from services.router.rollout.spec import Spec


def _spec(step: int = 0, weights: tuple[int, ...] = (), most: int = 100) -> Spec:
    return Spec(namespace="test", name="podinfo", uid="u", target="podinfo", step=step, steps=weights, max_weight=most)


@pytest.mark.parametrize(
    ("spec", "expected"), [(_spec(10, most=50), 5), (_spec(20, most=50), 3), (_spec(weights=(1, 5, 50)), 3), (_spec(), 1)]
)  # fmt: skip
def test_steps_are_counted_as_the_machine_takes_them(spec: Spec, expected: int) -> None:
    assert steps(spec) == expected


def test_all_looks_of_all_steps_together_risk_alpha() -> None:
    looks = [alpha_of_a_look(0.05, steps=4, comparisons=2, looks=each) for each in range(100_000)]
    assert looks[0] == pytest.approx(0.05 / 4 / 2 / 2)
    assert math.isclose(4 * 2 * sum(looks), 0.05, rel_tol=1e-4)
    assert 4 * 2 * sum(looks) <= 0.05
