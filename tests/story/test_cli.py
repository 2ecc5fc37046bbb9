"""A person at a terminal and the router, on one cluster in memory: requests, the direct abort, coming and going."""

import pytest

from cli.ports import Impatience, Refusal
from shared.kube import kinds
from shared.kube.errors import Refused
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire import messages as wire
from tests.fakes.cluster import FakeCluster
from tests.story.theatre import Theatre, initialized, progressing
from tests.unit.cli.stage import Person

ROUTE = "podinfo-podinfo-canary"


def patched(theatre: Theatre, kind: str) -> int:
    return sum(write[:2] == ("patch", kind) for write in theatre.cluster.writes)


class TestRequests:
    async def test_is_carried_out_taken_off_once_and_followed(self) -> None:
        theatre = await progressing()
        person = Person(theatre, theatre.fact)
        said = await person.types("abort test/podinfo --wait")
        assert said == ["test/podinfo: asked to abort", "test/podinfo: done; phase Failed, canary weight 0"]
        assert (theatre.phase, theatre.weights(), person.request) == ("Failed", (100, 0), "")
        theatre.cluster.writes.clear()
        await theatre.settle()
        assert theatre.cluster.writes == [], "nothing more to write"

    async def test_costs_one_write_beside_its_commit(self) -> None:
        theatre = await initialized()
        theatre.cluster.writes.clear()
        theatre.ask("abort:1")
        await theatre.settle()
        assert patched(theatre, "Canary") == len(theatre.cluster.writes) == 2

    async def test_that_means_nothing_is_refused(self) -> None:
        theatre = await initialized()
        person = Person(theatre, theatre.fact)
        with pytest.raises(Refusal, match=r"to abort means nothing now \(phase Initialized\)"):
            await person.types("abort test/podinfo --wait")
        assert person.request == ""

    async def test_without_a_router_waits_in_vain(self) -> None:
        theatre = await progressing()
        person = Person(theatre)
        with pytest.raises(Impatience, match="hasn't taken the request to promote within 5 s"):
            await person.types("promote test/podinfo --wait --timeout 5")
        assert person.request == "promote:id1"

    async def test_replaced_by_another_is_said(self) -> None:
        theatre = await progressing()
        person = Person(theatre)

        async def somebody() -> None:
            theatre.ask("promote:other")

        person.pause = somebody
        with pytest.raises(Refusal, match="replaced the request by promote:other"):
            await person.types("abort test/podinfo --wait")
        assert (await person.types("abort test/podinfo"))[0].startswith("test/podinfo: replaces promote:other")

    async def test_the_same_words_may_be_used_again(self) -> None:
        """By hand, without an id: taken off means that the next one is a new one."""
        theatre = await progressing()
        for _ in range(2):
            theatre.ask("abort")
            await theatre.settle()
            await theatre.tick()
            assert theatre.phase == "Failed"
            theatre.ask("retry")
            await theatre.settle()
            assert theatre.weights() == (90, 10)

    async def test_to_retry_waits_for_a_primary_that_is_being_scaled(self) -> None:
        """The person can't know that an autoscaler is just at work."""
        theatre = await progressing()
        theatre.ask("abort:1")
        await theatre.settle()
        await theatre.tick()
        theatre.unready = {"podinfo-primary"}
        await theatre.settle()
        person, waited = Person(theatre), list[str]()

        async def ready_later() -> None:
            await theatre.settle()
            waited.append(person.request)
            theatre.unready = set()

        person.pause = ready_later
        said = await person.types("retry test/podinfo --wait")
        assert waited == ["retry:id1", ""]
        assert said[-1] == "test/podinfo: done; phase Progressing, canary weight 10"

    @pytest.mark.parametrize("write", range(1, 7))
    async def test_death_at_any_write_acts_once(self, write: int) -> None:
        theatre = await progressing()
        theatre.cluster.crash_after = len(theatre.cluster.writes) + write
        theatre.ask("abort:1")
        await theatre.settle()
        await theatre.tick()
        assert (theatre.phase, theatre.weights(), Person(theatre).request) == ("Failed", (100, 0), "")
        assert theatre.messages().count("Rolling back podinfo.test abort requested") == 1

    async def test_that_cannot_be_taken_off_stops_nothing(self) -> None:
        theatre = await progressing()
        fussy = Fussy()
        vars(fussy).update(vars(theatre.cluster))
        theatre.cluster = fussy
        theatre.reconciler = theatre._process()
        theatre.ask("promote:1")
        await theatre.settle()
        await theatre.tick()
        assert (theatre.phase, Person(theatre).request) == ("Succeeded", "promote:1")


class Fussy(FakeCluster):
    """A policy forbids to change a Canary's annotations."""

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        if kind == kinds.CANARY and "annotations" in patch.get("metadata", {}):
            raise Refused("annotations are sacred")
        return await super().patch(kind, namespace, name, patch, subresource=subresource)


