"""When a drain is over by the gateway's numbers, when time must decide, and what is said of a canary that still gets requests."""

from datetime import timedelta
from typing import Any

import pytest

from services.analyzer import draining
from services.analyzer.policy import Answer, Fault, Row
from shared.canary import queries
from shared.wire.messages import Comparison, Glance, Outcome, Purpose, Sides
from tests.unit.analyzer.asked import DUE, PROMETHEUS, tick
from tests.unit.analyzer.test_comparing import glance
from tests.unit.analyzer.world import World

CANARY, PRIMARY = "10.0.0.7", "10.0.0.1"
SIDES = Sides(
    provider=PROMETHEUS, route="r", canary="10[.]0[.]0[.]7", primary="10[.]0[.]0[.]1", since=DUE - timedelta(seconds=60)
)
REQUESTS, LATENCIES = queries.statuses("r", "17s"), queries.latencies("r", "10m")
"""Fifteen seconds, and two of the slowest requests."""


def _look(**parts: Any) -> Glance:
    comparison = Comparison(**dict(SIDES), alpha=1e-9, floor=0.5)
    named = glance().tick.model_copy(update={"due": DUE + timedelta(minutes=2)})
    return glance(**({"id": "drain/u-1/7", "comparison": comparison, "tick": named, "drain": True} | parts))


def _status(canary: float, primary: float) -> Answer:
    return Answer(rows=tuple(Row({"node": n, "code": "200"}, v) for n, v in ((CANARY, canary), (PRIMARY, primary))))


def _latency(*counted: tuple[str, float]) -> Answer:
    """The canary's histogram; the primary's has slower ones."""
    rows = [Row({"node": CANARY, "le": bound}, value) for bound, value in counted]
    return Answer(rows=(*rows, Row({"node": PRIMARY, "le": "+Inf"}, 9999.0)))


QUICK = _latency(("1000", 90.0), ("2000", 100.0), ("5000", 100.0), ("+Inf", 100.0))


def _world(requests: Answer, latency: Answer = QUICK, **parts: Any) -> World:
    return World(series={REQUESTS: requests, LATENCIES: latency}, **parts)


async def test_a_canary_that_nothing_reaches_is_drained() -> None:
    world = _world(_status(0, 50))
    await world.analyzer.on_glance(_look())
    verdict = world.verdict
    assert (verdict.id, verdict.tick, verdict.purpose) == ("drained/u-1/abc/7", _look().tick, Purpose.TIMER)
    assert (verdict.outcome, world.glances) == (Outcome.PASS, [])
    assert verdict.checks[0].reason == "nothing reached the canary while the primary answered 50 requests"


@pytest.mark.parametrize(
    ("requests", "latency"),
    [
        (_status(1, 50), QUICK),
        (_status(0, 0), QUICK),  # nobody asks anybody, or the numbers don't move
        (Answer(), QUICK),
        (Answer(error="it is away", fault=Fault.QUERY), QUICK),
        (_status(0, 50), Answer(error="it is away", fault=Fault.QUERY)),
        (_status(0, 50), _latency(("60000", 90.0), ("+Inf", 100.0))),  # some take longer than every bound
        (_status(0, 50), Answer()),
    ],
)
async def test_anything_else_is_looked_at_again_and_left_to_time(requests: Answer, latency: Answer) -> None:
    world = _world(requests, latency)
    await world.analyzer.on_glance(_look())
    assert world.verdicts == []
    assert world.glances == [(_look(), world.now() + timedelta(seconds=5))]


@pytest.mark.parametrize(("ago", "queries_sent"), [(34, 0), (36, 1), (38, 2)])
async def test_numbers_of_a_time_before_the_weight_prove_nothing(ago: int, queries_sent: int) -> None:
    """A page may be 15 s old; and slow requests, which are counted when they end, have to be waited for."""
    since = DUE - timedelta(seconds=ago)
    look = _look(comparison=_look().comparison.model_copy(update={"since": since}))
    world = _world(_status(0, 50))
    await world.analyzer.on_glance(look)
    assert len(world.log) == queries_sent
    assert bool(world.verdicts) is (queries_sent == 2)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ((("10", 50.0), ("20", 100.0), ("+Inf", 100.0)), timedelta(milliseconds=20)),
        ((("10", 0.0), ("+Inf", 0.0)), None),
        ((("30000", 99.0), ("60000", 100.0), ("+Inf", 100.0)), timedelta(seconds=60)),
        ((("60000", 99.0), ("+Inf", 100.0)), None),
    ],
)
def test_the_slowest_requests_are_read_off_the_histogram(
    counted: tuple[tuple[str, float], ...], expected: timedelta | None
) -> None:
    assert draining.slowest(SIDES, _latency(*counted)) == expected


async def test_a_canary_that_still_gets_requests_at_the_end_is_told_of_and_the_timer_passes() -> None:
    text = (
        "podinfo.test is scaled down although it had 12 requests in the last 15s, without a weight: the gateway doesn't "
        "follow its route, or clients hold on to connections"
    )
    world = World(series={draining.request_query(SIDES): _status(12, 50)})
    await world.analyzer.on_tick(tick(purpose=Purpose.TIMER, drain=SIDES))
    assert (world.outcome, [check.note for check in world.verdict.checks]) == ("pass", [text])


@pytest.mark.parametrize("answer", [_status(0, 50), Answer(), Answer(error="it is away", fault=Fault.QUERY)])
async def test_a_timer_needs_no_prometheus(answer: Answer) -> None:
    world = World(series={draining.request_query(SIDES): answer})
    await world.analyzer.on_tick(tick(purpose=Purpose.TIMER, drain=SIDES))
    assert (world.outcome, world.shown) == ("pass", [])


async def test_after_a_short_drain_nobody_is_asked() -> None:
    world = World()
    short = SIDES.model_copy(update={"since": DUE - timedelta(seconds=10)})
    await world.analyzer.on_tick(tick(purpose=Purpose.TIMER, drain=short))
    assert (world.outcome, world.log) == ("pass", [])
