"""Is the canary worse than the primary? Two tests on counts, exact in small numbers. Pure; policy.py words the answers.

* `worse` is asked once a tick: are the canary's bad answers more than `floor` above the primary's share? The primary's
  share is taken as high as it may plausibly be, and the canary's count is then judged by the binomial distribution
  (Berger and Boos: the chance that the interval misses is added, so the answer never claims too much).
* `broken` is asked again and again between two ticks, so it must not claim too much however often it's asked. It is a
  likelihood ratio, averaged over everything that is worse than allowed: such a ratio exceeds 1/alpha at any moment
  with a chance of at most alpha (Ville). It asks two questions, and both must be answered yes: does the canary fail
  more than `floor` of its requests, and does it have more than its share of all failures? The second leaves bursts
  alone that hit both sides.

Both take whole counts since a moment, so nobody has to remember anything between two looks. Both work on arrays too:
the calibration judges thousands of rollouts with these very lines.

Requests don't fail one by one: those of one moment and one pod share a fate. So `broken`, which looks often and acts
at once, counts FATE requests as one; docs/calibration.md shows what that is worth.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Numbers = NDArray[np.floating] | NDArray[np.integer] | float

MISSED: Final = 0.1
"""Part of alpha that is spent on the primary's share being higher than its bound."""
SHARE: Final = 2.0
"""How many times its share of all failures a canary may have before that speaks against it."""
FATE: Final = 4.0
"""How many requests count as one between two ticks."""
KEPT: Final = 0.9
"""The part of the primary's requests that must be fast: what is slow is then one in ten of them, or less."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests of one side, and how many of them were bad (failed, or too slow)."""

    bad: float
    all: float

    @property
    def share(self) -> float:
        return self.bad / self.all if self.all else 0.0


def worse(canary: Counts, primary: Counts, *, floor: float, alpha: float) -> float:
    """How likely such a difference is if the canary is not more than `floor` worse; below alpha it is.

    `floor` is a share of requests (0.01 is one in a hundred). At `alpha` 0.05 the primary's bound misses in 0.5 %.
    """
    return float(worse_all(canary.bad, canary.all, primary.bad, primary.all, floor=floor, alpha=alpha))


def worse_all(bad: Numbers, every: Numbers, bad_0: Numbers, every_0: Numbers, *, floor: float, alpha: float) -> Array:
    """`worse` over arrays; `_0` is the primary. A side without requests proves nothing."""
    (bad, every), (bad_0, every_0) = _whole(bad, every), _whole(bad_0, every_0)
    missed = MISSED * alpha
    good_0 = np.maximum(every_0 - bad_0, 1e-9)
    bound = np.where(bad_0 < every_0, special.betaincinv(bad_0 + 1, good_0, 1 - missed), 1.0)
    so_many = special.betainc(np.maximum(bad, 1e-9), every - bad + 1, np.minimum(bound + floor, 1.0))
    chance: Array = np.where((bad > 0) & (every_0 > 0), so_many + missed, 1.0)
    return np.minimum(chance, 1.0)


def broken(canary: Counts, primary: Counts, *, floor: float) -> float:
    """By how much the counts favour a broken canary over one that isn't; reaching 1/alpha settles it."""
    logarithm = float(broken_all(canary.bad, canary.all, primary.bad, primary.all, floor=floor))
    return math.exp(min(logarithm, 700.0))


def broken_all(bad: Numbers, every: Numbers, bad_0: Numbers, every_0: Numbers, *, floor: float) -> Array:
    """The logarithm of `broken` over arrays; `_0` is the primary."""
    bad, every, bad_0, every_0 = (each / FATE for each in (*_whole(bad, every), *_whole(bad_0, every_0)))
    traffic = np.maximum(every + every_0, 1e-9)
    due = SHARE * every / np.maximum(SHARE * every + every_0, 1e-9)
    fails = _ratio(bad, every, np.full_like(traffic, floor))
    # A primary without requests can't be compared with: what the canary does alone decides.
    shares = np.where(every_0 > 0, _ratio(bad, bad + bad_0, np.clip(due, 1e-9, 1 - 1e-9)), np.inf)
    return np.minimum(fails, shares)


def _whole(bad: Numbers, every: Numbers) -> tuple[Array, Array]:
    """Bad ones are never more than all; a counter that was reset in between may say so."""
    asked = np.floor(np.maximum(np.asarray(every, np.float64), 0.0))
    return np.floor(np.clip(np.asarray(bad, np.float64), 0.0, asked)), asked


def _ratio(hits: Array, tries: Array, allowed: Array) -> Array:
    """Logarithm of the likelihood of `hits` in `tries`, averaged over all chances above `allowed`, over that at it.

    The average is uniform: no chance above `allowed` is expected more than another.
    """
    misses = tries - hits
    above = special.betaincc(hits + 1, misses + 1, allowed)
    with np.errstate(divide="ignore"):
        average = special.betaln(hits + 1, misses + 1) + np.log(above) - np.log1p(-allowed)
    return average - (special.xlogy(hits, allowed) + special.xlog1py(misses, -allowed))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bound of a latency histogram, and how many requests were not slower."""

    bound: float
    requests: float


def slower_than(canary: Sequence[Bucket], primary: Sequence[Bucket]) -> tuple[float, Counts, Counts] | None:
    """(bound, canary's slow ones, primary's): the first bound that nine in ten of the primary's requests keep.

    None: a side has no requests, or no bound tells slow from fast. A gateway begins a bucket with the first request that was fast
    enough for it, so of a side that never was there is none.
    """
    everybody, everybody_0 = (_within(side, np.inf) for side in (canary, primary))
    if not everybody:
        return None
    for bucket in sorted(primary, key=lambda each: each.bound):
        if bucket.requests >= KEPT * everybody_0 > 0 and np.isfinite(bucket.bound):
            slow, slow_0 = everybody - _within(canary, bucket.bound), everybody_0 - bucket.requests
            return bucket.bound, Counts(slow, everybody), Counts(slow_0, everybody_0)
    return None


def _within(side: Sequence[Bucket], bound: float) -> float:
    return max((each.requests for each in side if each.bound <= bound), default=0.0)
