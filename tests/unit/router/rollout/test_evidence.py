"""How many requests a step needs, what is compared, and how a rollout's alpha is divided."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.router import evidence, parse, questions
from services.router.evidence import alpha_of_a_look, steps
from services.router.found import Found, RouteFound
from services.router.rollout.spec import Spec, weight_before
from services.router.rollout.state import PendingTick, Phase, Purpose, Stage, State
from services.router.scene import Scene
from shared.canary import queries
from shared.wire import messages as wire
from tests.story.theatre import guide
from tests.unit.router.stage import START

ROUTE = {"metadata": {"name": "podinfo-podinfo-canary"}, "spec": {"http": [{"name": "method"}]}}
DUE = START + timedelta(seconds=60)
TICK = PendingTick(1, DUE, Purpose.ANALYSIS, "r2")
STATE = State(
    phase=Phase.PROGRESSING, stage=Stage.JUDGING, weight=10, revision="r2", analysis_started=START, step_started=START,
    tick=TICK,
)  # fmt: skip


def scene(state: State = STATE, workers: int = 1, **analysis: Any) -> Scene:
    canary = guide("canary")
    canary["spec"]["analysis"].update(analysis)
    found = Found(routes={"podinfo": RouteFound(generated=ROUTE)}, primary_nodes=("10.0.0.1",))
    read = parse.canary(canary, timedelta())
    return Scene(read, state, found, ("10.0.0.9",), "http://prometheus.default", workers)


def _spec(step: int = 0, weights: tuple[int, ...] = (), most: int = 100) -> Spec:
    return Spec(namespace="test", name="podinfo", uid="u", target="podinfo", step=step, steps=weights, max_weight=most)


@pytest.mark.parametrize(
    ("spec", "expected"), [(_spec(10, most=50), 5), (_spec(20, most=50), 3), (_spec(weights=(1, 5, 50)), 3), (_spec(), 1)]
)  # fmt: skip
def test_steps_are_counted_as_the_machine_takes_them(spec: Spec, expected: int) -> None:
    assert steps(spec) == expected


def test_all_looks_of_all_steps_together_risk_alpha() -> None:
    looks = [alpha_of_a_look(0.05, steps=4, comparisons=2, looks=each) for each in range(100_000)]
    assert looks[0] == pytest.approx(0.05 / 4 / 2 / 2)
    assert math.isclose(4 * 2 * sum(looks), 0.05, rel_tol=1e-4)
    assert 4 * 2 * sum(looks) <= 0.05


def test_a_plain_canary_needs_one_request_and_compares_nothing() -> None:
    asked = questions.question(scene(), TICK)
    assert asked.evidence is not None
    assert (asked.evidence.least, asked.evidence.no_data, asked.comparison) == (1, "fail", None)
    assert evidence.glance(scene(), TICK) is None
    assert [metric.no_data for metric in asked.metrics] == ["fail"] * len(asked.metrics)


@pytest.mark.parametrize(
    ("words", "expected"), [(["hold", "ignore"], "hold"), (["ignore", "fail"], "fail"), (["ignore", "ignore"], "ignore")]
)  # fmt: skip
def test_lack_of_requests_is_what_the_strictest_builtin_says(words: list[str], expected: str) -> None:
    names = ("request-success-rate", "request-duration")
    asked = evidence.asked(scene(metrics=[{"name": n, "noData": w} for n, w in zip(names, words, strict=True)]), TICK)
    assert asked is not None
    assert asked.no_data == expected


def test_requests_may_be_required_where_there_is_no_builtin_check() -> None:
    assert evidence.asked(scene(metrics=[]), TICK) is None
    asked = evidence.asked(scene(metrics=[], minRequests=200), TICK)
    assert asked is not None
    assert asked.least == 200


@pytest.mark.parametrize(
    ("weight", "workers", "expected"),
    [(5, 1, 18), (10, 1, 8), (3, 1, 94), (1, 1, 98), (1, 4, 392), (50, 4, 0), (90, 1, 0), (0, 1, 0)],
)
def test_the_gateway_gives_the_primary_so_many_requests_first(weight: int, workers: int, expected: int) -> None:
    """As measured on the real gateway: the first four."""
    assert evidence.first_after(weight, workers) == expected


def test_the_canary_is_compared_with_the_primary_since_its_step_began() -> None:
    later = replace(STATE, step_started=START + timedelta(minutes=2), step_ticks=1)
    asked = evidence.comparison(scene(later, compare={}), TICK)
    assert asked == wire.Comparison(
        provider=wire.Provider(address="http://prometheus.default"),
        route=queries.route_pattern(["test_podinfo-podinfo-canary_method"]),
        canary=queries.node_pattern(["10.0.0.9"]),
        primary=queries.node_pattern(["10.0.0.1"]),
        since=START + timedelta(minutes=2),
        alpha=0.05 / 5 / 2 / 6,
        floor=0.01,
        latency_floor=0.05,
        least=50,
    )


def test_latency_that_may_be_anything_costs_no_alpha() -> None:
    asked = evidence.comparison(scene(compare={"latencyFloor": 100}), TICK)
    assert asked is not None
    assert (asked.latency_floor, asked.alpha) == (1.0, 0.05 / 5 / 1 / 2)


def test_a_canarys_first_moments_are_not_compared() -> None:
    asked = evidence.comparison(scene(compare={"warmup": "30s"}), TICK)
    assert asked is not None
    assert asked.since == START + timedelta(seconds=30)


@pytest.mark.parametrize(
    "state",
    [
        replace(STATE, weight=100),
        replace(STATE, weight=0),
        replace(STATE, step_started=None),
        replace(STATE, stage=Stage.COPYING),
    ],
)
def test_where_one_side_answers_nobody_nothing_is_looked_at_between_ticks(state: State) -> None:
    assert evidence.glance(scene(state, fastAbort={}), TICK) is None


def test_what_is_looked_at_between_ticks() -> None:
    glance = evidence.glance(scene(fastAbort={"alpha": 0.01, "floor": 20, "every": "500ms"}), TICK)
    assert glance is not None
    assert (glance.every_seconds, glance.tick.due, glance.comparison.since) == (1.0, DUE, START)
    assert (glance.comparison.alpha, glance.comparison.floor) == (0.002, 0.2)


def test_failures_are_asked_apart_and_latency_may_be_the_workloads_own() -> None:
    """W-A23."""
    rate, duration = questions.metrics(scene(metrics=[
        {"name": "request-success-rate"}, {"name": "request-duration", "latency": "upstream"},
    ]), TICK)  # fmt: skip
    assert 'response_source=~"nginx|apisix"' in (rate.blame or "")
    assert 'type="upstream"' in duration.query
    assert 'type="upstream"' in duration.fallback
    assert duration.blame is None


def at(weight: int, *, passed: float = 60, ticks: int = 1, noticed: tuple[str, ...] = (), **analysis: Any) -> Scene:
    """A step of this weight that was taken so many seconds before its tick."""
    state = replace(
        STATE, weight=weight, step_started=DUE - timedelta(seconds=passed), step_ticks=ticks, noticed=noticed
    )
    return scene(state, 4, **analysis)


def shift(made: Scene) -> wire.Shift | None:
    asked = evidence.asked(made, TICK)
    assert asked is not None
    return asked.shift


def test_the_gateway_must_show_each_weight() -> None:
    first = shift(at(10))
    assert first is not None
    assert (first.weight, first.before) == (10, 0)
    assert shift(at(20, ticks=0)) == wire.Shift(
        query=queries.shares(queries.route_pattern(["test_podinfo-podinfo-canary_method"]), "30s"),
        canary=queries.node_pattern(["10.0.0.9"]),
        primary=queries.node_pattern(["10.0.0.1"]),
        weight=20,
        before=10,
        slack=8,
    )


def test_a_gateways_numbers_count_from_the_moment_of_the_weight_on() -> None:
    found = shift(at(20, passed=10))
    assert found is not None
    assert "[10s:1s]" in found.query


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (at(20, passed=59), False),
        (at(20, passed=60), True),
        (at(20, passed=600, ticks=0), False),  # a long interval's first look
        (at(20, passed=90, noticed=("note:weight:podinfo.test has …",)), False),
    ],
)
def test_people_are_told_once_when_it_takes_too_long(made: Scene, expected: bool) -> None:
    found = shift(made)
    assert found is not None
    assert found.overdue is expected


@pytest.mark.parametrize(
    "made",
    [
        at(20, sessionAffinity={"cookieName": "c", "primaryCookieName": "p"}),  # clients stay where they are
        at(0, match=[{"headers": {"x-user": {"exact": "tester"}}}], stepWeight=0, iterations=3),
    ],
)
def test_where_a_weight_is_nobodys_share_it_is_not_looked_for(made: Scene) -> None:
    assert shift(made) is None


@pytest.mark.parametrize(
    ("spec", "weight", "expected"),
    [
        (_spec(10, most=50), 10, 0), (_spec(10, most=50), 30, 20), (_spec(weights=(1, 5, 50)), 50, 5), (_spec(10), 35, 30),
        (_spec(), 100, 0),
    ],
)  # fmt: skip
def test_the_weight_before_is_the_plans(spec: Spec, weight: int, expected: int) -> None:
    assert weight_before(spec, weight) == expected