class TestDirectAbort:
    async def test_takes_the_traffic_with_nobody_there_and_is_honoured_on_return(self) -> None:
        """The router comes back with an old verdict in its inbox, and its first look is before any decision."""
        theatre = await progressing()
        person = Person(theatre)
        tick = theatre.bus.ticks["test", "podinfo"]
        assert await person.types("abort --direct test/podinfo") == [
            "test/podinfo: asked to abort",
            f"test/podinfo: route {ROUTE} sends everything to podinfo-primary",
            "test/podinfo: the router rolls back as soon as it is there",
        ]
        assert (theatre.weights(), theatre.phase, person.request) == ((100, 0), "Progressing", "abort:id1")
        assert await theatre.look() == "pending", "the sweep finds the request, and nothing to put back"

        theatre.reconciler = theatre._process()
        theatre.cluster.writes.clear()
        verdict = wire.Verdict(
            id="old", canary=tick.canary, tick=tick.tick, purpose=tick.question.purpose, outcome=wire.Outcome.PASS
        )
        theatre.clock.time = tick.tick.due
        await theatre.deliver(verdict)
        assert ("patch", "ApisixRoute", ROUTE) not in theatre.cluster.writes, "never above 0 again"
        assert (theatre.phase, theatre.weights(), person.request) == ("Failed", (100, 0), "")
        await theatre.tick()
        await theatre.settle()
        assert (theatre.replicas, patched(theatre, "ApisixRoute")) == (0, 0)

    @pytest.mark.parametrize("write", range(1, 5))
    async def test_a_router_that_dies_on_return_never_gives_the_traffic_back(self, write: int) -> None:
        theatre = await progressing()
        await Person(theatre).types("abort --direct test/podinfo")
        theatre.cluster.writes.clear()
        theatre.cluster.crash_after = write
        await theatre.settle()
        await theatre.tick()
        assert (theatre.phase, theatre.weights(), patched(theatre, "ApisixRoute")) == ("Failed", (100, 0), 0)

    async def test_while_the_rollout_is_blocked_the_traffic_stays_away(self) -> None:
        """No decision is possible without a source route; nothing is given back all the same, nor when it returns."""
        theatre = await progressing()
        await Person(theatre).types("abort --direct test/podinfo")
        gone = theatre.cluster.remove("ApisixRoute", "podinfo")
        await theatre.fact()
        assert (theatre.phase, theatre.weights()) == ("Progressing", (100, 0))
        theatre.cluster.put(gone)
        await theatre.fact()
        assert (theatre.phase, theatre.weights()) == ("Failed", (100, 0))

    async def test_a_paused_one_stays_as_it_is_and_ends_when_resumed(self) -> None:
        theatre = await progressing()
        person = Person(theatre, theatre.fact)
        await person.types("pause test/podinfo --wait")
        said = await person.types("abort --direct test/podinfo")
        assert "test/podinfo: is paused, so this waits until it is resumed" in said
        await theatre.fact()
        assert (theatre.phase, theatre.weights()) == ("Progressing", (100, 0))
        await person.types("resume test/podinfo --wait")
        assert (theatre.phase, theatre.weights()) == ("Failed", (100, 0))

    async def test_somebody_who_is_faster_is_written_after(self) -> None:
        theatre = await progressing()
        person = Person(theatre)

        def relabelled() -> None:
            theatre.cluster.edit("ApisixRoute", ROUTE, {"metadata": {"labels": {"a": "b"}}})

        person.door.meanwhile = [lambda: None, relabelled]
        await person.types("abort --direct test/podinfo")
        assert theatre.weights() == (100, 0)
        assert theatre.cluster.of("ApisixRoute", ROUTE)["metadata"]["labels"]["a"] == "b"

    async def test_twice_writes_the_route_once(self) -> None:
        theatre = await progressing()
        person = Person(theatre)
        await person.types("abort --direct test/podinfo")
        before = patched(theatre, "ApisixRoute")
        said = await person.types("abort --direct test/podinfo")
        assert f"test/podinfo: route {ROUTE} sends everything to podinfo-primary already" in said
        assert patched(theatre, "ApisixRoute") == before

    async def test_is_refused_where_nothing_is_analysed(self) -> None:
        person = Person(await initialized())
        with pytest.raises(Refusal, match="is Initialized, so there is no analysis to abort"):
            await person.types("abort --direct test/podinfo")
        assert person.request == ""

    async def test_is_refused_when_the_primary_could_not_serve(self) -> None:
        """After a failed promotion the canary serves everybody; its fix is under way."""
        theatre = await progressing(steps=5)
        theatre.broken = {"podinfo-primary"}
        await theatre.settle()
        assert (theatre.phase, theatre.weights()) == ("Failed", (0, 100))
        theatre.release("stefanprodan/podinfo:6.0.2")
        theatre.unready = {"podinfo"}
        await theatre.settle()
        assert (theatre.phase, theatre.weights()) == ("Progressing", (0, 100))
        person = Person(theatre)
        with pytest.raises(Refusal, match="the canary serves everybody because podinfo-primary isn't ready"):
            await person.types("abort --direct test/podinfo")
        theatre.ask("abort:by-hand")
        await theatre.fact()
        assert theatre.weights() == (0, 100), "nor does the router, when asked"


class TestPause:
    async def test_is_a_field_of_the_canary(self) -> None:
        theatre = await progressing()
        person = Person(theatre, theatre.fact)
        assert await person.types("pause test/podinfo --wait") == [
            "test/podinfo: spec.suspend is true now",
            "test/podinfo: done; phase Progressing, canary weight 20",
        ]
        assert await person.types("pause test/podinfo") == ["test/podinfo: is paused already"]
        await person.types("resume test/podinfo --wait")
        await theatre.tick()
        assert theatre.weights() == (70, 30)
