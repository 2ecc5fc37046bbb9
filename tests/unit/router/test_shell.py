"""The parts around the reconciler: lost races, the sweep, the served schema, Flagger's gauges."""

import copy
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import yaml

from services.router import handlers, schema
from services.router.gauges import Gauges
from services.router.sweep import Sweep
from shared.errors import Conflict, RetryLater
from shared.kube import kinds
from shared.kube.json import Json
from shared.runtime.metrics import Metrics
from shared.wire import messages as wire
from tests.story.theatre import Theatre, check, guide, initialized, progressing

CRD = Path(__file__).parents[3] / "k8s/crds/canaries.yaml"
REF = wire.CanaryRef(namespace="test", name="podinfo", uid="u")
NUDGE = wire.Nudge(id="n", canary=REF)


class Losing:
    """Loses so many races."""

    def __init__(self, losses: int) -> None:
        self.losses, self.handled, self.refreshed = losses, 0, 0

    async def look_up(self, ref: wire.CanaryRef) -> None:
        raise AssertionError(ref)

    async def handle(self, received: wire.Fact | wire.Verdict | wire.Nudge) -> None:
        self.handled += 1
        if self.handled <= self.losses:
            raise Conflict("somebody was faster")

    async def refresh(self, ref: wire.CanaryRef) -> None:
        self.refreshed += 1


async def test_a_lost_race_is_decided_anew_on_what_is_there() -> None:
    """At once, and without telling people of it (W-A19)."""
    losing, counted = Losing(5), list[int]()
    await handlers.decide(losing, NUDGE, lambda: counted.append(1))
    assert (losing.handled, losing.refreshed, len(counted)) == (6, 5, 5)
    with pytest.raises(Conflict):
        await handlers.decide(Losing(6), NUDGE, lambda: None)


async def test_refreshing_reads_what_was_lost_and_forgets_what_is_gone() -> None:
    theatre = await progressing()
    theatre.cluster.reads.clear()
    await theatre.reconciler.refresh(theatre.ref)
    assert {("Canary", "podinfo"), ("Deployment", "podinfo"), ("ApisixRoute", "podinfo-podinfo-canary")} <= set(
        theatre.cluster.reads
    )
    theatre.cluster.edit("Canary", "podinfo", {"metadata": {"finalizers": None}})
    theatre.cluster.remove("Canary", "podinfo")
    theatre.cluster.reads.clear()
    await theatre.reconciler.refresh(theatre.ref)
    assert theatre.cluster.reads == [("Canary", "podinfo")]


async def test_an_incompatible_crd_stops_everything() -> None:
    theatre = Theatre()
    theatre.schema_problem = schema.FOREIGN
    with pytest.raises(RetryLater, match="drops our status fields"):
        await theatre.fact()
    assert theatre.cluster.writes == []


def flaggers() -> Json:
    """As Flagger ships it: without our fields."""
    loaded: Json = yaml.safe_load(CRD.read_text())
    status = loaded["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    del status["serinus"]
    return loaded


def test_the_served_schema_must_keep_our_fields() -> None:
    watched = schema.Schema()
    assert watched.problem == schema.MISSING
    ours = schema.slim(yaml.safe_load(CRD.read_text()))
    assert watched.changed(None, ours)
    assert watched.problem == ""
    theirs = schema.slim(flaggers())
    assert watched.changed(ours, theirs)
    assert watched.problem == schema.FOREIGN
    assert not watched.changed(None, schema.slim({"metadata": {"name": "widgets.example.com"}}))
    assert watched.problem == schema.FOREIGN
    assert watched.changed(theirs, None)
    assert watched.problem == schema.MISSING


def sweep(theatre: Theatre, outages: Callable[[], int] = lambda: 0) -> tuple[Sweep, Metrics]:
    metrics = Metrics()
    canaries = theatre.cluster.cache(kinds.CANARY)
    return Sweep(canaries, theatre.reconciler, theatre.bus, theatre.clock, metrics, 5.0, outages), metrics


def nudges(theatre: Theatre) -> list[str]:
    return [message.reason for _, message in theatre.bus.stored if isinstance(message, wire.Nudge)]


async def test_the_sweep_asks_after_overdue_ticks_and_they_are_armed_again() -> None:
    theatre = await progressing()
    sweeping, metrics = sweep(theatre)
    assert await sweeping.once() == 0
    lost = theatre.bus.ticks.pop(("test", "podinfo"))
    theatre.clock.time = lost.tick.due + timedelta(seconds=6)
    assert (await sweeping.once(), nudges(theatre)) == (1, ["overdue"])
    assert b"serinus_overdue_ticks_total 1.0" in metrics.render()
    await theatre.deliver(wire.Nudge(id="n", canary=theatre.ref, reason="overdue"))
    assert theatre.bus.ticks["test", "podinfo"].tick == lost.tick


async def test_after_an_outage_a_lost_tick_is_armed_again_before_it_is_due() -> None:
    theatre, outages = await progressing(), [0]
    sweeping, _ = sweep(theatre, lambda: outages[0])
    outages[0] += 1
    assert await sweeping.once() == 0, "it is still there"
    lost = theatre.bus.ticks.pop(("test", "podinfo"))
    assert await sweeping.once() == 0, "nobody asks without an outage"
    outages[0] += 1
    assert (await sweeping.once(), nudges(theatre)) == (1, ["overdue"])
    await theatre.deliver(wire.Nudge(id="n", canary=theatre.ref, reason="overdue"))
    assert theatre.bus.ticks["test", "podinfo"].tick == lost.tick


async def test_replicas_nudge_once_a_beat() -> None:
    theatre = await initialized()
    theatre.release()
    first, second = sweep(theatre)[0], sweep(theatre)[0]
    assert (await first.once(), await second.once(), nudges(theatre)) == (1, 1, ["pending"])
    theatre.clock.time += timedelta(seconds=5)
    await first.once()
    assert nudges(theatre) == ["pending", "pending"]


async def test_a_canary_that_cant_be_looked_at_doesnt_stop_the_sweep() -> None:
    theatre = await initialized()
    template = copy.deepcopy(theatre.cluster.of("Deployment", "podinfo")["spec"]["template"])
    template["spec"]["volumes"] = [{"name": "x", "configMap": {"name": "colors"}}]
    theatre.cluster.edit("Deployment", "podinfo", {"spec": {"template": template}})
    colors = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "colors", "namespace": "test"}, "data": {}}
    theatre.cluster.put(colors)
    theatre.cluster.unreadable = True
    assert await sweep(theatre)[0].once() == 0
    theatre.cluster.unreadable = False
    assert await sweep(theatre)[0].once() == 1


