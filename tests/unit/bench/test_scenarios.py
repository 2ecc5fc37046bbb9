"""The table that is printed, and the numbers of events it goes by."""

from bench.scenarios.catalogue import ALL
from bench.scenarios.scenario import Outcome, irregular, table
from sandbox.traffic import Answer


def test_numbers_that_are_missing_or_come_twice_are_named() -> None:
    assert irregular([1, 2, 3]) == []
    assert irregular([]) == []
    assert irregular([2, 4, 4]) == ["1 lost", "3 lost", "4 told 2 times"]


def test_a_row_for_each_scenario() -> None:
    bad = (Answer(1.0, 503), Answer(1.1, 0))
    assert [answer.failed for answer in (*bad, Answer(1.2, 499))] == [True, True, False]
    outcome = Outcome(requests=120, failed=bad, steps=("1 lost",), seconds=2.34)
    assert table([("deleted failed", outcome)]).splitlines()[2] == "| deleted failed | 120 | 2 | 1 | 2.3 |"


def test_every_scenario_has_a_namespace_of_its_own() -> None:
    assert len({each.namespace for each in ALL}) == len(ALL)
