"""Others in the cluster: a controller that writes our Canaries' status, and definitions that drop our part of it."""

import copy
from datetime import timedelta

import pytest

from shared.errors import RetryLater
from shared.kube.json import Json
from tests.recorded.moments import statuses
from tests.story.theatre import Theatre, guide, initialized, progressing

FLAGGER = "another controller (flagger) writes this Canary"


def puts(theatre: Theatre, status: Json | None = None, **fields: object) -> None:
    """Flagger writes the status as its own types know it, a second after whatever was written last."""
    theatre.clock.time += timedelta(seconds=1)
    theatre.cluster.time = theatre.stamp()
    known = status or {key: value for key, value in theatre.canary["status"].items() if key != "serinus"}
    theatre.cluster.replace_status("Canary", "podinfo", {**known, **fields}, "flagger")


def own(theatre: Theatre) -> Json:
    found: Json = theatre.canary["status"]["serinus"]
    return found


def message(theatre: Theatre) -> str:
    [promoted] = [each for each in theatre.canary["status"]["conditions"] if each["type"] == "Promoted"]
    return str(promoted["message"])


async def test_who_puts_a_whole_status_is_named_and_takes_nothing_from_us() -> None:
    """All that a Flagger 1.44 has written in a rollout of its own."""
    canary = guide("canary")
    canary["spec"]["progressDeadlineSeconds"] = 600
    theatre = await progressing(canary)
    before = copy.deepcopy(own(theatre))
    for recorded in statuses():
        puts(theatre, recorded["status"])
        await theatre.fact()
    assert theatre.heard() == [f"Holding podinfo.test: {FLAGGER}"]
    assert theatre.weights() == (80, 20), "nobody is fought, and no traffic moves"

    theatre.clock.time += timedelta(minutes=2)
    assert await theatre.look() == "pending"
    await theatre.fact()
    assert theatre.heard() == ["Resuming podinfo.test: another controller (flagger) no longer writes this Canary"]
    assert (theatre.phase, theatre.canary["status"]["canaryWeight"]) == ("Progressing", 20), "put right"
    assert own(theatre)["revision"] == before["revision"]
    assert [each["seq"] for each in own(theatre)["transitions"]][: len(before["transitions"])] == [
        each["seq"] for each in before["transitions"]
    ]
    await theatre.tick()
    assert theatre.weights() == (70, 30)
    numbers = [event.data.seq for event in theatre.bus.events()]
    assert numbers == list(range(1, len(numbers) + 1)), "no event lost or doubled"


async def test_the_condition_says_who() -> None:
    theatre = await progressing()
    theatre.clock.time += timedelta(seconds=1)
    theatre.cluster.time = theatre.stamp()
    theatre.cluster.write_status("Canary", "podinfo", {"failedChecks": 3}, "flagger")
    await theatre.fact()
    assert message(theatre).endswith(f"On hold: {FLAGGER}.")


async def test_one_that_writes_once_in_a_long_interval_hasnt_stopped_between() -> None:
    canary = guide("canary")
    canary["spec"]["analysis"]["interval"] = "5m"
    canary["spec"]["progressDeadlineSeconds"] = 3600
    theatre = await progressing(canary)
    for _ in range(3):
        puts(theatre, failedChecks=3)
        await theatre.wait(299)
    assert theatre.heard() == [f"Holding podinfo.test: {FLAGGER}"]
    await theatre.wait(302)
    assert theatre.heard() == ["Resuming podinfo.test: another controller (flagger) no longer writes this Canary"]


async def test_a_router_that_never_saw_what_was_wiped_goes_on_at_the_routes_weight_and_gives_no_number_twice() -> None:
    theatre = await progressing()
    puts(theatre, phase="Progressing", canaryWeight=20)
    theatre.restart()
    theatre.clock.time += timedelta(minutes=2)
    await theatre.settle()
    assert (theatre.phase, theatre.weights()) == ("Progressing", (80, 20))
    while theatre.asks():
        await theatre.tick()
        await theatre.settle()
    assert theatre.phase == "Succeeded"
    numbers = [event.data.seq for event in theatre.bus.events()]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_nothing_is_written_while_the_definition_drops_our_fields_and_nothing_is_lost() -> None:
    theatre = await progressing()
    theatre.cluster.prunes, theatre.schema_problem = True, "the installed Canary CRD drops our status fields"
    theatre.cluster.writes.clear()
    with pytest.raises(RetryLater, match="drops our status fields"):
        await theatre.fact()
    assert (theatre.cluster.writes, await theatre.look()) == ([], "")
    # Somebody else's write meets the pruning: what we had stored is gone from there.
    theatre.edit({"metadata": {"labels": {"team": "a"}}})
    assert "serinus" not in theatre.canary["status"]
    theatre.cluster.prunes, theatre.schema_problem = False, ""
    await theatre.tick()
    assert theatre.weights() == (70, 30)
    assert [event.data.seq for event in theatre.bus.events()][-1] == own(theatre)["seq"]


async def test_a_definition_that_came_unseen_is_met_by_the_first_commit_and_costs_nothing() -> None:
    theatre = await progressing()
    theatre.cluster.prunes = True
    with pytest.raises(RetryLater, match="kubectl apply --server-side --force-conflicts -k k8s/crds"):
        await theatre.tick()
    assert "serinus" not in theatre.canary["status"]
    theatre.cluster.prunes = False
    await theatre.fact()
    await theatre.settle()
    assert theatre.weights() == (80, 20)
    await theatre.tick()
    assert theatre.weights() == (70, 30)


async def test_a_cache_that_was_filled_while_our_fields_were_pruned_is_not_believed() -> None:
    theatre = await progressing()
    pruned = copy.deepcopy(theatre.canary)
    del pruned["status"]["serinus"]
    theatre.restart([pruned])
    await theatre.tick()
    assert theatre.weights() == (70, 30)
    assert theatre.heard() == ["Advance podinfo.test canary weight 30"]


async def test_a_canary_at_rest_is_held_too() -> None:
    theatre = await initialized()
    theatre.heard()
    puts(theatre, phase="Progressing")
    await theatre.fact()
    assert theatre.heard() == [f"Holding podinfo.test: {FLAGGER}"]
    assert theatre.phase == "Initialized"
