"""Somebody edits, deletes or restores the objects of a rollout under our hands; traffic stays where it should."""

import copy

import pytest

from shared.kube.errors import Forbidden, Refused
from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.theatre import Theatre, initialized, progressing

ROUTE = "podinfo-podinfo-canary"


def without_route(theatre: Theatre) -> Json:
    return theatre.cluster.remove("ApisixRoute", "podinfo")


async def test_a_source_route_edited_in_the_middle_keeps_the_weights() -> None:
    """W-A4."""
    theatre = await progressing()
    rules = copy.deepcopy(theatre.cluster.of("ApisixRoute", "podinfo")["spec"]["http"])
    rules[0]["match"]["paths"] = ["/api/*"]
    theatre.cluster.edit("ApisixRoute", "podinfo", {"spec": {"http": rules}})
    await theatre.fact()
    assert theatre.weights() == (80, 20)
    assert theatre.cluster.of("ApisixRoute", ROUTE)["spec"]["http"][0]["match"]["paths"] == ["/api/*"]
    await theatre.tick()
    assert theatre.weights() == (70, 30)


async def test_a_source_route_deleted_in_the_middle_holds_and_its_return_goes_on() -> None:
    theatre = await progressing()
    gone = without_route(theatre)
    await theatre.fact()
    text = 'APISIX route podinfo.test get query error: apisixroutes.apisix.apache.org "podinfo" not found'
    assert (theatre.heard(), theatre.weights(), theatre.phase) == ([text], (80, 20), "Progressing")
    theatre.cluster.put(gone)
    await theatre.fact()
    await theatre.tick()
    assert theatre.weights() == (70, 30)


async def test_a_source_route_that_stays_away_rolls_back_in_time_and_the_gateway_hears() -> None:
    theatre = await progressing()
    without_route(theatre)
    await theatre.fact()
    await theatre.tick()
    assert (theatre.phase, theatre.weights()) == ("Failed", (100, 0))
    assert theatre.heard()[1].startswith("Rolling back podinfo.test progress deadline exceeded APISIX route podinfo")
    assert theatre.alerts()[-1][0] == "error"
    await theatre.tick()
    assert theatre.replicas == 0


async def test_a_generated_route_edited_or_deleted_by_hand_is_put_right() -> None:
    """W-A15, W-A16: also a backend without weight."""
    theatre = await progressing()
    rules = copy.deepcopy(theatre.cluster.of("ApisixRoute", ROUTE)["spec"]["http"])
    del rules[0]["backends"][0]["weight"]
    theatre.cluster.edit("ApisixRoute", ROUTE, {"spec": {"http": rules}})
    assert await theatre.look() == "unconverged", "even if nobody tells"
    await theatre.fact()
    assert theatre.weights() == (80, 20)
    theatre.cluster.remove("ApisixRoute", ROUTE)
    await theatre.fact()
    assert theatre.weights() == (80, 20)
    assert theatre.heard() == []


async def test_a_target_deleted_in_the_middle_loses_its_traffic_at_once() -> None:
    theatre = await progressing()
    gone = theatre.cluster.remove("Deployment", "podinfo")
    await theatre.fact()
    assert theatre.weights() == (100, 0), "nobody would answer"
    assert theatre.heard() == ['deployment podinfo.test get query error: deployments.apps "podinfo" not found']
    theatre.cluster.put(gone)
    await theatre.settle()
    assert theatre.heard() == [
        "Starting canary analysis for podinfo.test",
        "Advance podinfo.test canary weight 10",
    ]


async def test_a_target_that_stays_away_ends_the_rollout() -> None:
    theatre = await progressing()
    theatre.cluster.remove("Deployment", "podinfo")
    await theatre.fact()
    await theatre.tick()
    assert (theatre.phase, theatre.weights()) == ("Failed", (100, 0))


async def test_a_primary_deleted_at_rest_is_made_again() -> None:
    theatre = await initialized()
    theatre.cluster.remove("Deployment", "podinfo-primary")
    await theatre.settle()
    assert theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["replicas"] == 1
    assert theatre.phase == "Initialized"


@pytest.mark.parametrize("steps", [1, 5])
async def test_a_primary_deleted_under_way_is_made_again(steps: int) -> None:
    """In the analysis, and while it copies: without it most of the traffic has nowhere to go."""
    theatre = await progressing(steps=steps)
    theatre.cluster.remove("Deployment", "podinfo-primary")
    await theatre.settle()
    assert ("Deployment", "test", "podinfo-primary") in theatre.cluster.objects
    while theatre.asks():
        await theatre.tick()
        await theatre.settle()
    assert theatre.phase == "Succeeded"


