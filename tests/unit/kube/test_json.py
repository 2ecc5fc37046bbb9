"""Numbers as people and controllers write them."""

import math

import pytest

from shared.kube import json


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (3, 3),
        (3.0, 3),
        (10**400, 10**400),
        (3.5, -1),
        (True, -1),
        ("3", -1),
        (None, -1),
        (math.inf, -1),
        (math.nan, -1),
    ],
)
def test_a_whole_number_is_one_and_nothing_else_is(found: object, expected: int) -> None:
    assert json.number({"priority": found}, "priority", default=-1) == expected
