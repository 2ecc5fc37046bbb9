"""The bus is gone with a canary mid-rollout: people hear of it from the router, no weight moves, and nothing is lost."""

from datetime import timedelta

import pytest

from services.router.bus_watch import GRACE, OTHERS, BusWatch
from shared.errors import Conflict, RetryLater
from shared.kube import kinds
from shared.kube.events import Events
from shared.kube.json import Json
from shared.runtime.metrics import Metrics
from tests.fakes.cluster import Crash, LateCache
from tests.story.theatre import Theatre, initialized, progressing

HOLDING = "Holding podinfo.test: cut off from the bus"
RESUMING = "Resuming podinfo.test: no longer cut off from the bus"
ROLLING_BACK = "Rolling back podinfo.test cut off from the bus"
FAILED = "Canary failed! Scaling down podinfo.test"
LATER = timedelta(minutes=5)


class Night:
    """A rolling canary, and one router's watch."""

    def __init__(self, theatre: Theatre) -> None:
        self.theatre, self.metrics, self.outages = theatre, Metrics("router"), 0
        self.watch = self.another()

    def another(self) -> BusWatch:
        """The watch of another router, or of another life."""
        theatre = self.theatre
        canaries, events = theatre.cluster.cache(kinds.CANARY), Events(theatre.cluster)
        return BusWatch(
            self._answers, canaries, theatre.reconciler, events, theatre.clock, self.metrics, lambda: self.outages
        )

    async def _answers(self) -> bool:
        return not self.theatre.bus.away

    async def falls(self) -> None:
        """The bus is gone for longer than it may be."""
        self.theatre.bus.away = True
        await self.watch.once()
        await self.passes(GRACE)

    async def passes(self, seconds: float) -> None:
        self.theatre.clock.time += timedelta(seconds=seconds)
        self.theatre.cluster.time = self.theatre.stamp()
        await self.watch.once()

    async def ends(self) -> None:
        """The bus is back, and the sweep's nudge is through."""
        self.theatre.bus.away = False
        await self.watch.once()
        await self.theatre.fact()

    def told(self) -> dict[str, int]:
        """Kubernetes Events: text → count."""
        found = [each for key, each in self.theatre.cluster.objects.items() if key[0] == "Event"]
        return {each["message"]: each["count"] for each in found}

    async def notified(self) -> None:
        """The notifier handles all that is on the bus."""
        events = Events(self.theatre.cluster)
        for notice in self.theatre.bus.notices():
            await events.tell(notice.event)


def routes(theatre: Theatre) -> list[tuple[str, str, str]]:
    return [each for each in theatre.cluster.writes if each[1] == "ApisixRoute"]


def condition(canary: Json) -> str:
    return str(canary["status"]["conditions"][0]["message"])


def numbers(theatre: Theatre) -> list[int]:
    return [event.data.seq for event in theatre.bus.events()]


async def test_people_hear_of_it_from_the_api_server() -> None:
    night = Night(await progressing())
    before = len(routes(night.theatre))
    night.theatre.bus.away = True
    await night.watch.once()
    await night.passes(GRACE - 1)
    assert night.told() == {}, "a server that restarts is back by then"
    await night.passes(1)
    assert night.told() == {HOLDING: 1}
    assert condition(night.theatre.canary) == (
        "New revision detected, progressing canary analysis. On hold: cut off from the bus."
    )
    for _ in range(5):
        await night.passes(60)
    assert night.told() == {HOLDING: 1}
    assert (night.theatre.weights(), len(routes(night.theatre))) == ((80, 20), before)
    assert b"serinus_bus_gone 1.0" in night.metrics.render()


async def test_it_goes_on_where_it_was_and_everybody_hears_everything_once() -> None:
    night = Night(await progressing())
    await night.falls()
    await night.passes(600)
    night.theatre.bus.away = False
    assert await night.theatre.look() == "pending", "so the sweep nudges it"
    await night.ends()
    assert night.theatre.heard() == [HOLDING, RESUMING]
    assert condition(night.theatre.canary) == "New revision detected, progressing canary analysis."
    await night.notified()
    assert {text: count for text, count in night.told().items() if "cut off" in text} == {HOLDING: 1, RESUMING: 1}
    await night.theatre.tick()
    assert night.theatre.weights() == (70, 30)
    assert numbers(night.theatre) == list(range(1, len(numbers(night.theatre)) + 1))


async def test_a_step_that_was_committed_into_the_outage_is_told_afterwards() -> None:
    night = Night(await progressing())
    night.theatre.bus.away = True
    with pytest.raises(RetryLater):
        await night.theatre.tick()
    assert night.theatre.weights() == (70, 30)
    await night.falls()
    await night.ends()
    assert night.theatre.heard() == ["Advance podinfo.test canary weight 30", HOLDING, RESUMING]
    assert numbers(night.theatre) == list(range(1, len(numbers(night.theatre)) + 1))


async def test_a_bus_that_comes_and_goes_loses_nothing() -> None:
    night = Night(await progressing())
    for _ in range(3):
        await night.falls()
        await night.ends()
    await night.notified()
    assert night.theatre.heard() == [HOLDING, RESUMING] * 3
    assert {text: count for text, count in night.told().items() if "cut off" in text} == {HOLDING: 3, RESUMING: 3}


