"""A share is exact and spread."""

import pytest

from sandbox.share import Share


@pytest.mark.parametrize(
    ("ratio", "hits"),
    [(0.0, []), (1.0, list(range(1, 51))), (0.1, [10, 20, 30, 40, 50]), (0.18, [6, 12, 17, 23, 28, 34, 39, 45, 50])],
)
def test_which_of_fifty(ratio: float, hits: list[int]) -> None:
    share = Share(ratio)

    assert [number for number in range(1, 51) if share.next()] == hits
