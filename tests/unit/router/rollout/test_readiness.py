"""Behaviour sheet §5.3, row by row, and the two rows in which we differ on purpose."""

from dataclasses import replace
from datetime import timedelta

import pytest

from services.router.rollout.readiness import READY, Readiness, Rollout, readiness
from tests.unit.router.stage import START

DEADLINE = timedelta(seconds=60)
FINE = Rollout(
    name="podinfo", generation=2, observed=2, replicas=4, current=4, updated=4, available=4, progressing=True
)
WAIT = "waiting for rollout to finish: "


@pytest.mark.parametrize(
    ("changes", "threshold", "text"),
    [
        ({"observed": 1}, 100, WAIT + "observed deployment generation less than desired generation"),
        ({"updated": 1}, 100, WAIT + "1 out of 4 new replicas have been updated"),
        ({"current": 6}, 100, WAIT + "2 old replicas are pending termination"),
        ({"available": 3}, 100, WAIT + "3 of 4 (readyThreshold 100%) updated replicas are available"),
        ({"available": 2}, 75, WAIT + "2 of 3 (readyThreshold 75%) updated replicas are available"),
        ({"available": 3}, 75, ""),
        ({"replicas": None, "updated": 1, "current": 1, "available": 1}, 100, ""),
        ({"replicas": 0, "updated": 0, "current": 0, "available": 0}, 100, "deployment is scaled to zero"),
        ({}, 100, ""),
    ],
)
def test_rows(changes: dict[str, int | None], threshold: int, text: str) -> None:
    found = readiness(replace(FINE, **changes), threshold, DEADLINE, START)  # type: ignore[arg-type]  # a table's fields
    assert found == (Readiness(False, True, text) if text else READY)


def test_beyond_the_deployments_own_deadline() -> None:
    exceeded = replace(FINE, available=0, exceeded=True)
    text = 'deployment "podinfo" exceeded its progress deadline'
    assert readiness(exceeded, 100, DEADLINE, START) == Readiness(False, False, text)


def test_unavailable_for_longer_than_our_deadline() -> None:
    since = START - timedelta(seconds=50)
    down = replace(FINE, available=0, unavailable_since=since)
    found = readiness(down, 100, DEADLINE, START)
    assert (found.ready, found.retriable, found.deadline) == (False, True, since + DEADLINE)
    assert not readiness(down, 100, DEADLINE, START + timedelta(seconds=11)).retriable
    unknown = replace(down, progressing=False)
    assert readiness(unknown, 100, DEADLINE, START + timedelta(hours=1)).retriable, "nobody reports its progress"


def test_what_wasnt_looked_at_yet_isnt_judged() -> None:
    """Both reports are about the template of before."""
    long = START - timedelta(hours=1)
    for stale in (replace(FINE, observed=1, exceeded=True), replace(FINE, observed=1, unavailable_since=long)):
        found = readiness(stale, 100, DEADLINE, START)
        assert (found.ready, found.retriable, found.text) == (
            False, True, WAIT + "observed deployment generation less than desired generation",
        )  # fmt: skip


def test_a_fix_of_what_was_down_for_long_gets_its_full_deadline() -> None:
    """W-G5: the condition's time is that of the broken template before."""
    down = replace(FINE, available=0, unavailable_since=START - timedelta(hours=1))
    found = readiness(down, 100, DEADLINE, START, START - timedelta(seconds=5))
    assert (found.retriable, found.deadline) == (True, START + timedelta(seconds=55))
    assert not readiness(down, 100, DEADLINE, START + timedelta(seconds=56), START - timedelta(seconds=5)).retriable


def test_a_deployment_that_kubernetes_takes_for_complete_is_waited_for_only_so_long() -> None:
    """It took up its template at no replicas, and may be wholly unavailable: no condition says that anything is wrong."""
    settled = replace(FINE, available=0, settled=True)
    found = readiness(settled, 100, DEADLINE, START, awaited=START)
    assert (found.ready, found.retriable, found.deadline) == (False, True, START + DEADLINE)
    assert not readiness(settled, 100, DEADLINE, START + timedelta(seconds=61), awaited=START).retriable
    assert readiness(settled, 100, DEADLINE, START + timedelta(hours=1)).retriable, "it had served before"
    assert readiness(
        replace(settled, settled=False), 100, DEADLINE, START + timedelta(hours=1), awaited=START
    ).retriable
