"""From what the gateway counted to a check of the canary against the primary, and to the end of a rollout."""

from datetime import timedelta
from typing import Any

import pytest

from services.analyzer import comparing
from services.analyzer.comparison import Counts
from services.analyzer.policy import LABEL_OFF, Answer, Fault, Row
from shared.wire.messages import CanaryRef, Comparison, Glance, Outcome, TickId
from tests.unit.analyzer.asked import DUE, PROMETHEUS, question, tick
from tests.unit.analyzer.world import World

BEGAN = DUE - timedelta(seconds=60)
ASKED = Comparison(
    provider=PROMETHEUS, route="r", canary="10[.]0[.]0[.]7", primary="10[.]0[.]0[.]1|10[.]0[.]0[.]2", since=BEGAN,
    alpha=0.01, floor=0.01, latency_floor=0.05, least=50,
)  # fmt: skip


def _status(*counted: tuple[str, str, float]) -> Answer:
    return Answer(rows=tuple(Row({"node": node, "code": code}, value) for node, code, value in counted))


GOOD = _status(("10.0.0.7", "200", 99), ("10.0.0.7", "500", 1), ("10.0.0.1", "200", 900), ("10.0.0.2", "503", 9))
BAD = _status(("10.0.0.7", "200", 60), ("10.0.0.7", "500", 40), ("10.0.0.1", "200", 900), ("10.0.0.2", "503", 9))
BROKEN = _status(("10.0.0.7", "200", 20), ("10.0.0.7", "500", 80), ("10.0.0.1", "200", 900), ("10.0.0.2", "503", 9))
BURST = _status(("10.0.0.7", "200", 60), ("10.0.0.7", "500", 40), ("10.0.0.1", "200", 600), ("10.0.0.2", "503", 400))


def test_failures_belong_to_the_node_that_answered_and_to_nobody_without_one() -> None:
    answer = _status(
        ("10.0.0.7", "404", 1), ("10.0.0.7", "502", 2), ("10.0.0.2", "500", 3), ("", "503", 50), ("10.0.0.9", "500", 4)
    )
    assert comparing.failures(ASKED, answer.rows) == (Counts(2, 3), Counts(3, 3))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GOOD, Outcome.PASS),
        (BAD, Outcome.FAIL),
        (BURST, Outcome.PASS),
        (_status(("10.0.0.7", "500", 49), ("10.0.0.1", "200", 900)), Outcome.HOLD),
        (_status(("10.0.0.7", "500", 60), ("10.0.0.1", "200", 49)), Outcome.HOLD),
        (Answer(), Outcome.HOLD),
        (Answer(error="request failed: EOF", fault=Fault.QUERY), Outcome.ERROR),
    ],
)
def test_success_is_compared_where_both_sides_have_enough(answer: Answer, expected: Outcome) -> None:
    check = comparing.judge_success(question(), ASKED, "q", answer)
    assert (check.outcome, check.query) == (expected, "q")
    assert check.reason


def test_a_worse_canary_is_told_with_counts_floor_and_test() -> None:
    check = comparing.judge_success(question(), ASKED, "q", BAD)
    assert check.message == (
        "Halt podinfo-canary.test advancement canary failed 40 of 100 requests (40.00%), primary 9 of 909 (0.99%): worse by "
        "more than 1 percentage points"
    )
    assert check.reason.startswith("exact binomial test, p ")


def test_where_the_gateway_names_no_node_the_reason_is_that() -> None:
    assert comparing.judge_success(question(), ASKED, "q", _status(("", "200", 900))).reason == LABEL_OFF


