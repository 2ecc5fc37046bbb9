"""The one tick a canary waits for: never early, never drifting, replaced when its question changes, and never another's."""

from datetime import timedelta

import pytest

from shared.canary import queries
from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.theatre import Theatre, guide, initialized, progressing


def pending(theatre: Theatre) -> wire.Tick:
    return theatre.bus.ticks["test", "podinfo"]


def slice_of(service: str, *addresses: str) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-x", "namespace": "test", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
    }  # fmt: skip


async def test_pods_that_are_replaced_change_the_question_and_not_the_time() -> None:
    theatre = await progressing()
    theatre.cluster.put(slice_of("podinfo-canary", "10.0.0.7"))
    await theatre.tick()
    before = pending(theatre)
    theatre.cluster.put(slice_of("podinfo-canary", "10.0.0.8"))
    await theatre.fact()
    after = pending(theatre)
    assert (after.tick, after.id == before.id) == (before.tick, False)
    query = after.question.metrics[0].query
    both = queries.node_pattern(["10.0.0.7", "10.0.0.8"])
    assert both in query, "the old one answered within the window"


async def test_an_edited_template_changes_the_question_and_not_the_time() -> None:
    canary, template = guide("canary"), guide("metric-template")
    canary["spec"]["analysis"]["metrics"] = [{"name": "mine", "templateRef": {"name": "not-found-percentage"}}]
    theatre = await progressing(canary, [template])
    before = pending(theatre)
    theatre.cluster.edit("MetricTemplate", "not-found-percentage", {"spec": {"query": "vector(1)"}})
    await theatre.fact()
    assert pending(theatre).tick == before.tick
    assert pending(theatre).question.metrics[0].query == "vector(1)"


async def test_an_unchanged_question_is_not_armed_again() -> None:
    theatre = await progressing()
    calls = theatre.bus.calls
    await theatre.fact()
    assert theatre.bus.calls == calls


@pytest.mark.parametrize("late", [0, 3, 8])
async def test_lateness_never_adds_up(late: int) -> None:
    """Failed checks, ten seconds apart by the due times, however late each is judged."""
    theatre = await progressing()
    first = pending(theatre).tick.due
    for count in range(1, 5):
        theatre.clock.time = pending(theatre).tick.due + timedelta(seconds=late)
        await theatre.tick(wire.Outcome.FAIL)
        assert pending(theatre).tick.due == first + timedelta(seconds=10 * count)


async def test_a_message_for_a_predecessor_of_the_same_name_changes_nothing() -> None:
    theatre = await progressing()
    old = pending(theatre)
    theatre.edit({"metadata": {"finalizers": None}})
    theatre.cluster.remove("Canary", "podinfo")
    theatre.cluster.put({**guide("canary"), "metadata": {"name": "podinfo", "namespace": "test"}})
    theatre.cluster.writes.clear()
    await theatre.deliver(wire.Verdict(
        id="late", canary=old.canary, tick=old.tick, purpose=wire.Purpose.ANALYSIS, outcome=wire.Outcome.PASS,
    ))  # fmt: skip
    assert theatre.cluster.writes == []
    assert theatre.weights() == (80, 20)


async def test_a_new_revision_takes_its_predecessors_tick_away() -> None:
    theatre = await progressing()
    old = pending(theatre)
    theatre.release("stefanprodan/podinfo:6.0.2")
    await theatre.settle()
    assert theatre.weights() == (90, 10)
    assert pending(theatre).tick.revision != old.tick.revision
    await theatre.deliver(wire.Verdict(
        id="late", canary=old.canary, tick=old.tick, purpose=wire.Purpose.ANALYSIS, outcome=wire.Outcome.PASS,
    ))  # fmt: skip
    assert (theatre.weights(), theatre.stale) == ((90, 10), 1)


async def test_providers_that_are_away_are_told_and_stop_nothing() -> None:
    theatre = Theatre()
    await theatre.fact()
    text = "Error checking metric providers: prometheus not avaiable: connection refused"
    away = wire.Check(name="prometheus", kind=wire.CheckKind.PROVIDER, outcome=wire.Outcome.ERROR, message=text)
    await theatre.tick(wire.Outcome.ERROR, [away])
    await theatre.settle()
    assert theatre.phase == "Initialized"
    told = next(event.data for event in theatre.bus.events() if event.data.message == text)
    assert (told.type, told.event_type) == ("warning", "Warning")


async def test_a_canary_at_rest_waits_for_nothing() -> None:
    theatre = await initialized()
    assert theatre.asks() == ""
    assert await theatre.look() == ""
