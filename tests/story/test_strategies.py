"""Strategies beside weights, as their people and their clients see them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.theatre import Theatre, guide, initialized, progressing
from tests.story.town import pods, town
from tests.unit.sandbox.objects import CANARY_POD

BOTH = pytest.mark.parametrize("version", ["2.15.3", "3.18.0"])


def canary(**analysis: Any) -> Json:
    """The guide's, judged otherwise."""
    found = guide("canary")
    kept = {key: value for key, value in found["spec"]["analysis"].items() if key not in {"stepWeight", "maxWeight"}}
    found["spec"]["analysis"] = {**kept, **analysis}
    return found


async def test_blue_green_switches_the_public_over_and_back() -> None:
    theatre = await progressing(canary(iterations=2), steps=0)
    shown = []
    while theatre.phase == "Progressing":
        shown.append((theatre.weights(), theatre.canary["status"]["iterations"]))
        await theatre.tick()
    assert shown == [((100, 0), 1), ((100, 0), 2), ((0, 100), 3)]
    assert (theatre.phase, theatre.weights()) == ("Promoting", (0, 100))
    await theatre.settle()
    await theatre.tick()
    assert (theatre.phase, theatre.weights(), theatre.replicas) == ("Succeeded", (100, 0), 0)
    assert theatre.canary["status"]["iterations"] == 0
    assert [event.data.iterations for event in theatre.bus.events()][-4:] == [3, 3, 0, 0]
    details = [each.alert.fields for each in theatre.bus.notices() if each.alert and each.alert.fields]
    assert ("Traffic routing", "Blue/Green") in details[0]


HEADER: Json = {"headers": {"x-canary": {"exact": "insider"}}}
COOKIE: Json = {"headers": {"cookie": {"regex": "^(.*?;)?(canary=always)(;.*)?$"}}}


@BOTH
async def test_in_an_ab_test_testers_land_on_the_canary_and_nobody_else(version: str) -> None:
    """W-A2."""
    both: Json = {"queryParams": {"beta": {"prefix": "y"}}, "cookies": {"group": {"suffix": "7"}}}
    theatre = await progressing(canary(iterations=2, match=[HEADER, COOKIE, both]), pods(), steps=0)
    async with town(theatre, version) as street:
        assert await street.canaries(20) == 0
        assert await street.canaries(5, **{"X-Canary": "insider"}) == 5
        assert await street.canaries(5, **{"X-Canary": "not-an-insider"}) == 0
        assert await street.canaries(5, Cookie="canary=always; a=b") == 5
        assert (await street.visit("/api/info?beta=yes", Cookie="group=a7")).canary
        assert not (await street.visit("/api/info?beta=no", Cookie="group=a7")).canary
        assert not (await street.visit("/api/info?beta=yes")).canary, "all conditions of an entry must hold"
        await theatre.tick()
        assert theatre.weights() == (100, 0)
        await theatre.tick()
        assert theatre.phase == "Promoting"
        assert await street.canaries(5, **{"X-Canary": "insider"}) == 5, "until the primary has what they test"
        await theatre.settle()
        await theatre.tick()
        assert theatre.phase == "Succeeded"
        assert await street.canaries(5, **{"X-Canary": "insider"}) == 0
    details = [each.alert.fields for each in theatre.bus.notices() if each.alert and each.alert.fields]
    assert ("Traffic routing", "A/B Testing") in details[0]


@BOTH
async def test_an_abort_sends_testers_home_at_once(version: str) -> None:
    theatre = await progressing(canary(iterations=5, match=[HEADER]), pods())
    async with town(theatre, version) as street:
        assert await street.canaries(1, **{"X-Canary": "insider"}) == 1
        theatre.ask("abort")
        await theatre.fact()
        assert theatre.phase == "Failed"
        assert await street.canaries(5, **{"X-Canary": "insider"}) == 0