async def test_services_edited_or_deleted_are_put_right() -> None:
    theatre = await progressing()
    theatre.cluster.edit("Service", "podinfo", {"spec": {"selector": {"app": "podinfo"}}})
    theatre.cluster.remove("Service", "podinfo-canary")
    await theatre.fact()
    assert theatre.cluster.of("Service", "podinfo")["spec"]["selector"] == {"app": "podinfo-primary"}
    assert theatre.cluster.of("Service", "podinfo-canary")["spec"]["selector"] == {"app": "podinfo"}


@pytest.mark.parametrize("refusal", [Refused("denied by policy"), Forbidden("exceeded quota")])
async def test_what_the_api_server_refuses_is_told_and_tried_again(refusal: Exception) -> None:
    theatre = Theatre()
    theatre.cluster.refusals["create", "Deployment"] = refusal
    for _ in range(3):
        await theatre.fact()
    await theatre.tick()
    assert theatre.heard() == [f"creating deployment podinfo-primary.test failed: {refusal}"]
    assert await theatre.look() == "unconverged"
    del theatre.cluster.refusals["create", "Deployment"]
    await theatre.settle()
    await theatre.tick()
    await theatre.settle()
    assert theatre.phase == "Initialized"


async def test_another_writer_of_the_status_is_held_against_and_never_fought() -> None:
    theatre = await progressing()
    theatre.cluster.writes.clear()
    theatre.clock.time = theatre.clock.now().replace(second=59)
    theatre.cluster.time = "2026-01-01T00:00:59Z"
    theatre.cluster.write_status("Canary", "podinfo", {"phase": "Failed", "canaryWeight": 0}, "flagger")
    theatre.cluster.edit("ApisixRoute", ROUTE, {"spec": {"http": [{"name": "theirs"}]}}, manager="flagger")
    for _ in range(3):
        await theatre.fact()
    assert theatre.heard() == ["Holding podinfo.test: another controller (flagger) writes this Canary"]
    assert theatre.cluster.writes == [("patch", "Canary", "podinfo")], "said so once, touched nothing"
    assert (theatre.phase, theatre.canary["status"]["canaryWeight"]) == ("Progressing", 20), "ours is the truth"
    theatre.clock.time = theatre.clock.now().replace(minute=2, second=0)
    theatre.cluster.time = "2026-01-01T00:01:50Z"
    theatre.cluster.write_status("Canary", "podinfo", {"failedChecks": 3}, "flagger")
    await theatre.fact()
    assert theatre.phase == "Failed", "a hold is bounded"
    assert theatre.weights() == (100, 0), "and then the gateway hears of it"


async def test_a_writer_that_falls_silent_ends_the_hold() -> None:
    theatre = await initialized()
    theatre.heard()
    theatre.cluster.time = "2026-01-01T00:00:30Z"
    theatre.cluster.write_status("Canary", "podinfo", {"failedChecks": 3}, "flagger")
    await theatre.fact()
    assert theatre.heard() == ["Holding podinfo.test: another controller (flagger) writes this Canary"]
    theatre.clock.time = theatre.clock.now().replace(minute=5)
    assert await theatre.look() == "pending"
    await theatre.swept()
    await theatre.fact()
    assert theatre.heard() == [
        "Resuming podinfo.test: another controller (flagger) no longer writes this Canary",
    ]


async def test_a_canary_of_flagger_is_taken_over_as_it_stands() -> None:
    """Its status has Flagger's hashes, which nobody can compute again, and Flagger's writes are no contest."""
    first = await initialized()
    for obj in first.cluster.objects.values():
        obj["metadata"].pop("managedFields", None)
        for mark in ("serinus.dev/revision", "serinus.dev/promotion"):
            (obj["metadata"].get("annotations") or {}).pop(mark, None)
    first.cluster.of("Canary", "podinfo").pop("status")
    theirs = {
        "phase": "Succeeded",
        "canaryWeight": 0,
        "lastAppliedSpec": "5d8fd9f986",
        "lastPromotedSpec": "5d8fd9f986",
    }
    first.cluster.write_status("Canary", "podinfo", theirs, "flagger")
    first.cluster.writes.clear()
    first.reconciler = Theatre._process(first)
    before = len(first.messages())
    await first.settle()
    assert first.cluster.writes == [("patch", "Canary", "podinfo")]
    assert (first.phase, first.messages()[before:]) == ("Succeeded", [])
    first.release()
    await first.settle()
    assert first.weights() == (90, 10)


