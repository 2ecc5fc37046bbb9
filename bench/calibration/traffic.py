"""Made-up traffic of many rollouts at once: what a gateway's counters show, second by second and as Prometheus has it.

Arrays have the axes (rollout, side, time, kind): side 0 is the canary, and the kinds are failed requests, all
requests, and for latency the requests up to each bound of APISIX's histogram.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BOUNDS: Final = np.array([10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, np.inf])
"""Of the latency histogram, in milliseconds: those of APISIX that matter here."""
BIN: Final = 5
"""Seconds between two scrapes, as in Flagger's own Prometheus."""
FAILED, GOOD, FIRST_BOUND = 0, 1, 2
"""Kinds: failed requests, the others, then one for each bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A kind of traffic. Rates and shares are those of an ordinary service with an error now and then."""

    name: str
    weights: tuple[int, ...] = (10, 20, 30, 40, 50)
    step: int = 60
    """Seconds between two checks."""
    rate: float = 100.0
    """Requests a second, of both sides together."""
    failing: float = 0.003
    slow: float = 0.05
    pods: int = 1
    rho: float = 0.0
    """How alike the requests of one second and one pod are: the intra-class correlation of a beta-binomial."""
    burst: float = 0.0
    """Share of requests that fail, on both sides, during one minute somewhere in the rollout."""
    cold: float = 0.0
    """Seconds from the analysis's beginning during which most of the canary's requests are slow."""
    resets: int = 0
    """How often the gateway is restarted and its counters begin anew."""
    page: int = 0
    """Seconds for which the gateway shows the same page."""
    streams: int = 1
    """Metrics that are judged at once, each with requests of its own."""
    injected: float | None = None
    """Share of the canary's requests that fail; None: as on the primary."""

    @property
    def length(self) -> int:
        return self.step * len(self.weights)

    def breaking(self, share: float) -> "Scenario":
        return replace(self, injected=share)


def counters(scenario: Scenario, rollouts: int, rng: np.random.Generator) -> Array:
    """Counters as Prometheus has them at each scrape, beginning with the moment of the first weight."""
    grown = np.stack([_side(scenario, rollouts, rng, canary) for canary in (True, False)], axis=1)
    zero = np.zeros((rollouts, 2, 1, grown.shape[-1]))
    counted = np.concatenate([zero, np.cumsum(grown, axis=2)], axis=2)
    # Before the first weight the primary has counted for long, and the canary never.
    counted[:, 1] += 1000.0
    return _paged(scenario, _restarted(scenario, counted, rng), rng)


def _side(scenario: Scenario, rollouts: int, rng: np.random.Generator, canary: bool) -> Array:
    """By how much one side's counters grow in each bin. Weights are kept exactly, as the gateway's round robin does."""
    shape = (rollouts, scenario.length, scenario.pods)
    weight = np.repeat(np.array(scenario.weights, float), scenario.step) / 100
    share = (weight if canary else 1 - weight) * scenario.rate / scenario.pods
    requests = np.floor(share[None, :, None] + rng.random(shape)).astype(np.int64)
    base = np.full(scenario.length, scenario.failing)
    if canary and scenario.injected is not None:
        base[:] = scenario.injected
    failing = np.broadcast_to(base[None, :, None], shape)
    if scenario.burst:
        failing = np.where(_burst(scenario, rollouts)[..., None], scenario.burst, failing)
    slow = np.full(shape, scenario.slow)
    if canary and scenario.cold:
        slow[:, : int(scenario.cold)] = 0.8
    failed = rng.binomial(requests, _dispersed(failing, scenario.rho, rng))
    late = rng.binomial(requests, _dispersed(slow, scenario.rho, rng))
    kinds = [failed, requests - failed, *_buckets(requests - late, late, rng)]
    return np.stack([_binned(each.sum(axis=2)) for each in kinds], axis=-1)


def _burst(scenario: Scenario, rollouts: int) -> NDArray[np.bool_]:
    """The same minute for both sides; spread evenly over the rollouts."""
    begins = np.linspace(0, scenario.length - 60, rollouts)[:, None]
    seconds = np.arange(scenario.length)[None, :]
    return (seconds >= begins) & (seconds < begins + 60)


def _dispersed(mean: Array, rho: float, rng: np.random.Generator) -> Array:
    if not rho:
        return mean
    spread = (1 - rho) / rho
    inner = np.clip(mean, 1e-6, 1 - 1e-6)
    drawn: Array = np.where(mean < 1, rng.beta(inner * spread, (1 - inner) * spread), mean)
    return drawn


