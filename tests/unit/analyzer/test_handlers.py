"""What is asked in which order, what is asked twice, and what the bus gets; on written fakes."""

import asyncio
from collections.abc import Iterator

import pytest

from services.analyzer.policy import LABEL_OFF, Answer, Fault, Reply
from shared.errors import RetryLater
from shared.wire.messages import Outcome, Purpose
from tests.unit.analyzer.asked import (
    EVIDENCE,
    FIRST,
    PROMETHEUS,
    TEMPLATE,
    duration,
    hook,
    question,
    success_rate,
    template,
    tick,
)
from tests.unit.analyzer.world import World


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    yield found
    assert found.under_way == 0


REFUSED = Reply(accepted=False, error="no")


async def test_a_timer_passes_at_once(world: World) -> None:
    await world.analyzer.on_tick(tick(purpose=Purpose.TIMER))
    assert (world.verdict.outcome, world.verdict.checks, world.log) == (Outcome.PASS, (), [])
    assert world.counted == [
        ("serinus_tick_lateness_seconds", 0.25),
        ("serinus_verdicts_total", {"outcome": "pass"}),
    ]


async def test_a_verdict_is_told_once_for_each_time_that_its_tick_is_armed(world: World) -> None:
    """Delivered again, it's the same; armed again, the verdict before it was lost, to an older router for instance."""
    for place in (7, 7, 8):
        await world.analyzer.on_tick(tick(purpose=Purpose.TIMER), place)
    first, again, armed_again = world.message_ids
    assert first == again != armed_again
    assert len({verdict.id for verdict in world.verdicts}) == 1


async def test_none_hides_behind_another(world: World) -> None:
    world.replies = {"load-test": REFUSED}
    world.answers = {"rate": Answer(value=1.0), "templated": Answer(error="x", fault=Fault.QUERY)}
    asked = tick(hooks=(hook(), hook(name="other")), metrics=(success_rate(), duration(), template()))
    await world.analyzer.on_tick(asked)
    assert world.shown == [
        ("load-test", "fail"),
        ("other", "pass"),
        ("request-success-rate", "fail"),
        ("request-duration", "pass"),
        ("error rate", "error"),
    ]
    assert world.outcome == "fail"
    assert world.at_once == 5


async def test_gates_are_asked_last_in_order_and_only_if_all_passed(world: World) -> None:
    gates = (hook("confirm-traffic-increase", "a"), hook("confirm-promotion", "b"), hook("confirm-promotion", "c"))
    world.replies = {"b": REFUSED}
    await world.analyzer.on_tick(tick(hooks=(hook(),), gates=gates))
    assert world.log == ["call load-test", "call a", "call b"]
    assert world.shown == [("load-test", "pass"), ("a", "pass"), ("b", "fail")]
    assert world.outcome == "pass"
    world.answers = {"own": Answer(), "nodes": Answer(), "route": Answer()}
    world.log.clear()
    await world.analyzer.on_tick(tick(gates=gates, evidence=FIRST))
    assert (world.log, world.verdict.outcome) == (["ask own", "ask nodes", "ask route"], Outcome.HOLD)


async def test_a_rollback_hook_that_agrees_ends_everything(world: World) -> None:
    rollback = (hook("rollback", "a"), hook("rollback", "b"), hook("rollback", "c"))
    world.replies = {"a": REFUSED}
    await world.analyzer.on_tick(tick(rollback=rollback, hooks=(hook(),), metrics=(duration(),)))
    assert world.log == ["call a", "call b"]
    assert world.shown == [("a", "fail"), ("b", "pass")]
    assert world.outcome == "hold"
    world.replies = {"a": REFUSED, "b": REFUSED, "c": REFUSED}
    world.notes.clear()
    await world.analyzer.on_tick(tick(rollback=rollback, hooks=(hook(),)))
    assert world.outcome == "pass"
    assert world.shown[-1] == ("load-test", "pass")


