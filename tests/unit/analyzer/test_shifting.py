"""Does the gateway follow the weight? Said of what surely doesn't, each gateway for itself, and of nothing else."""

import random

import pytest

from sandbox.gateway.balancing import WeightedTurns
from services.analyzer import shifting
from services.analyzer.policy import Answer, Fault, Row
from services.analyzer.shifting import Division, behind, judge_shift
from services.router.evidence import owed
from shared.wire.messages import Check, Outcome, Shift
from tests.unit.analyzer.asked import EVIDENCE, question, success_rate, tick
from tests.unit.analyzer.world import World

SHIFT = Shift(query="shares", canary="10[.]0[.]0[.]9", primary="10[.]0[.]0[.]1", weight=20, before=10)
CANARY, PRIMARY, NOBODY = "10.0.0.9", "10.0.0.1", ""


def _rows(canary: float, primary: float, instance: str = "gw-1", **others: float) -> tuple[Row, ...]:
    nodes = {CANARY: canary, PRIMARY: primary} | others
    return tuple(Row({"node": node, "instance": instance}, value) for node, value in nodes.items())


BEFORE = _rows(100, 900)


def _judged(*rows: Row, overdue: bool = False) -> Check:
    asked = SHIFT.model_copy(update={"overdue": overdue})
    [check] = judge_shift(question(), asked, Answer(rows=rows))
    return check


def test_a_gateway_that_shows_the_weight_passes() -> None:
    check = _judged(*_rows(200, 800))
    assert (check.outcome, check.value, check.lower) == (Outcome.PASS, 20.0, 20.0)


def test_one_that_shows_the_weight_before_holds_and_is_told_of_once_it_is_overdue() -> None:
    check = _judged(*BEFORE)
    assert (check.outcome, check.value, check.note) == (Outcome.HOLD, 10.0, None)
    text = "podinfo.test has 100 of 1000 requests where its weight is 20%: the gateway doesn't follow its route"
    assert check.reason == text
    assert _judged(*BEFORE, overdue=True).note == text


def test_each_gateway_is_looked_at_by_itself() -> None:
    """Three of four follow: together they look well enough."""
    rows = [*_rows(200, 800), *_rows(200, 800, "gw-2"), *_rows(200, 800, "gw-3"), *_rows(100, 900, "gw-4")]
    check = _judged(*rows)
    assert check.outcome is Outcome.HOLD
    assert "gateway gw-4 doesn't follow" in check.reason


@pytest.mark.parametrize("requests", [1, 10, 50])
def test_too_few_requests_hold_nobody_up(requests: int) -> None:
    assert not behind(SHIFT, Division(requests // 10, requests))


@pytest.mark.parametrize(
    ("weight", "before", "own", "expected"),
    [
        (20, 10, 100, True),
        (20, 10, 130, False),
        (100, 50, 500, True),
        (100, 50, 1000, False),
        (60, 50, 500, True),
        (10, 0, 5, True),
    ],
)
def test_who_is_on_the_way_is_believed_and_who_stands_still_is_not(
    weight: int, before: int, own: int, expected: bool
) -> None:
    """With short intervals a good part of the numbers is of the weight before."""
    assert behind(SHIFT.model_copy(update={"weight": weight, "before": before}), Division(own, 1000)) is expected


def test_what_the_round_robin_may_owe_is_granted() -> None:
    assert behind(SHIFT, Division(10, 200))
    assert not behind(SHIFT.model_copy(update={"slack": 20}), Division(10, 200))


@pytest.mark.parametrize("weight", [2, 3, 5, 10, 20, 33, 45, 50, 67, 70, 97, 99, 100])
@pytest.mark.parametrize("workers", [1, 4, 16])
def test_a_gateway_that_follows_is_never_thought_to_be_behind(weight: int, workers: int) -> None:
    """By the turns of the measured round robin, in windows of any length that begin anywhere after the weight was written."""
    rng = random.Random(f"{weight}/{workers}")
    turns = [WeightedTurns([100 - weight, weight]) for _ in range(workers)]
    served = [rng.choice(turns).next() for _ in range(6000)]
    asked = SHIFT.model_copy(update={"weight": weight, "before": weight - 1, "slack": owed(weight, workers)})
    for _ in range(100):
        begin = rng.choice([0, rng.randrange(3000)])
        window = served[begin : begin + rng.randrange(1, 3000)]
        assert not behind(asked, Division(sum(window), len(window)))


def test_more_than_the_weight_is_no_matter() -> None:
    """Testers, and clients with a cookie, come on top."""
    assert _judged(*_rows(900, 100)).outcome is Outcome.PASS


def test_what_reached_nobody_may_have_been_the_canarys_and_what_is_of_neither_side_is_left_out() -> None:
    assert _judged(*_rows(100, 800), Row({"node": NOBODY, "instance": "gw-1"}, 100.0)).outcome is Outcome.PASS
    check = _judged(*_rows(200, 800), Row({"node": "10.0.0.77", "instance": "gw-1"}, 5000.0))
    assert (check.outcome, check.value) == (Outcome.PASS, 20.0)


def test_without_the_node_label_nothing_can_be_told() -> None:
    assert _judged(Row({"node": NOBODY, "instance": "gw-1"}, 1000.0)).outcome is Outcome.PASS


def test_a_canary_without_requests_is_for_the_evidence_to_judge() -> None:
    assert judge_shift(question(), SHIFT, Answer(rows=_rows(0, 1000))) == []
    assert judge_shift(question(), SHIFT, Answer()) == []


def test_a_prometheus_that_errs_lets_nothing_pass() -> None:
    [check] = judge_shift(question(), SHIFT, Answer(error="it is away", fault=Fault.QUERY))
    assert (check.outcome, check.message) == (
        Outcome.ERROR,
        "Prometheus query failed: running query failed: it is away",
    )


async def test_good_numbers_of_the_weight_before_are_no_pass() -> None:
    world = World(answers={"rate": Answer(value=100.0), "shares": Answer(rows=_rows(100, 900))})
    asked = EVIDENCE.model_copy(update={"shift": SHIFT})
    await world.analyzer.on_tick(tick(metrics=(success_rate(),), evidence=asked))
    assert world.outcome == "hold"
    assert world.shown == [("request-success-rate", "pass"), ("evidence", "pass"), (shifting.NAME, "hold")]
