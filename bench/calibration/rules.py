"""When each rule rolls back: Flagger's, the same bounds on the canary's own numbers, the comparison, the fast abort.

The comparison and the fast abort are the product's own functions, asked at the moments and over the windows at which
the product asks them. Every answer is a moment in seconds, or infinity. One failed check ends a rollout here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.calibration.traffic import (
    BIN,
    BOUNDS,
    FAILED,
    FIRST_BOUND,
    GOOD,
    Array,
    Scenario,
    counters,
    grown,
    grown_through,
)
from services.analyzer import comparison
from services.router import evidence
from services.router.rollout.spec import Spec, next_weight
from shared.canary.resource import Compare, FastAbort, seconds

LEAST_SUCCESS: Final = 99.0
MOST_P99: Final = 500.0
"""Flagger's tutorial: `request-success-rate` min 99, `request-duration` max 500."""
CHUNK: Final = 100
"""Rollouts that are made up at once."""
RULES: Final = (
    "Flagger's bounds", "the same bounds, the canary alone", "`compare`", "`compare`, floors 0", "`fastAbort`",
)  # fmt: skip
ALPHAS: Final = {"`compare`": Compare().alpha, "`compare`, floors 0": Compare().alpha, "`fastAbort`": FastAbort().alpha}

Moments = NDArray[np.float64]
Verdicts = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Look:
    """One check: which step, when, and over which window."""

    step: int
    begin: int
    end: int


