"""Looks between two ticks: armed with the tick, held by NATS, able to end a rollout and to do nothing else."""

from datetime import timedelta

import pytest

from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.test_ticks import slice_of
from tests.story.theatre import Theatre, guide, progressing

WHY = "canary failed 80 of 100 requests, primary 9 of 909"


def canary(**analysis: object) -> Json:
    manifest = guide("canary")
    manifest["spec"]["analysis"].update({"interval": "1m", **analysis})
    return manifest


def pending(theatre: Theatre) -> wire.Tick:
    return theatre.bus.ticks["test", "podinfo"]


async def broken(theatre: Theatre, tick: wire.TickId) -> None:
    check = wire.Check(name="fast abort", kind=wire.CheckKind.METRIC, outcome=wire.Outcome.FAIL, reason=WHY)
    await theatre.deliver(
        wire.Verdict(
            id=f"abort/{tick.seq}", canary=theatre.ref, tick=tick, purpose=wire.Purpose.ANALYSIS,
            outcome=wire.Outcome.FAIL, checks=(check,), abort=WHY,
        )
    )  # fmt: skip


async def test_a_broken_canary_loses_its_traffic_between_two_ticks() -> None:
    theatre = await progressing(canary(fastAbort={}))
    glance, due = theatre.bus.glances["test", "podinfo"]
    assert (glance.tick, due) == (pending(theatre).tick, theatre.clock.time + timedelta(seconds=5))
    theatre.clock.time = due
    await broken(theatre, glance.tick)
    assert (theatre.phase, theatre.weights()) == ("Failed", (100, 0))
    assert theatre.heard()[0] == f"Rolling back podinfo.test fast abort: {WHY}"
    assert ("error", f"Rolling back, fast abort: {WHY}") in theatre.alerts()
    [event] = [each for each in theatre.bus.events() if "fast abort" in each.data.message]
    assert (event.data.type, event.data.checks[0].reason) == ("rolling-back", WHY)


async def test_what_an_earlier_steps_look_says_is_stale() -> None:
    theatre = await progressing(canary(fastAbort={}))
    earlier = pending(theatre).tick
    await theatre.tick()
    weights, stale = theatre.weights(), theatre.stale
    await broken(theatre, earlier)
    assert (theatre.phase, theatre.weights(), theatre.stale) == ("Progressing", weights, stale + 1)


async def test_each_step_is_looked_at_anew_and_costs_no_write() -> None:
    theatre = await progressing(canary(fastAbort={}))
    first, _ = theatre.bus.glances["test", "podinfo"]
    await theatre.tick()
    second, _ = theatre.bus.glances["test", "podinfo"]
    assert second.tick.seq > first.tick.seq
    assert second.comparison.since > first.comparison.since
    writes, calls = len(theatre.cluster.writes), theatre.bus.calls
    await theatre.fact()
    assert (len(theatre.cluster.writes), theatre.bus.calls) == (writes, calls)


@pytest.mark.parametrize("analysis", [{}, {"fastAbort": {}, "interval": "10s"}, {"fastAbort": {"every": "2m"}}])
async def test_nobody_looks_where_nobody_asked_or_the_tick_comes_first(analysis: Json) -> None:
    theatre = await progressing(canary(**analysis))
    wanted = analysis.get("fastAbort") == {}
    assert bool(theatre.bus.glances) is wanted


async def test_a_finished_rollout_arms_no_look() -> None:
    theatre = await progressing(canary(fastAbort={}))
    await broken(theatre, pending(theatre).tick)
    theatre.bus.glances.clear()  # without an address of the canary its drain isn't looked at either
    for _ in range(3):
        await theatre.settle()
        if theatre.asks():
            await theatre.tick()
    assert theatre.bus.glances == {}


@pytest.mark.parametrize("outcome", [wire.Outcome.PASS, wire.Outcome.FAIL])
async def test_a_drain_ends_when_nothing_reaches_the_canary_and_costs_no_write_before(outcome: wire.Outcome) -> None:
    theatre = await progressing(canary(threshold=1), [slice_of("podinfo-canary", "10.0.0.7")])
    while theatre.asks() != "timer" or theatre.canary["status"]["serinus"]["stage"] != "draining":
        await theatre.tick(outcome)
        await theatre.settle()
    theatre.heard()
    glance, due = theatre.bus.glances["test", "podinfo"]
    assert (glance.drain, glance.tick, due) == (True, pending(theatre).tick, theatre.clock.time + timedelta(seconds=5))
    assert pending(theatre).question.drain is not None
    writes = len(theatre.cluster.writes)
    await theatre.fact()
    assert len(theatre.cluster.writes) == writes
    assert (theatre.replicas > 0, theatre.weights()) == (True, (100, 0))
    await theatre.deliver(
        wire.Verdict(
            id=f"drained/{glance.tick.seq}", canary=theatre.ref, tick=glance.tick, purpose=wire.Purpose.TIMER,
            outcome=wire.Outcome.PASS,
        )
    )  # fmt: skip
    assert theatre.clock.time < glance.tick.due
    assert (theatre.replicas, theatre.phase) == (0, "Succeeded" if outcome is wire.Outcome.PASS else "Failed")


async def test_a_floor_that_makes_no_sense_is_refused_with_its_field() -> None:
    theatre = Theatre(canary(compare={"alpha": 2}))
    await theatre.fact()
    assert any("spec.analysis.compare.alpha" in text for text in theatre.messages())