async def test_suspended_in_the_middle_costs_nothing_and_goes_on() -> None:
    theatre = await progressing()
    theatre.edit({"spec": {"suspend": True}})
    await theatre.fact()
    assert theatre.heard() == ["skipping canary run as object is suspended"]
    assert (theatre.weights(), theatre.asks()) == ((80, 20), "")
    theatre.cluster.writes.clear()
    calls = theatre.bus.calls
    await theatre.wait(3600)
    assert (await theatre.look(), theatre.cluster.writes, theatre.bus.calls) == ("", [], calls)
    theatre.edit({"spec": {"suspend": False}})
    await theatre.fact()
    assert theatre.asks() == "analysis"
    await theatre.tick()
    assert theatre.weights() == (70, 30)


async def test_a_failed_promotion_and_the_fix_after_it() -> None:
    """W-G5."""
    theatre = await progressing(steps=4)
    theatre.broken = {"podinfo-primary"}
    await theatre.tick()
    await theatre.settle()
    assert (theatre.phase, theatre.weights()) == ("Failed", (0, 100))
    promotion = 'Promotion of podinfo.test failed, primary not ready: deployment "podinfo-primary" exceeded its progress deadline'
    assert promotion in theatre.messages()
    assert theatre.alerts()[-1] == ("error", promotion.replace("of podinfo.test ", ""))
    assert theatre.replicas == 1
    theatre.release("stefanprodan/podinfo:6.0.2")
    await theatre.settle()
    assert (theatre.phase, theatre.weights()) == ("Progressing", (0, 100))
    await theatre.tick()
    theatre.broken = set()
    await theatre.settle()
    await theatre.tick()
    assert (theatre.phase, theatre.weights(), theatre.replicas) == ("Succeeded", (100, 0), 0)
    pod = theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "stefanprodan/podinfo:6.0.2"


async def test_a_fix_of_a_primary_that_was_down_for_long_gets_its_full_deadline() -> None:
    """The cluster's report still says since when, and that was about the broken image."""
    theatre = await progressing(steps=4)
    theatre.unready = {"podinfo-primary"}
    await theatre.tick()
    await theatre.settle()
    await theatre.wait(61)
    assert (theatre.phase, theatre.weights()) == ("Failed", (0, 100))
    await theatre.wait(1200)
    theatre.release("stefanprodan/podinfo:6.0.2")
    await theatre.settle()
    await theatre.tick()
    await theatre.settle()
    assert (theatre.phase, theatre.weights()) == ("Promoting", (0, 100))
    theatre.unready = set()
    await theatre.settle()
    await theatre.tick()
    assert (theatre.phase, theatre.weights()) == ("Succeeded", (100, 0))


async def test_a_canary_that_never_comes_up_is_rolled_back_at_its_deadline() -> None:
    """W-G8: and people hear why."""
    theatre = await initialized()
    theatre.unready = {"podinfo"}
    theatre.release()
    await theatre.settle()
    theatre.heard()
    await theatre.tick()
    cause = (
        "canary deployment podinfo.test not ready: waiting for rollout to finish: 0 of 1 (readyThreshold 100%) updated "
        "replicas are available"
    )
    assert theatre.heard() == [
        cause,
        f"Rolling back podinfo.test progress deadline exceeded {cause}",
        "Canary failed! Scaling down podinfo.test",
    ]
    assert theatre.alerts()[-1] == ("error", f"Progress deadline exceeded {cause}")
    await theatre.tick()
    assert (theatre.phase, theatre.replicas) == ("Failed", 0)


async def test_a_first_image_that_cant_start_is_mended_by_the_next() -> None:
    theatre = Theatre()
    theatre.unready = {"podinfo-primary"}
    await theatre.fact()
    await theatre.tick(checks=[])
    theatre.release("stefanprodan/podinfo:6.0.1")
    await theatre.fact()
    pod = theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "stefanprodan/podinfo:6.0.1"
    theatre.unready = set()
    await theatre.settle()
    assert theatre.phase == "Initialized"
    await theatre.tick()
    assert theatre.messages()[-1] == "Initialization done! podinfo.test"


async def test_checks_reach_subscribers_even_if_the_process_died_before_it_told_them() -> None:
    theatre = await progressing()
    theatre.cluster.crash_after = len(theatre.cluster.writes) + 1
    numbers = wire.Check(name="request-duration", kind=wire.CheckKind.METRIC, outcome=wire.Outcome.PASS, value=12.5)
    await theatre.tick(checks=[numbers])
    assert theatre.crashes == 1
    assert theatre.bus.events()[-1].data.checks == (numbers,)
