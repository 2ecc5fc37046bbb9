"""How much a rollout may risk on chance: one alpha for all of it, divided among its questions. Pure."""

from services.router.rollout.spec import Spec, next_move

MOST_STEPS = 100
"""Weights are whole percents, so more steps are only those of somebody who wrote thousands of iterations."""


def steps(spec: Spec) -> int:
    """How many steps a rollout has, from its first one to its promotion."""
    weight, iterations, found = 0, 0, 0
    while found < MOST_STEPS and (move := next_move(spec, weight, iterations, begun=found > 0)):
        weight, iterations, found = move.weight, move.iterations, found + 1
    return max(found, 1)


def alpha_of_a_look(alpha: float, *, steps: int, comparisons: int, looks: int) -> float:
    """What one comparison of one tick may risk, so that the rollout risks `alpha` in all.

    `looks` are the step's ticks so far. A step that waits is looked at again and again: the first look has half of
    the step's part, the second a sixth, the third a twelfth; all that ever follow have the whole.
    """
    return alpha / steps / comparisons / ((looks + 1) * (looks + 2))