_FAST: Final = np.array([0.0, 0.12, 0.55, 0.26, 0.06, 0.01, 0.0, 0.0, 0.0])
_LATE: Final = np.array([0.0, 0.0, 0.0, 0.05, 0.50, 0.41, 0.03, 0.01, 0.0])
"""How requests of either sort spread over the buckets: a median near 40 ms, and slow ones of 100 ms to a second."""


def _buckets(fast: NDArray[np.int64], late: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray[np.int64]]:
    spread = rng.multinomial(fast.sum(axis=2), _FAST) + rng.multinomial(late.sum(axis=2), _LATE)
    upto = np.cumsum(spread, axis=-1)
    return [upto[..., index, None] for index in range(len(BOUNDS))]


def _binned(seconds: NDArray[np.int64]) -> Array:
    rollouts, length = seconds.shape
    binned: Array = seconds.reshape(rollouts, length // BIN, BIN).sum(axis=2).astype(np.float64)
    return binned


def _restarted(scenario: Scenario, counted: Array, rng: np.random.Generator) -> Array:
    """Counters that begin anew at some scrape, all of them."""
    rollouts, _, times, _ = counted.shape
    moments: NDArray[np.int64] = np.sort(
        1 + np.argsort(rng.random((rollouts, times - 1)), axis=1)[:, : scenario.resets], axis=1
    )
    for number in range(scenario.resets):
        at: NDArray[np.int64] = np.take(moments, number, axis=1)
        before = counted[np.arange(rollouts), :, at - 1]
        after = np.arange(times)[None, :] >= at[:, None]
        counted = np.where(after[:, None, :, None], counted - before[:, :, None, :], counted)
    return counted


def _paged(scenario: Scenario, counted: Array, rng: np.random.Generator) -> Array:
    """A page that is rendered now and then shows what was true when it was."""
    if not scenario.page:
        return counted
    every, times = scenario.page // BIN, counted.shape[2]
    phase = rng.integers(0, every, (counted.shape[0], 1))
    seen = np.maximum((np.arange(times)[None, :] - phase) // every * every + phase, 0)
    shown: Array = np.take_along_axis(counted, seen[:, None, :, None], axis=2)
    return shown


def grown(counted: Array, begin: int, end: int) -> Array:
    """As `shared.canary.queries` has Prometheus count for a comparison: what came after a restart, if there was one."""
    first, last = max(begin, 0) // BIN, end // BIN
    now, before = counted[:, :, last], counted[:, :, first]
    seen = counted[:, :, first : last + 1]
    restarted = np.any(np.diff(seen, axis=2) < 0, axis=2) | (seen.min(axis=2) < before)
    return np.where(restarted, now, now - before)


def grown_through(counted: Array, begin: int, end: int) -> Array:
    """As it does for the builtin checks: from scrape to scrape, a counter that is less than before has begun anew."""
    seen = counted[:, :, max(begin, 0) // BIN : end // BIN + 1]
    steps = np.diff(seen, axis=2)
    total: Array = np.where(steps < 0, seen[:, :, 1:], steps).sum(axis=2)
    return total


def scenarios() -> Sequence[Scenario]:
    """What docs/calibration.md lists."""
    plain = Scenario(name="independent requests")
    return (
        plain,
        replace(plain, name="overdispersed, ρ 0.01", rho=0.01),
        replace(plain, name="overdispersed, ρ 0.05", rho=0.05),
        replace(plain, name="overdispersed, ρ 0.05, 20 pods", rho=0.05, pods=20),
        replace(plain, name="a minute's burst of 20 % errors on both sides", burst=0.2),
        replace(plain, name="the canary slow for its first 30 s", cold=30.0),
        replace(plain, name="20 pods", pods=20),
        replace(plain, name="weights from 1", weights=(1, 2, 3, 4, 5)),
        replace(plain, name="weights from 50", weights=(50, 60, 70, 80, 90)),
        replace(plain, name="five metrics at once", streams=5),
        replace(plain, name="five metrics at once, ρ 0.01", streams=5, rho=0.01),
        replace(plain, name="counters reset twice", resets=2),
        replace(plain, name="a metrics page 15 s old", page=15),
        replace(plain, name="overdispersed, ρ 0.05, 1000 requests a second", rho=0.05, rate=1000.0),
        replace(plain, name="overdispersed, ρ 0.05, 5 % of errors", rho=0.05, failing=0.05),
        replace(plain, name="all of it: ρ 0.05, burst, reset, page", rho=0.05, burst=0.2, resets=1, page=15),
    )
