"""What the two tests on counts claim, and what they don't."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from services.analyzer.comparison import Bucket, Counts, broken, broken_all, slower_than, worse, worse_all

ALPHA = 0.05


@pytest.mark.parametrize(
    ("canary", "primary", "expected"),
    [
        (Counts(30, 100), Counts(9, 900), True),
        (Counts(2, 100), Counts(9, 900), False),  # one point above the primary is allowed
        (Counts(1, 1), Counts(10, 10_000), True),  # unlikely enough by itself: `minSample` is for who wants more
        (Counts(1, 1), Counts(100, 1000), False),
        (Counts(0, 100), Counts(0, 900), False),
        (Counts(100, 100), Counts(900, 900), False),
        (Counts(5, 5), Counts(0, 0), False),  # nobody to compare with
        (Counts(0, 0), Counts(0, 900), False),
        (Counts(7, 5), Counts(0, 900), True),  # a counter was reset in between
    ],
)
def test_worse_than_the_primary_by_more_than_the_floor(canary: Counts, primary: Counts, expected: bool) -> None:
    assert (worse(canary, primary, floor=0.01, alpha=ALPHA) <= ALPHA) is expected


@pytest.mark.parametrize("share", [0.0005, 0.005, 0.1, 0.5, 0.98])
@pytest.mark.parametrize(("canaries", "primaries"), [(60, 5940), (600, 5400), (3000, 3000), (40, 40)])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_a_canary_at_the_very_floor_is_called_worse_less_often_than_alpha(
    share: float, canaries: int, primaries: int, alpha: float
) -> None:
    draws, floor = 20_000, 0.01
    random = np.random.default_rng(11)
    bad, bad_0 = random.binomial(canaries, share + floor, draws), random.binomial(primaries, share, draws)
    called = int((worse_all(bad, canaries, bad_0, primaries, floor=floor, alpha=alpha) <= alpha).sum())
    assert stats.binomtest(called, draws).proportion_ci().low <= alpha


@pytest.mark.parametrize(("share", "share_0"), [(0.1, 0.05), (0.02, 0.02), (0.2, 0.2), (0.1, 0.0)])
def test_however_often_it_is_asked_a_canary_that_is_not_broken_stays_below_alpha(share: float, share_0: float) -> None:
    draws, looks, alpha = 2000, 200, 0.05
    random = np.random.default_rng(12)
    bad = random.binomial(20, share, (draws, looks)).cumsum(axis=1)
    bad_0 = random.binomial(180, share_0, (draws, looks)).cumsum(axis=1)
    every = 20.0 * np.arange(1, looks + 1)
    most = broken_all(bad, np.broadcast_to(every, bad.shape), bad_0, 9 * every, floor=0.1).max(axis=1)
    called = int((most >= math.log(1 / alpha)).sum())
    assert stats.binomtest(called, draws).proportion_ci().low <= alpha


def test_a_burst_that_hits_both_sides_alike_is_no_broken_canary() -> None:
    assert broken(Counts(300, 600), Counts(2700, 5400), floor=0.1) < 1


@pytest.mark.parametrize(
    ("canary", "primary"), [(Counts(25, 25), Counts(0, 225)), (Counts(60, 100), Counts(3, 900)), (Counts(30, 30), Counts(0, 0))]
)  # fmt: skip
def test_plain_breakage_is_settled_within_a_few_requests(canary: Counts, primary: Counts) -> None:
    assert broken(canary, primary, floor=0.1) > 1000


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_any_counts_have_an_answer(bad: int, every: int, bad_0: int, every_0: int) -> None:
    canary, primary = Counts(bad, every), Counts(bad_0, every_0)
    assert 0 <= worse(canary, primary, floor=0.01, alpha=ALPHA) <= 1
    assert broken(canary, primary, floor=0.1) >= 0


@given(st.integers(0, 500), st.integers(1, 500), st.integers(0, 500), st.integers(1, 500))
def test_more_failures_never_speak_for_a_canary(bad: int, good: int, bad_0: int, good_0: int) -> None:
    primary = Counts(bad_0, bad_0 + good_0)
    one, more = Counts(bad, bad + good), Counts(bad + 1, bad + good)
    assert worse(more, primary, floor=0.01, alpha=ALPHA) <= worse(one, primary, floor=0.01, alpha=ALPHA) + 1e-9


def _histogram(*upto: float) -> list[Bucket]:
    return [Bucket(bound, requests) for bound, requests in zip((10, 100, 1000, math.inf), upto, strict=True)]


def test_slow_is_what_nine_in_ten_of_the_primarys_requests_are_not() -> None:
    found = slower_than(_histogram(5, 30, 90, 100), _histogram(500, 930, 1000, 1000))
    assert found == (100, Counts(70, 100), Counts(70, 1000))


def test_a_canary_that_was_never_fast_enough_for_a_bound_is_slow_by_it() -> None:
    """A gateway's histogram has a bucket only from its first request on."""
    always_slow = [Bucket(1000, 100), Bucket(math.inf, 100)]
    found = slower_than(always_slow, _histogram(500, 930, 1000, 1000))
    assert found == (100, Counts(100, 100), Counts(70, 1000))


@pytest.mark.parametrize(
    ("canary", "primary"),
    [
        ([], _histogram(1, 1, 1, 1)),
        (_histogram(1, 1, 1, 1), []),
        (_histogram(0, 0, 0, 10), _histogram(0, 0, 0, 0)),
        (_histogram(0, 0, 0, 10), _histogram(0, 0, 0, 10)),  # slower than every bound there is
    ],
)
def test_where_no_bound_tells_slow_from_fast_nothing_is_said(canary: list[Bucket], primary: list[Bucket]) -> None:
    assert slower_than(canary, primary) is None