async def test_where_the_settings_say_so_it_is_rolled_back_without_the_bus() -> None:
    night = Night(await _impatient())
    await night.falls()
    await night.passes(LATER.total_seconds() - 1)
    assert night.theatre.weights() == (80, 20)
    await night.passes(1)
    assert (night.theatre.phase, night.theatre.weights()) == ("Failed", (100, 0))
    assert night.told() == {HOLDING: 1, ROLLING_BACK: 1, FAILED: 1}
    await night.ends()
    assert night.theatre.heard() == [HOLDING, ROLLING_BACK, FAILED]
    assert night.theatre.alerts()[-1] == ("error", "Rolling back, cut off from the bus")
    await night.theatre.tick()
    assert night.theatre.replicas == 0, "what was left to do is done when the bus is back"


@pytest.mark.parametrize("writes", range(1, 5))
async def test_a_death_at_any_write_of_it_changes_nothing(writes: int) -> None:
    night = Night(await _impatient())
    await night.falls()
    night.theatre.cluster.crash_after = len(night.theatre.cluster.writes) + writes
    with pytest.raises(Crash):
        await night.passes(LATER.total_seconds())
    night.theatre.restart()
    night.watch = night.another()
    await night.watch.once()
    await night.passes(GRACE)
    assert (night.theatre.phase, night.theatre.weights()) == ("Failed", (100, 0))
    await night.ends()
    await night.notified()
    assert night.theatre.heard() == [HOLDING, ROLLING_BACK, FAILED]
    assert {night.told()[text] for text in (HOLDING, ROLLING_BACK, FAILED)} == {1}


async def test_of_two_replicas_one_acts() -> None:
    night = Night(await progressing())
    seen = night.theatre.canary
    await night.falls()
    version = night.theatre.canary["metadata"]["resourceVersion"]
    with pytest.raises(Conflict):
        await night.theatre.reconciler.alone(seen)
    other = night.another()
    await other.once()
    night.theatre.clock.time += timedelta(seconds=GRACE)
    await other.once()
    assert night.theatre.canary["metadata"]["resourceVersion"] == version
    assert night.told() == {HOLDING: 1}


async def test_a_replica_whose_watch_lags_puts_no_weight_back() -> None:
    """What it still takes for held, the other one has rolled back."""
    night = Night(await _impatient())
    await night.falls()
    late = LateCache(night.theatre.cluster)
    second = night.theatre.replica(late)
    late.lag()
    held = late.get("test", "podinfo") or {}
    await night.passes(LATER.total_seconds())
    before = len(routes(night.theatre))
    with pytest.raises(Conflict):
        await second.alone(held)
    assert (night.theatre.weights(), len(routes(night.theatre))) == ((100, 0), before)


async def test_a_replica_that_is_cut_off_alone_leaves_it_to_the_others() -> None:
    night = Night(await progressing())
    await night.falls()
    night.theatre.bus.away = False  # for another replica, which resumes
    night.theatre.clock.time += timedelta(seconds=5)
    await night.theatre.fact()
    night.theatre.bus.away = True
    writes = list(night.theatre.cluster.writes)
    for _ in range(5):
        await night.passes(60)
    assert night.theatre.cluster.writes == writes
    await night.passes(OTHERS.total_seconds())
    assert night.theatre.canary["status"]["serinus"]["hold"]["reason"] == "held: cut off from the bus"


async def test_a_bus_that_was_back_between_two_looks_is_no_other_replica() -> None:
    night = Night(await progressing())
    await night.falls()
    night.theatre.bus.away = False
    night.theatre.clock.time += timedelta(seconds=5)
    await night.theatre.fact()
    night.theatre.bus.away, night.outages = True, 1
    night.theatre.clock.time += timedelta(seconds=1)
    await night.watch.once()
    assert night.told()[HOLDING] == 2


async def test_a_person_can_abort_by_annotation() -> None:
    night = Night(await progressing())
    await night.falls()
    night.theatre.ask("abort")
    await night.passes(2)
    assert (night.theatre.phase, night.theatre.weights()) == ("Failed", (100, 0))
    assert "Rolling back podinfo.test abort requested" in night.told()


async def test_what_is_at_rest_is_left_alone() -> None:
    night = Night(await initialized())
    writes = list(night.theatre.cluster.writes)
    await night.falls()
    await night.passes(600)
    assert (night.theatre.cluster.writes, night.told()) == (writes, {})


async def test_an_api_server_that_is_away_too_is_asked_again() -> None:
    night = Night(await progressing())
    night.theatre.cluster.refusals["patch", "Canary"] = RetryLater("away")
    await night.falls()
    assert night.told() == {}
    night.theatre.cluster.refusals.clear()
    await night.passes(2)
    assert night.told() == {HOLDING: 1}


async def test_nothing_is_written_while_the_definitions_drop_our_fields() -> None:
    night = Night(await progressing())
    night.theatre.schema_problem = "the installed Canary CRD drops our status fields"
    writes = list(night.theatre.cluster.writes)
    await night.falls()
    assert night.theatre.cluster.writes == writes


async def _impatient() -> Theatre:
    theatre = await progressing()
    theatre.cut_off_for = LATER
    theatre.restart()
    return theatre
