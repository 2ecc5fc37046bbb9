"""The table that is printed, and the numbers of events it goes by."""

from pathlib import Path

import pytest

from bench.__main__ import shown
from bench.scenarios.catalogue import ALL
from bench.scenarios.mixes import each_change, each_mix
from bench.scenarios.scenario import Outcome, irregular, table
from bench.scenarios.upgrading import ORDER
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


def test_a_visitor_lost_or_a_step_or_nobody_there_at_all_ends_the_command_with_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = Outcome(requests=120, failed=(), steps=(), seconds=2.3)
    assert shown([("deleted failed", good), ("deployed", good)]) == 0
    assert "WRONG" not in capsys.readouterr().out
    lost = Outcome(requests=120, failed=(Answer(1.0, 503, "nobody is there"),), steps=(), seconds=2.3)
    doubled = Outcome(requests=120, failed=(), steps=("4 told 2 times",), seconds=2.3)
    alone = Outcome(requests=0, failed=(), steps=(), seconds=2.3)
    for each, said in (
        (lost, "WRONG: deployed: a visitor got 503: nobody is there"),
        (doubled, "WRONG: deployed: event 4 told 2 times"),
        (alone, "WRONG: deployed: nobody came"),
    ):
        assert shown([("deleted failed", good), ("deployed", each)]) == 1
        assert capsys.readouterr().out.splitlines()[-1] == said


def test_what_the_suite_plays_its_own_way_is_there() -> None:
    root = Path(__file__).parents[3]
    assert all((root / each.tested).exists() for each in ALL)


def test_a_walk_passes_each_mix_of_versions_once_and_comes_back() -> None:
    mixes = _mixes(each_mix(ORDER))
    assert len(set(mixes)) == len(mixes) == 2 ** len(ORDER)
    assert mixes[-1] == frozenset()


def test_a_walk_makes_each_change_in_each_mix_once_and_comes_back() -> None:
    walk = each_change(ORDER)
    mixes = _mixes(walk)
    assert set(zip([frozenset[str](), *mixes], walk, strict=False)) == {
        (mix, service) for mix in _mixes(each_mix(ORDER)) for service in ORDER
    }
    assert len(walk) == 64
    assert mixes[-1] == frozenset()


def _mixes(walk: list[str]) -> list[frozenset[str]]:
    """Who is newer after each change."""
    newer, found = frozenset[str](), []
    for service in walk:
        newer ^= {service}
        found.append(newer)
    return found
