"""No data as the Canary wants it, requests that are enough, whose failures they were, and what is counted."""

import pytest

from services.analyzer import evidence, policy, weighing
from services.analyzer.policy import Answer, Fault, Row, Sightings
from shared.wire.messages import Blame, Check, CheckKind, NoData, Outcome
from tests.unit.analyzer.asked import EVIDENCE, FIRST, question, success_rate

NOTHING = Answer()


def _seen(own: float, route: float = 1000.0) -> Sightings:
    return Sightings(own=Answer(value=own), nodes=Answer(value=route), route=Answer(value=route))


def _check(kind: CheckKind = CheckKind.METRIC, outcome: Outcome = Outcome.PASS, *, no_data: bool = False) -> Check:
    return Check(name="x", kind=kind, outcome=outcome, no_data=no_data)


@pytest.mark.parametrize(
    ("wanted", "expected"), [(NoData.FAIL, Outcome.FAIL), (NoData.HOLD, Outcome.HOLD), (NoData.IGNORE, Outcome.PASS)]
)
def test_a_metric_without_values_is_what_the_canary_says_it_is(wanted: NoData, expected: Outcome) -> None:
    check = policy.judge_metric(question(), success_rate(no_data=wanted), NOTHING, None)
    assert (check.outcome, check.no_data, check.value) == (expected, True, None)
    failed = policy.judge_metric(question(), success_rate(no_data=wanted), Answer(error="x", fault=Fault.QUERY), None)
    assert (failed.outcome, failed.no_data) == (Outcome.ERROR, None), "an error is never a lack of data"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (_check(), Outcome.PASS),
        (_check(CheckKind.HOOK), Outcome.PASS),
        (_check(CheckKind.EVIDENCE), Outcome.HOLD),  # requests were served, and nobody knows how well
        (_check(no_data=True), Outcome.HOLD),
        (_check(outcome=Outcome.FAIL), Outcome.HOLD),
    ],
)
def test_what_is_ignored_passes_only_beside_something_that_was_judged(other: Check, expected: Outcome) -> None:
    ignored, _ = weighing.settled([_check(no_data=True), other])
    assert ignored.outcome is expected


@pytest.mark.parametrize(
    ("least", "own", "first", "wanted", "expected"),
    [
        (1, 1, False, NoData.FAIL, Outcome.PASS),
        (100, 100, False, NoData.FAIL, Outcome.PASS),
        (100, 99, False, NoData.FAIL, Outcome.HOLD),
        (100, 99, False, NoData.IGNORE, Outcome.PASS),
        (100, 0, True, NoData.FAIL, Outcome.HOLD),
        (100, 0, False, NoData.FAIL, Outcome.FAIL),
        (1, 0, False, NoData.HOLD, Outcome.HOLD),
        (1, 0, False, NoData.IGNORE, Outcome.PASS),
    ],
)
def test_a_step_needs_so_many_requests(least: int, own: float, first: bool, wanted: NoData, expected: Outcome) -> None:
    asked = (FIRST if first else EVIDENCE).model_copy(update={"least": least, "no_data": wanted})
    assert evidence.judge_evidence(question(), asked, _seen(own), ()).outcome is expected


@pytest.mark.parametrize(
    ("own", "route", "told"), [(0, 80, True), (0, 94, True), (0, 95, False), (0, 0, False), (1, 80, False)]
)
def test_a_canary_that_can_have_had_no_request_yet_is_warned_of(own: float, route: float, told: bool) -> None:
    asked = EVIDENCE.model_copy(update={"first_after": 94})
    note = evidence.judge_evidence(question(), asked, _seen(own, route), ()).note
    assert bool(note) is told
    assert not note or "up to 94 go to the primary first, and there were 80" in note or route == 94


def test_failures_that_the_gateway_made_are_told_apart() -> None:
    rows = (Row({"by": "application"}, 5.0), Row({"by": "gateway"}, 7.0))
    check = weighing.blamed(question(), _check(outcome=Outcome.FAIL), Answer(rows=rows))
    assert check.blame == Blame(application=5, gateway=7)
    assert check.note == (
        "podinfo.test: 7 of 12 failed requests were answered by the gateway itself, 5 by the application"
    )


@pytest.mark.parametrize("rows", [(), (Row({"by": "application"}, 5.0),)])
def test_where_the_application_failed_alone_nothing_more_is_said(rows: tuple[Row, ...]) -> None:
    assert weighing.blamed(question(), _check(outcome=Outcome.FAIL), Answer(rows=rows)).note is None


def test_failed_without_data_and_in_error_are_counted_apart() -> None:
    checks = [
        _check(outcome=Outcome.FAIL), _check(outcome=Outcome.FAIL, no_data=True), _check(outcome=Outcome.ERROR),
        _check(CheckKind.EVIDENCE), _check(outcome=Outcome.HOLD), _check(CheckKind.HOOK, Outcome.FAIL),
    ]  # fmt: skip
    assert list(weighing.counted(checks)) == ["failed", "no_data", "error", "passed", "held"]
