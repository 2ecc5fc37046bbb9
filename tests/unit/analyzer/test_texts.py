"""Number formats against values printed by Go."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer import texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (99, "99"),
        (99.5, "99.5"),
        (999999, "999999"),
        (1000000, "1e+06"),
        (1500000, "1.5e+06"),
        (123456789, "1.23456789e+08"),
        (0.00001, "1e-05"),
        (0.0001, "0.0001"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0, "0"),
        (-0.0, "-0"),
        (-2.5, "-2.5"),
        (100, "100"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
        (-1e100, "-1e+100"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
        (math.nan, "NaN"),
    ],
)
def test_shortest_is_gos_v(value: float, text: str) -> None:
    assert texts.shortest(float(value)) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shortest_reads_back_the_same(value: float) -> None:
    assert float(texts.shortest(value)) == value


@pytest.mark.parametrize(
    ("value", "text"), [(98.765, "98.77"), (100, "100.00"), (0.005, "0.01"), (-1, "-1.00"), (math.inf, "+Inf")]
)
def test_fixed_has_two_decimals(value: float, text: str) -> None:
    assert texts.fixed(value) == text


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (500, "500ms"),
        (1000, "1s"),
        (1515, "1.515s"),
        (1500, "1.5s"),
        (60_000, "1m0s"),
        (90_005, "1m30.005s"),
        (3_600_000, "1h0m0s"),
        (3_661_010, "1h1m1.01s"),
        (-1500, "-1.5s"),
        (-5, "-5ms"),
    ],
)
def test_span_is_a_go_duration(milliseconds: int, text: str) -> None:
    assert texts.span(milliseconds) == text
