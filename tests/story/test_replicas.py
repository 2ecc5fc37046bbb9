"""Two routers take turns, message by message, and the watch of the second one lags: what the first has committed isn't there
yet when the second begins.
"""

from services.router import handlers
from services.router.reconcile import Reconciler
from services.router.succession import Succession
from shared.kube import json, kinds
from shared.wire import messages as wire
from tests.fakes.cluster import LateCache
from tests.story.theatre import Theatre, initialized, progressing


async def _handled(router: Reconciler, message: wire.Nudge | wire.Verdict) -> None:
    """By one that isn't the first to serve this partition."""
    await handlers.take(router, Succession(), message, 7, lambda: None)


def _numbers(theatre: Theatre) -> list[int]:
    return [each["seq"] for each in json.items(theatre.canary, "status", "serinus", "transitions")]


async def test_what_was_decided_on_one_state_is_not_stored_on_top_of_the_next() -> None:
    """The second one writes an object before it decides, and the watch brings the first one's commit with that."""
    theatre = await initialized()
    late = LateCache(theatre.cluster)
    second = theatre.replica(late)
    late.lag()
    theatre.release()
    await theatre.settle()
    before = theatre.messages()
    assert before[-1] == "Advance podinfo.test canary weight 10"

    theatre.cluster.remove("Service", "podinfo-canary")
    late.shows_until_the_next_write()
    await handlers.decide(second, wire.Nudge(id="look", canary=theatre.ref, reason="test"), lambda: None)

    numbers = _numbers(theatre)
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "no number is given twice"
    assert theatre.messages() == before, "and nothing is begun a second time"
    assert theatre.cluster.of("Service", "podinfo-canary")
    await theatre.tick()
    assert theatre.messages()[-1] == "Advance podinfo.test canary weight 20"


async def _a_step_further() -> tuple[Theatre, Reconciler]:
    """Committed by the first, and nothing that the second one's watch has brought."""
    theatre = await progressing()
    late = LateCache(theatre.cluster)
    second = theatre.replica(late)
    late.lag()
    await theatre.tick()
    assert theatre.weights() == (70, 30)
    theatre.cluster.reads.clear()
    theatre.cluster.writes.clear()
    return theatre, second


async def test_weights_are_never_put_back() -> None:
    theatre, second = await _a_step_further()
    await _handled(second, wire.Nudge(id="look", canary=theatre.ref, reason="test"))
    assert theatre.cluster.writes == []
    assert theatre.cluster.reads == [("Canary", "podinfo")]


async def test_a_verdict_for_a_tick_that_the_other_one_armed_is_not_dropped() -> None:
    theatre, second = await _a_step_further()
    tick = theatre.bus.ticks["test", "podinfo"]
    theatre.clock.time = tick.tick.due
    verdict = wire.Verdict(
        id=f"verdict/{tick.id}", canary=tick.canary, tick=tick.tick, purpose=tick.question.purpose,
        outcome=wire.Outcome.PASS, checks=(),
    )  # fmt: skip
    await _handled(second, verdict)
    assert theatre.weights() == (60, 40)
    assert theatre.stale == 0


async def test_what_the_other_one_told_long_ago_is_not_told_again() -> None:
    """Longer than the stream remembers ids for."""
    theatre = await progressing()
    second = theatre.replica(theatre.cluster.cache(kinds.CANARY))
    look = wire.Nudge(id="look", canary=theatre.ref, reason="test")
    await _handled(second, look)
    await theatre.tick()
    told = list(theatre.bus.placed)
    theatre.bus.ids.clear()
    await _handled(second, look)
    assert theatre.bus.placed == told


def test_who_gets_one_delivery_after_the_other_looks_nothing_up_again() -> None:
    succession = Succession()
    assert not succession.unbroken(5, "a"), "others may have been here before"
    succession.looked_up("a")
    assert succession.unbroken(6, "a")
    assert not succession.unbroken(7, "b"), "it hasn't been looked up since"
    assert not succession.unbroken(8, "b"), "nor now: the attempt failed"
    succession.looked_up("b")
    assert succession.unbroken(9, "b")
    assert not succession.unbroken(11, "a"), "the tenth went to another one"
    succession.looked_up("a")
    assert succession.unbroken(12, "a")
    assert not succession.unbroken(13, "b"), "all of them, not only that one"