async def test_post_rollout_hooks_go_in_order_and_end_at_the_first_refusal(world: World) -> None:
    world.replies = {"b": REFUSED}
    hooks = tuple(hook("post-rollout", name) for name in "abc")
    await world.analyzer.on_tick(tick(purpose=Purpose.POST_ROLLOUT, hooks=hooks))
    assert world.log == ["call a", "call b"]
    assert world.verdict.checks[1].message == "Post-rollout hook b failed no"


async def test_providers_are_asked_whether_they_answer(world: World) -> None:
    world.answers = {"vector(1)": Answer(value=1.0)}
    await world.analyzer.on_tick(tick(purpose=Purpose.PROVIDERS, providers=(PROMETHEUS, TEMPLATE)))
    assert world.shown == [("http://prometheus:9090", "pass"), ("errors.monitoring", "pass")]


async def test_without_node_labels_the_route_is_asked(world: World) -> None:
    world.answers = {"own": Answer(), "nodes": Answer(), "rate": Answer(value=0.0)}
    await world.analyzer.on_tick(tick(metrics=(success_rate(), template()), evidence=EVIDENCE))
    assert "ask rate of route" in world.log
    assert world.shown == [("request-success-rate", "pass"), ("error rate", "fail"), ("evidence", "pass")]
    assert LABEL_OFF in world.verdict.checks[0].reason


async def test_a_metric_that_cant_be_asked_is_not_asked(world: World) -> None:
    metrics = (success_rate(provider=None), success_rate(error="Metric template a.b error: not found"))
    await world.analyzer.on_tick(tick(metrics=metrics))
    assert world.log == []
    assert world.outcome == "error"


async def test_a_redelivered_tick_calls_no_hook_twice_and_gives_the_same_verdict(world: World) -> None:
    world.replies = {"load-test": REFUSED}
    world.away = "publish"
    asked = tick(hooks=(hook(), hook(name="other")))
    with pytest.raises(RetryLater, match="no bus"):
        await world.analyzer.on_tick(asked)
    world.away = ""
    await world.analyzer.on_tick(asked)
    await world.analyzer.on_tick(asked)
    assert world.log == ["call load-test", "call other"]
    first, second = world.verdicts
    assert first == second
    assert first.checks[0].message.endswith("external check load-test failed no")


async def test_a_call_whose_end_was_lost_is_repeated_and_marked(world: World) -> None:
    world.away = "done"
    asked = tick(hooks=(hook(),))
    with pytest.raises(RetryLater):
        await world.analyzer.on_tick(asked)
    world.away = ""
    await world.analyzer.on_tick(asked)
    assert world.log == ["call load-test", "call load-test again"]
    assert world.verdict.checks[0].reason.startswith("asked again")
    await world.analyzer.on_tick(asked)
    assert world.verdicts[0] == world.verdicts[1]


async def test_an_outcome_that_is_no_longer_known_is_no_agreement(world: World) -> None:
    asked = tick(hooks=(hook(),))
    await world.analyzer.on_tick(asked)
    world.notes = dict.fromkeys(world.notes, "")
    await world.analyzer.on_tick(asked)
    assert world.outcome == "fail"
    assert world.verdict.checks[0].reason == "the outcome of the call is no longer known"


async def test_hooks_of_one_name_are_different_calls(world: World) -> None:
    await world.analyzer.on_tick(tick(hooks=(hook(), hook("pre-rollout"))))
    assert world.log == ["call load-test", "call load-test"]
    assert len(world.notes) == 2


async def test_a_bus_that_is_away_sends_the_tick_back_and_leaves_nothing_running(world: World) -> None:
    world.away = "begin"
    with pytest.raises(RetryLater):
        await world.analyzer.on_tick(tick(hooks=(hook(),), metrics=(duration(),), evidence=EVIDENCE))
    await asyncio.sleep(0.005)
    assert world.verdicts == []
    assert len(asyncio.all_tasks()) == 1
    world.under_way = 0


async def test_question_of_nothing_is_a_pass(world: World) -> None:
    await world.analyzer.on_tick(tick(question()))
    assert world.outcome == "pass"