@BOTH
async def test_weights_grow_under_the_testers(version: str) -> None:
    theatre = await progressing(canary(stepWeight=10, maxWeight=50, match=[HEADER]), pods(), steps=0)
    async with town(theatre, version) as street:
        for share in (10, 20):
            assert await street.canaries(100) == share
            assert await street.canaries(10, **{"X-Canary": "insider"}) == 10
            await theatre.tick()


@BOTH
async def test_copies_arrive_at_the_canary_and_answers_are_the_primarys(version: str) -> None:
    """W-A3."""
    theatre = await progressing(canary(stepWeight=10, maxWeight=50, mirror=True), pods(), steps=0)
    assert theatre.weights() == (100, 0)
    async with town(theatre, version) as street:
        assert await street.canaries(20) == 0
        async with asyncio.timeout(40):
            while street.served() != 20:
                await asyncio.sleep(0)
        await theatre.tick()
        assert theatre.weights() == (90, 10)
        assert await street.canaries(20) == 2
        assert street.served() == 22, "no copies beside a share of its own"


async def test_whom_the_canary_answered_stays_with_it_for_the_rollout() -> None:
    """W-A22."""
    affinity = {"cookieName": "side", "maxAge": 60, "secure": True}
    theatre = await progressing(canary(stepWeight=20, maxWeight=60, sessionAffinity=affinity), pods(), steps=0)
    given = theatre.canary["status"]["sessionAffinityCookie"]
    async with town(theatre) as street:
        street.open()
        visits = [await street.visit() for _ in range(100)]
        assert {visit.cookie for visit in visits if not visit.canary} == {""}
        [cookie] = {visit.cookie for visit in visits if visit.canary}
        assert cookie.split("; ")[0] == given
        assert {"Max-Age=60", "Secure"} <= set(cookie.split("; "))
        assert sum(visit.canary for visit in visits) == 20
        assert await street.canaries(20, Cookie=f"a=b; {given}") == 20
        await theatre.tick()
        assert await street.canaries(20, Cookie=given) == 20
        await theatre.tick(wire.Outcome.FAIL)
        theatre.ask("abort")
        await theatre.fact()
        status = theatre.canary["status"]
        assert (theatre.phase, status["previousSessionAffinityCookie"]) == ("Failed", given)
        assert "sessionAffinityCookie" not in status
        street.open()
        home = await street.visit(Cookie=given)
        assert not home.canary
        assert "Max-Age=0" in home.cookie
        assert home.cookie.startswith("side=")
        assert (await street.visit(Cookie="side=another")).cookie == ""


async def test_a_retry_gives_another_cookie_and_the_old_ones_mean_nothing() -> None:
    affinity = {"cookieName": "side"}
    theatre = await progressing(canary(stepWeight=20, maxWeight=60, sessionAffinity=affinity), pods(), steps=0)
    old = theatre.canary["status"]["sessionAffinityCookie"]
    theatre.ask("abort")
    await theatre.fact()
    theatre.clock.time += timedelta(seconds=1)
    theatre.ask("retry")
    await theatre.settle()
    new = theatre.canary["status"]["sessionAffinityCookie"]
    assert new != old
    async with town(theatre) as street:
        assert await street.canaries(10, Cookie=new) == 10
        assert await street.canaries(100, Cookie=old) == 20


async def test_the_primarys_clients_stay_with_it_for_a_step() -> None:
    affinity = {"cookieName": "side", "primaryCookieName": "other"}
    theatre = await progressing(canary(stepWeight=50, maxWeight=100, sessionAffinity=affinity), pods(), steps=0)
    first = theatre.canary["status"]["primarySessionAffinityCookie"]
    async with town(theatre) as street:
        assert await street.canaries(20) == 10
        assert await street.canaries(20, Cookie=first) == 0
        own = theatre.canary["status"]["sessionAffinityCookie"]
        assert await street.canaries(20, Cookie=f"{first}; {own}") == 20, "whom the canary answered stays there"
        await theatre.tick()
        assert theatre.canary["status"]["primarySessionAffinityCookie"] != first
        assert await street.canaries(20, Cookie=first) == 20, "by the new weight, which is everybody"


