"""Between rollouts the target stands at zero: who scales it up is put back, but not fought for ever."""

from datetime import timedelta

import pytest

from shared.kube.json import Json
from tests.story.theatre import Theatre, guide, initialized, progressing

FIX = (
    "remove spec.replicas from what argocd-controller applies, or stop it from scaling the target between rollouts, "
    "then scale the target to zero"
)
TOLD = f"podinfo.test is idle, but argocd-controller keeps scaling it up, so it is left as it is: {FIX}"
OVER = "podinfo.test is idle: it is kept at zero replicas again"


async def scaled(theatre: Theatre, manager: str = "argocd-controller", after: float = 60, replicas: int = 2) -> int:
    """Somebody scales the target, and somebody else looks; what it has then."""
    theatre.clock.time += timedelta(seconds=after)
    theatre.cluster.time = theatre.stamp()
    theatre.cluster.edit("Deployment", "podinfo", {"spec": {"replicas": replicas}}, manager=manager)
    await theatre.fact()
    return theatre.replicas


async def fought(theatre: Theatre) -> None:
    """Once more than it is put up with."""
    theatre.heard()
    assert [await scaled(theatre) for _ in range(3)] == [0, 0, 0]
    assert theatre.heard() == []
    assert await scaled(theatre) == 2
    assert theatre.heard() == [TOLD]


def condition(theatre: Theatre) -> Json:
    [found] = [each for each in theatre.canary["status"]["conditions"] if each["type"] == "TargetIdle"]
    return {key: found[key] for key in ("status", "reason", "message")}


async def test_the_fourth_time_in_ten_minutes_is_left_and_named_with_its_fix() -> None:
    theatre = await initialized()
    await fought(theatre)
    message = f"argocd-controller keeps scaling the target up: {FIX}."
    assert condition(theatre) == {"status": "False", "reason": "ScaledUp", "message": message}
    theatre.cluster.writes.clear()
    assert await scaled(theatre, replicas=3) == 3
    assert (theatre.cluster.writes, await theatre.look(), theatre.heard()) == ([], "", [])


async def test_each_time_costs_one_status_and_one_size() -> None:
    theatre = await initialized()
    theatre.cluster.writes.clear()
    await scaled(theatre)
    assert theatre.cluster.writes == [("patch", "Canary", "podinfo"), ("patch", "Deployment", "podinfo")]


async def test_a_target_at_zero_ends_it() -> None:
    theatre = await initialized()
    await fought(theatre)
    assert await scaled(theatre, "kubectl", replicas=0) == 0
    assert theatre.heard() == [OVER]
    assert condition(theatre)["status"] == "True"
    assert await scaled(theatre) == 0, "and the count begins anew"


async def test_a_manifest_without_the_field_ends_it() -> None:
    theatre = await initialized()
    await fought(theatre)
    theatre.cluster.disown("Deployment", "podinfo", "argocd-controller")
    await theatre.fact()
    assert (theatre.heard(), theatre.replicas) == ([OVER], 0)


async def test_a_new_revision_ends_it() -> None:
    theatre = await initialized()
    await fought(theatre)
    theatre.release()
    await theatre.settle()
    while theatre.asks():
        await theatre.tick()
        await theatre.settle()
    assert (theatre.phase, theatre.replicas) == ("Succeeded", 0)
    assert condition(theatre)["status"] == "True"


async def test_seldom_or_by_several_is_always_put_back() -> None:
    theatre = await initialized()
    assert [await scaled(theatre, after=250) for _ in range(6)] == [0] * 6
    managers = ["argocd-controller", "kubectl", "keda"] * 3
    theatre.clock.time += timedelta(minutes=10)
    assert [await scaled(theatre, manager, after=1) for manager in managers] == [0] * 9
    assert OVER not in theatre.messages()


async def test_the_size_of_a_canary_is_no_offence() -> None:
    """Scaled under way, by an autoscaler or a person: it goes down with the rollout, and counts for nothing."""
    theatre = await progressing()
    assert await scaled(theatre, "kube-controller-manager", after=1) == 2
    while theatre.asks():
        await theatre.tick()
        await theatre.settle()
    assert (theatre.phase, theatre.replicas) == ("Succeeded", 0)
    assert "raises" not in theatre.canary["status"]["serinus"]


async def test_a_canary_that_serves_everybody_isnt_idle() -> None:
    """W-G5: its primary can't take the traffic, and people may give it the size that it needs."""
    theatre = await progressing(steps=4)
    theatre.broken = {"podinfo-primary"}
    await theatre.tick()
    await theatre.settle()
    assert (theatre.phase, theatre.weights()) == ("Failed", (0, 100))
    assert [await scaled(theatre, replicas=size) for size in (2, 3, 4, 5)] == [2, 3, 4, 5]
    assert "raises" not in theatre.canary["status"]["serinus"]


@pytest.mark.parametrize(("after", "counted"), [(5, 0), (60, 1)])
async def test_a_scale_that_notes_no_time_counts_once_the_rest_has_settled(after: float, counted: int) -> None:
    theatre = await initialized()
    theatre.clock.time += timedelta(seconds=after)
    theatre.cluster.edit("Deployment", "podinfo", {"spec": {"replicas": 3}}, manager="kubectl")
    for entry in theatre.cluster.of("Deployment", "podinfo")["metadata"]["managedFields"]:
        entry.pop("time")
    await theatre.fact()
    assert (theatre.replicas, len(theatre.canary["status"]["serinus"].get("raises", []))) == (0, counted)


async def test_what_nobody_can_be_named_for_is_put_back_as_ever() -> None:
    theatre = await initialized()
    for _ in range(5):
        await scaled(theatre, "serinus-router")
        theatre.cluster.objects["Deployment", "test", "podinfo"]["metadata"].pop("managedFields", None)
        await theatre.fact()
        assert theatre.replicas == 0


@pytest.mark.parametrize("write", [1, 2])
async def test_death_between_count_and_size_counts_once(write: int) -> None:
    theatre = await initialized()
    theatre.cluster.crash_after = len(theatre.cluster.writes) + write
    assert await scaled(theatre) == 0
    assert (theatre.crashes, len(theatre.canary["status"]["serinus"]["raises"])) == (1, 1)


@pytest.mark.parametrize("trouble", ["suspended", "contested"])
async def test_hands_off_means_this_too(trouble: str) -> None:
    theatre = await initialized()
    if trouble == "suspended":
        theatre.edit({"spec": {"suspend": True}})
    else:
        theatre.cluster.time = "2026-01-01T00:01:00Z"
        theatre.cluster.write_status("Canary", "podinfo", {"failedChecks": 3}, "flagger")
    await theatre.fact()
    assert await scaled(theatre) == 2
    assert "raises" not in theatre.canary["status"]["serinus"]


async def test_a_missing_route_is_no_reason_to_leave_it_up() -> None:
    theatre = await initialized()
    theatre.cluster.remove("ApisixRoute", "podinfo")
    await theatre.fact()
    assert [await scaled(theatre) for _ in range(4)] == [0, 0, 0, 2]


async def test_a_gate_that_waits_holds_it_at_zero_too() -> None:
    canary = guide("canary")
    hook = {"name": "gate", "type": "confirm-rollout", "url": "http://gate"}
    canary["spec"]["analysis"]["webhooks"] = [hook]
    theatre = await initialized(canary)
    theatre.release()
    await theatre.fact()
    assert theatre.asks() == "confirm-rollout"
    assert [await scaled(theatre, after=1) for _ in range(4)] == [0, 0, 0, 2]