def rendered(metrics: Metrics) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if line.startswith("flagger_canary")]


def no_time() -> datetime:
    raise AssertionError("what a canary looks like has nothing to do with the time")


def test_gauges_of_a_canary_come_and_go_under_flaggers_names() -> None:
    metrics = Metrics()
    gauges = Gauges(metrics, no_time)
    fresh = guide("canary")
    rolling = {**fresh, "status": {"phase": "Progressing", "canaryWeight": 30}}
    gauges.changed(None, fresh)
    gauges.changed(fresh, rolling)
    lines = rendered(metrics)
    assert 'flagger_canary_total{namespace="test"} 1.0' in lines
    assert 'flagger_canary_status{name="podinfo",namespace="test"} 0.0' in lines
    assert 'flagger_canary_weight{namespace="test",workload="podinfo"} 30.0' in lines
    assert 'flagger_canary_weight{namespace="test",workload="podinfo-primary"} 70.0' in lines
    gauges.changed(rolling, None)
    assert rendered(metrics) == ['flagger_canary_total{namespace="test"} 0.0']


def test_held_canaries_are_counted_but_not_those_that_people_suspended() -> None:
    metrics = Metrics()
    gauges = Gauges(metrics, no_time)

    def held(reason: str) -> Json:
        return {**guide("canary"), "status": {"phase": "Initialized", "serinus": {"hold": {"reason": reason}}}}

    def shown() -> float:
        (line,) = (line for line in metrics.render().decode().splitlines() if line.startswith("serinus_holds "))
        return float(line.split()[1])

    free = guide("canary")
    counts = []
    for new in (
        free,
        held("suspended"),
        held("held: another controller (flagger) writes this Canary"),
        held("held: still"),
        None,
    ):
        gauges.changed(free, new)
        counts.append(shown())
    assert counts == [0, 0, 1, 1, 0]


def after(due: datetime) -> datetime:
    return due + timedelta(seconds=2)


async def test_ends_and_values_are_counted() -> None:
    metrics = Metrics()
    theatre = await progressing(steps=4)
    numbers = check("request-duration", wire.CheckKind.METRIC, wire.Outcome.PASS)
    await theatre.tick(checks=[numbers.model_copy(update={"value": 250.0, "type": "duration"})])
    await theatre.settle()
    await theatre.tick()
    for done in theatre.commits:
        tick = done.before.tick
        Gauges(metrics, partial(after, tick.due if tick else theatre.clock.now())).committed(done)
    lines = rendered(metrics)
    labels = 'deployment_strategy="canary",name="podinfo",namespace="test"'
    assert f'flagger_canary_successes_total{{analysis_status="completed",{labels}}} 1.0' in lines
    assert 'flagger_canary_metric_analysis{metric="request-duration",name="podinfo",namespace="test"} 0.25' in lines
    took = 'flagger_canary_duration_seconds_{}{{name="podinfo",namespace="test"}} {}'
    assert took.format("count", "1.0") in lines, "of the one check that had anything to judge"
    assert took.format("sum", "2.0") in lines