async def test_in_blue_green_nobody_is_routed_until_everybody_is() -> None:
    theatre = await progressing(canary(iterations=1), pods(), steps=0)
    async with town(theatre) as street:
        assert await street.canaries(20) == 0
        await theatre.tick()
        assert await street.canaries(20) == 20
        await theatre.tick()
        await theatre.settle()
        assert await street.canaries(20) == 0


@pytest.mark.parametrize(
    ("analysis", "plugin", "text"),
    [
        ({"mirror": True}, "proxy-mirror", "which spec.analysis.mirror needs: remove one of them"),
        ({"mirror": True}, "traffic-split", "which overrides all weights: remove it"),
        (
            {"sessionAffinity": {"cookieName": "side", "primaryCookieName": "home"}}, "serverless-post-function",
            "which spec.analysis.sessionAffinity needs with the phase header_filter and nothing else but functions: change "
            "it, or remove one of them",
        ),
    ],
)  # fmt: skip
async def test_a_plugin_that_doesnt_go_with_the_strategy_is_named_before_it_is_needed(
    analysis: Json, plugin: str, text: str
) -> None:
    route = guide("route")
    route["spec"]["http"][0]["plugins"].append({"name": plugin, "enable": True, "config": {"host": "http://x"}})
    theatre = Theatre(canary(stepWeight=10, maxWeight=50, **analysis), [route])
    await theatre.fact()
    assert theatre.messages() == [f"APISIX route podinfo.test's http route method has the plugin {plugin}, {text}"]


async def test_beside_a_rewrite_of_peoples_own_the_cookie_is_given_by_a_function() -> None:
    """Theirs is on every rule as they wrote it, through the whole rollout."""
    route, affinity = guide("route"), {"cookieName": "side", "maxAge": 60}
    own = {"name": "response-rewrite", "enable": True, "config": {"headers": {"set": {"X-Served-By": "shop"}}}}
    route["spec"]["http"][0]["plugins"].append(own)
    theatre = await progressing(canary(stepWeight=20, maxWeight=60, sessionAffinity=affinity), [route, *pods()])
    given = theatre.canary["status"]["sessionAffinityCookie"]
    functions = plugin(theatre, "method", "serverless-post-function")["config"]["functions"]
    assert [f'"{given}; Max-Age=60"' in text and f'["{CANARY_POD}"] = true' in text for text in functions] == [True]
    while theatre.phase not in {"Succeeded", "Failed"}:
        for rule in theatre.cluster.of("ApisixRoute", "podinfo-podinfo-canary")["spec"]["http"]:
            assert plugin(theatre, rule["name"], "response-rewrite") == own
        await theatre.tick()
        await theatre.settle()
    assert theatre.phase == "Succeeded"
    [farewell] = plugin(theatre, "method-sticky", "serverless-post-function")["config"]["functions"]
    assert '"side=deleted; Max-Age=0"' in farewell


def plugin(theatre: Theatre, rule: str, name: str) -> Json:
    [found] = [
        each
        for one in theatre.cluster.of("ApisixRoute", "podinfo-podinfo-canary")["spec"]["http"]
        for each in one.get("plugins", ())
        if (one["name"], each["name"]) == (rule, name)
    ]
    return dict(found)


async def test_before_blue_green_switches_everybody_over_its_canary_is_as_many_as_the_primary() -> None:
    """An autoscaler would see the traffic when it is there already."""
    hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}
    document = canary(iterations=1)
    document["spec"]["autoscalerRef"] = hpa
    theatre = await initialized(document, [guide("hpa")])
    theatre.cluster.edit("Deployment", "podinfo-primary", {"spec": {"replicas": 7}})
    theatre.release()
    await theatre.settle()
    assert (theatre.phase, theatre.replicas) == ("Progressing", 7)
