"""The page's figures are what the code gives: a seeded part of each row is played again, by `make calibrate QUICK=1` too."""

import numpy as np
import pytest
from scipy import stats

from bench.calibration import report
from bench.calibration.report import false_alarms, interval, published
from bench.calibration.rules import ALPHAS, RULES, moments
from bench.calibration.traffic import FAILED, GOOD, Scenario, counters, grown, scenarios

PART = 200
"""Rollouts of each row that are played again."""
TAIL = 1e-4
"""How unlikely a part must be before it contradicts the page."""


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda scenario: scenario.name)
def test_a_part_of_each_row_agrees_with_the_page(scenario: Scenario) -> None:
    page, again = published()[scenario.name], false_alarms(scenario, PART)
    for rule in RULES:
        low, high = interval(*page[rule])
        least, most = stats.binom.ppf(TAIL, PART, low), stats.binom.ppf(1 - TAIL, PART, high)
        assert least <= again[rule] <= most, (rule, again[rule], page[rule])


def test_where_alpha_is_not_kept_the_page_says_so() -> None:
    said = report.PAGE.read_text().partition("## Where alpha is not kept")[2]
    for rule, alpha in ALPHAS.items():
        for name, counts in published().items():
            low, _ = interval(*counts[rule])
            assert (low > alpha) is (f"* {rule}: {name}\n" in said)


def test_each_row_was_played_often_enough() -> None:
    assert [each.name for each in scenarios()] == list(published())
    assert all(of >= 2000 for row in published().values() for _, of in row.values())


def test_a_canary_that_fails_everything_is_noticed_within_two_looks() -> None:
    found = moments(scenarios()[0].breaking(1.0), 50, 7)["`fastAbort`"]
    assert np.median(found) <= 10


@pytest.mark.parametrize(("resets", "least"), [(0, 1.0), (1, 0.0)])
def test_counters_grow_by_what_was_asked_and_never_by_more(resets: int, least: float) -> None:
    scenario = Scenario(name="", resets=resets, page=15)
    counted = counters(scenario, 50, np.random.default_rng(3))
    asked = scenario.rate * (scenario.length - 20)
    requests = grown(counted, 0, scenario.length)[..., [FAILED, GOOD]].sum(axis=(1, 2))
    assert np.all(requests <= scenario.rate * scenario.length * 1.01)
    assert np.all(requests >= least * asked * 0.99)