def moments(scenario: Scenario, rollouts: int, seed: int) -> dict[str, Moments]:
    """When each rule rolled back, by rule; as many as there are rollouts."""
    found: dict[str, list[Moments]] = {rule: [] for rule in RULES}
    for chunk in range(-(-rollouts // CHUNK)):
        rng = np.random.default_rng([seed, chunk])
        streams = [counters(scenario, min(CHUNK, rollouts - chunk * CHUNK), rng) for _ in range(scenario.streams)]
        for rule, judged in zip(RULES, (flagger, canary_alone, compared, compared_strictly, aborted), strict=True):
            found[rule].append(judged(scenario, streams))
    return {rule: np.concatenate(each) for rule, each in found.items()}


def flagger(scenario: Scenario, streams: list[Array]) -> Moments:
    """Primary and canary together, over the last minute, against fixed bounds."""
    return _first(scenario, (
        (look.end, np.any([_out_of_bounds(grown(each, look.end - 60, look.end).sum(axis=1)) for each in streams], axis=0))
        for look in _ticks(scenario, 0)
    ))  # fmt: skip


def canary_alone(scenario: Scenario, streams: list[Array]) -> Moments:
    """The builtin checks of Serinus: the same bounds on the canary's own answers."""
    return _first(scenario, (
        (look.end, np.any([_out_of_bounds(grown_through(each, look.end - 60, look.end)[:, 0]) for each in streams], axis=0))
        for look in _ticks(scenario, 0)
    ))  # fmt: skip


def compared(scenario: Scenario, streams: list[Array]) -> Moments:
    """`analysis.compare` with its defaults."""
    return _compared(scenario, streams, Compare())


def compared_strictly(scenario: Scenario, streams: list[Array]) -> Moments:
    """The same where nothing may be worse: a good canary stands at the very border of what is allowed."""
    return _compared(scenario, streams, Compare(floor=0, latency_floor=0))


def _compared(scenario: Scenario, streams: list[Array], asked: Compare) -> Moments:
    latency = scenario.streams == 1
    alpha = evidence.alpha_of_a_look(
        asked.alpha, steps=evidence.steps(_spec(scenario)), comparisons=len(streams) + latency, looks=0
    )
    return _first(scenario, (
        (look.end, np.any(list(_worse(streams, look, asked, alpha, latency=latency)), axis=0))
        for look in _ticks(scenario, int(seconds(asked.warmup)))
    ))  # fmt: skip


def aborted(scenario: Scenario, streams: list[Array]) -> Moments:
    """`analysis.fastAbort` with its defaults, asked with each scrape."""
    asked = FastAbort()
    enough = np.log(evidence.steps(_spec(scenario)) * len(streams) / asked.alpha)
    looks = [
        Look(step, step * scenario.step, step * scenario.step + passed)
        for step in range(len(scenario.weights))
        for passed in range(int(seconds(asked.every)), scenario.step, int(seconds(asked.every)))
    ]
    return _first(scenario, (
        (look.end, np.any([_broken(each, look, asked.floor / 100) >= enough for each in streams], axis=0))
        for look in looks
    ))  # fmt: skip


def _ticks(scenario: Scenario, warmup: int) -> Iterator[Look]:
    for step in range(len(scenario.weights)):
        begin = step * scenario.step
        yield Look(step, max(begin, warmup), begin + scenario.step)


def _first(scenario: Scenario, judged: Iterator[tuple[int, Verdicts]]) -> Moments:
    found: Moments | None = None
    for moment, failed in judged:
        found = np.full(len(failed), np.inf) if found is None else found
        found = np.where(failed & np.isinf(found), float(moment), found)
    if found is None:
        raise ValueError(f"{scenario.name} has no check")
    return found


def _out_of_bounds(counts: Array) -> Verdicts:
    """Fails Flagger's bounds; no values fail too."""
    every = counts[:, FAILED] + counts[:, GOOD]
    with np.errstate(invalid="ignore", divide="ignore"):
        success = counts[:, GOOD] / every * 100
    return ~(success >= LEAST_SUCCESS) | (_p99(counts[:, FIRST_BOUND:]) > MOST_P99)


def _p99(buckets: Array) -> Array:
    """As Prometheus' histogram_quantile: within its bucket in a straight line."""
    rank = 0.99 * buckets[:, -1]
    at = np.minimum(np.argmax(buckets >= rank[:, None], axis=1), len(BOUNDS) - 2)
    rows = np.arange(len(buckets))
    below = np.where(at > 0, buckets[rows, at - 1], 0.0)
    lower = np.where(at > 0, BOUNDS[at - 1], 0.0)
    part = (rank - below) / np.maximum(buckets[rows, at] - below, 1e-9)
    value: Array = lower + np.clip(part, 0, 1) * (BOUNDS[at] - lower)
    return value


def _worse(streams: list[Array], look: Look, asked: Compare, alpha: float, *, latency: bool) -> Iterator[Verdicts]:
    for each in streams:
        counts = grown(each, look.begin, look.end)
        bad, every = counts[..., FAILED], counts[..., FAILED] + counts[..., GOOD]
        yield (
            comparison.worse_all(bad[:, 0], every[:, 0], bad[:, 1], every[:, 1], floor=asked.floor / 100, alpha=alpha)
            <= alpha
        )
        if latency:
            yield _slower(counts[..., FIRST_BOUND:], asked.latency_floor / 100, alpha)


def _slower(buckets: Array, floor: float, alpha: float) -> Verdicts:
    found = []
    for canary, primary in buckets:
        sides = [tuple(map(comparison.Bucket, BOUNDS.tolist(), side.tolist())) for side in (canary, primary)]
        slower = comparison.slower_than(*sides)
        found.append(slower is not None and comparison.worse(*slower[1:], floor=floor, alpha=alpha) <= alpha)
    return np.array(found)


def _broken(counted: Array, look: Look, floor: float) -> Array:
    counts = grown(counted, look.begin, look.end)
    bad, every = counts[..., FAILED], counts[..., FAILED] + counts[..., GOOD]
    return np.asarray(comparison.broken_all(bad[:, 0], every[:, 0], bad[:, 1], every[:, 1], floor=floor))


def _spec(scenario: Scenario) -> Spec:
    """The rollout as the router knows it; its weights are the machine's."""
    spec = Spec(
        namespace="test", name="podinfo", uid="", target="podinfo", steps=scenario.weights, max_weight=100,
        interval=timedelta(seconds=scenario.step),
    )  # fmt: skip
    weight, found = 0, []
    while (higher := next_weight(spec, weight)) is not None:
        weight = higher
        found.append(weight)
    if tuple(found) != scenario.weights or scenario.step % BIN:
        raise ValueError(f"{scenario.name} is no rollout")
    return spec