def _latency(**sides: tuple[float, float, float]) -> Answer:
    nodes = {"canary": "10.0.0.7", "primary": "10.0.0.1"}
    return Answer(rows=tuple(
        Row({"node": nodes[side], "le": bound}, value)
        for side, upto in sides.items()
        for bound, value in zip(("100", "500", "+Inf"), upto, strict=True)
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (_latency(canary=(90, 99, 100), primary=(930, 999, 1000)), Outcome.PASS),
        (_latency(canary=(60, 99, 100), primary=(930, 999, 1000)), Outcome.FAIL),
        (_latency(canary=(6, 9, 10), primary=(930, 999, 1000)), Outcome.HOLD),
        (_latency(primary=(930, 999, 1000)), Outcome.HOLD),
        (_latency(canary=(0, 0, 100), primary=(0, 0, 1000)), Outcome.PASS),  # long polling: nothing is slow there
        (Answer(error="request failed: EOF", fault=Fault.QUERY), Outcome.ERROR),
    ],
)
def test_latency_is_compared_by_the_bound_that_the_primary_keeps(answer: Answer, expected: Outcome) -> None:
    assert comparing.judge_latency(question(), ASKED, "q", answer).outcome is expected


def test_a_slower_canary_is_told_with_the_bound() -> None:
    check = comparing.judge_latency(question(), ASKED, "q", _latency(canary=(60, 99, 100), primary=(930, 999, 1000)))
    assert check.message == (
        "Halt podinfo-canary.test advancement canary answered 40 of 100 requests in over 100ms (40.00%), primary 70 of 1000 (7.00%): "
        "worse by more than 5 percentage points"
    )


async def test_the_first_moments_of_a_canary_are_not_compared() -> None:
    world = World()
    asked = question(comparison=ASKED.model_copy(update={"since": DUE + timedelta(seconds=30)}))
    await world.analyzer.on_tick(tick(asked))
    assert world.outcome == "hold"
    assert [check.reason for check in world.verdict.checks] == [comparing.WARMING_UP] * 2
    assert world.log == []


async def test_latency_that_may_be_anything_is_not_asked_for() -> None:
    world = World(answers={"sum by ": GOOD})
    await world.analyzer.on_tick(tick(question(comparison=ASKED.model_copy(update={"latency_floor": 1.0}))))
    assert (world.shown, len(world.log)) == ([(comparing.SUCCESS, "pass")], 1)


async def test_a_tick_compares_beside_everything_else() -> None:
    world = World(answers={"sum by ": BAD})
    await world.analyzer.on_tick(tick(question(comparison=ASKED)))
    assert dict(world.shown) == {comparing.SUCCESS: "fail", comparing.LATENCY: "hold"}
    assert {"outcome": "failed"} in [labels for name, labels in world.counted if name == "serinus_checks_total"]


def glance(**parts: Any) -> Glance:
    named = TickId(revision="abc", seq=7, due=DUE + timedelta(seconds=30))
    ref = CanaryRef(namespace="test", name="podinfo-canary", uid="u-1")
    comparison = ASKED.model_copy(update={"floor": 0.1, "alpha": 0.001})
    return Glance(
        **({"id": "glance/u-1/7", "canary": ref, "tick": named, "comparison": comparison, "every_seconds": 5} | parts)
    )


async def test_a_glance_at_plain_breakage_ends_the_rollout_and_says_by_what() -> None:
    world = World(answers={"sum by ": BROKEN})
    await world.analyzer.on_glance(glance())
    assert world.glances == []
    assert (world.verdict.id, world.outcome, world.verdict.tick) == ("abort/u-1/abc/7", "fail", glance().tick)
    said = world.verdict.abort or ""
    assert said.startswith("canary failed 80 of 100 requests, primary 9 of 909; more than 10% by a sequential")
    assert "1000 needed" in said


@pytest.mark.parametrize("answer", [GOOD, BURST, Answer(), Answer(error="request failed: EOF", fault=Fault.QUERY)])
async def test_any_other_glance_is_followed_by_the_next(answer: Answer) -> None:
    world = World(answers={"sum by ": answer})
    await world.analyzer.on_glance(glance())
    assert world.verdicts == []
    assert world.glances == [(glance(), world.now() + timedelta(seconds=5))]


@pytest.mark.parametrize(("left", "asked"), [(timedelta(seconds=4), 1), (timedelta(), 0), (-timedelta(days=1), 0)])
async def test_glances_end_with_their_tick(left: timedelta, asked: int) -> None:
    world = World()
    await world.analyzer.on_glance(glance(tick=TickId(revision="abc", seq=7, due=world.now() + left)))
    assert (len(world.log), world.glances, world.verdicts) == (asked, [], [])
