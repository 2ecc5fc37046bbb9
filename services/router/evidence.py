"""What speaks for itself: how many requests a step needs, the comparison with the primary, and looks between ticks. Pure.

A rollout risks one alpha on chance, which is divided among its questions.
"""

import math
from datetime import datetime, timedelta
from typing import Final

from services.router.rollout.spec import Spec, next_move, weight_before
from services.router.rollout.state import BEHIND, PendingTick, Purpose, Stage
from services.router.scene import BUILTIN, Scene
from shared.canary import queries
from shared.canary.resource import seconds
from shared.wire import messages as wire

_STRICTEST_FIRST: Final = (wire.NoData.FAIL, wire.NoData.HOLD, wire.NoData.IGNORE)
MOST_STEPS: Final = 100
"""Weights are whole percents, so more steps are only those of somebody who wrote thousands of iterations."""

LATELY: Final = timedelta(seconds=30)
"""What shows where the gateway is now: a scrape, whose page may be 15 s old, is somewhere in it."""
FOLLOWS: Final = timedelta(seconds=60)
"""Until then a gateway may still be on its way: 5 s until it knows the weight, 15 s until its page shows it, 30 s until
that is scraped. After that people are told."""


def steps(spec: Spec) -> int:
    """How many steps a rollout has, from its first one to its promotion."""
    weight, iterations, found = 0, 0, 0
    while found < MOST_STEPS and (move := next_move(spec, weight, iterations, begun=found > 0)):
        weight, iterations, found = move.weight, move.iterations, found + 1
    return max(found, 1)


def alpha_of_a_look(alpha: float, *, steps: int, comparisons: int, looks: int) -> float:
    """What one comparison of one tick may risk, so that the rollout risks `alpha` in all.

    `looks` are the step's ticks so far. A step that waits is looked at again and again: the first look has half of
    the step's part, the second a sixth, the third a twelfth; all that ever follow have the whole.
    """
    return alpha / steps / comparisons / ((looks + 1) * (looks + 2))


def relied_on(scene: Scene) -> bool:
    """Has the Canary builtin checks, or says how many requests a step needs?"""
    analysis = scene.canary.model.analysis
    wanted = analysis.min_requests if analysis else None
    return wanted is not None or any(metric.name in BUILTIN for metric in scene.metrics)


def asked(scene: Scene, tick: PendingTick) -> wire.Evidence | None:
    """Only where the Canary relies on the gateway's numbers."""
    if not relied_on(scene):
        return None
    wanted = scene.canary.model.analysis.min_requests if scene.canary.model.analysis else None
    policies = {wire.NoData(metric.no_data) for metric in scene.metrics if metric.name in BUILTIN}
    started = scene.state.step_started or tick.due
    since = queries.window(max(tick.due - started, timedelta(seconds=1)))
    query, nodes_query, route_query = scene.counted.evidence(since)
    return wire.Evidence(
        query=query,
        nodes_query=nodes_query,
        route_query=route_query,
        provider=wire.Provider(address=scene.server),
        first_tick=scene.state.step_ticks == 0,
        least=wanted or 1,
        no_data=next((each for each in _STRICTEST_FIRST if each in policies), wire.NoData.FAIL),
        first_after=first_after(scene.state.weight, scene.workers),
        shift=_shift(scene, tick.due - started),
    )


def owed(weight: int, workers: int) -> int:
    """By how many requests the canary may be behind its weight, in any window: the heavier side has its lead at a stretch,
    and what is left is dealt out evenly. One more, since a window begins and ends anywhere."""
    lead = abs(100 - 2 * weight) // math.gcd(100, weight)
    return (math.ceil(lead * min(weight, 100 - weight) / 100) + 1) * workers


def _shift(scene: Scene, passed: timedelta) -> wire.Shift | None:
    """What tells this step's weight from the one before. Where cookies keep clients on the primary, no weight is
    anybody's share."""
    spec, state = scene.canary.spec, scene.state
    if state.weight == 0 or spec.primary_cookie:
        return None
    told = any(notice.startswith(BEHIND) for notice in state.noticed)
    lately = min(max(passed, timedelta(seconds=1)), LATELY)
    return wire.Shift(
        query=queries.shares(scene.route, queries.window(lately)),
        canary=queries.node_pattern(scene.nodes),
        primary=queries.node_pattern(scene.primary),
        weight=state.weight,
        before=weight_before(spec, state.weight),
        slack=owed(state.weight, scene.workers),
        overdue=state.step_ticks > 0 and passed >= FOLLOWS and not told,
    )


def first_after(weight: int, workers: int) -> int:
    """How many requests may go to the primary before the canary's first: the gateway deals them out in turn, each
    worker for itself, and begins anew with each change of the weights."""
    if not 0 < weight < 50:
        return 0
    return (100 - 2 * weight) // math.gcd(100, weight) * workers


def comparison(scene: Scene, tick: PendingTick) -> wire.Comparison | None:
    """The canary against the primary since this step's weight was applied, without the canary's first moments."""
    compare = scene.canary.model.analysis.compare if scene.canary.model.analysis else None
    began, step = scene.state.analysis_started, scene.state.step_started
    if compare is None or began is None or step is None or not scene.routed or scene.state.weight == 100:
        return None
    alpha = alpha_of_a_look(
        compare.alpha,
        steps=steps(scene.canary.spec),
        comparisons=2 if compare.latency_floor < 100 else 1,
        looks=scene.state.step_ticks,
    )
    since = max(step, began + timedelta(seconds=seconds(compare.warmup)))
    made = _comparison(scene, since, alpha=alpha, floor=compare.floor)
    return made.model_copy(update={"latency_floor": compare.latency_floor / 100, "least": compare.min_sample})


def glance(scene: Scene, tick: PendingTick) -> wire.Glance | None:
    """What is looked at until this tick is due; None where nothing is."""
    wanted = scene.canary.model.analysis.fast_abort if scene.canary.model.analysis else None
    state, step = scene.state, scene.state.step_started
    if wanted is None or tick.purpose is not Purpose.ANALYSIS or state.stage is not Stage.JUDGING:
        return None
    if step is None or not scene.routed or state.weight == 100:
        return None
    named = wire.TickId(revision=tick.revision, seq=tick.seq, due=tick.due)
    return wire.Glance(
        id=f"glance/{scene.canary.spec.uid}/{tick.seq}",
        canary=scene.canary.ref,
        tick=named,
        comparison=_comparison(scene, step, alpha=wanted.alpha / steps(scene.canary.spec), floor=wanted.floor),
        every_seconds=max(seconds(wanted.every), 1.0),
    )


def _comparison(scene: Scene, since: datetime, *, alpha: float, floor: float) -> wire.Comparison:
    return wire.Comparison(**dict(sides(scene, since)), alpha=alpha, floor=floor / 100)


def sides(scene: Scene, since: datetime) -> wire.Sides:
    """Canary and primary, by the names under which the gateway counts them."""
    return wire.Sides(
        provider=wire.Provider(address=scene.server),
        route=scene.route,
        canary=queries.node_pattern(scene.nodes),
        primary=queries.node_pattern(scene.primary),
        since=since,
    )
