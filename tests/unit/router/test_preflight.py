"""What would keep a generated route from doing what it says is told before, with the field and the fix (W-A9, W-A18)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.router import acceptance, parse, preflight
from services.router.found import Found, RouteFound
from services.router.objects import Options
from tests.story.theatre import guide

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def around(rule: Json | None = None, generated: Json | None = None, **routed: Any) -> Found:
    source = guide("route")
    source["spec"]["http"][0].update(rule or {})
    routes = {"podinfo": RouteFound(source=source, generated=generated, **routed)}
    return Found(at=NOW, target=guide("deployment"), routes=routes)


def problem(found: Found, *, served: bool = True) -> str:
    canary = parse.canary(guide("canary"), timedelta())
    return preflight.problem(canary, found, Options(), served=served).removeprefix(
        "APISIX route podinfo.test's http route method "
    )


def warnings(found: Found) -> list[str]:
    canary = parse.canary(guide("canary"), timedelta())
    prefix = "APISIX route podinfo.test's http route method "
    return [text.removeprefix(prefix) for text in preflight.warnings(canary, found)]


def status(kind: str, value: str, generation: int = 2, since: datetime | None = None, **condition: Any) -> Json:
    annotations = {acceptance.LOW_SINCE: since.isoformat()} if since else {}
    conditions = [{"type": kind, "status": value, **condition}] if kind else []
    return {
        "metadata": {"name": "podinfo-podinfo-canary", "generation": generation, "annotations": annotations},
        "status": {"conditions": conditions},
    }


def test_the_guides_route_is_fine() -> None:
    assert problem(around()) == ""
    assert warnings(around()) == []


LEGACY: Json = {"metadata": {"name": "legacy"}, "spec": {"ports": [{"port": 80, "name": "http"}]}}
HEADLESS = {**LEGACY, "spec": {**LEGACY["spec"], "clusterIP": "None"}}
LEGACY_80 = {"serviceName": "legacy", "servicePort": 80}
BOTH = [{"serviceName": "podinfo", "servicePort": 80}, {"serviceName": "legacy", "servicePort": 81}]


@pytest.mark.parametrize(
    ("rule", "there", "text"),
    [
        ({"timeout": {"read": "500ms"}}, {},
         "has timeout.read 500ms, which its controller takes for none at all or for 60s: set 1s or more"),
        ({"timeout": {"read": "1m30s", "send": "0s"}}, {}, ""),
        ({"backends": [{"serviceName": "podinfo", "servicePort": "grpc"}]}, {},
         "has backend podinfo with servicePort grpc, but its Service has 80, http: set it to one of them, or "
         "spec.service.port or portDiscovery of the Canary so that they have it"),
        ({"backends": [{"serviceName": "podinfo", "servicePort": "http"}]}, {}, ""),
        ({"backends": BOTH}, {}, "has backend legacy, but there is no Service legacy: create it, or remove the backend"),
        ({"backends": BOTH}, {"services": {"legacy": LEGACY}},
         "has backend legacy with servicePort 81, but its Service has 80, http: set it to one of them"),
        ({"backends": [{"serviceName": "podinfo", "servicePort": 80, "resolveGranularity": "service"}]}, {}, ""),
        ({"backends": [BOTH[0], {**LEGACY_80, "resolveGranularity": "service"}]}, {"services": {"legacy": HEADLESS}},
         "has backend legacy with resolveGranularity service, but its Service is headless: set it to endpoint, or give the "
         "Service an address"),
        ({"backends": [BOTH[0], LEGACY_80, {**LEGACY_80, "subset": "b"}]}, {"services": {"legacy": LEGACY}}, ""),
        ({"name": "x" * 240}, {}, "in APISIX, which takes 256 characters and not 268: give it or its http route a shorter name"),
    ],
)  # fmt: skip
def test_each_field_is_named_with_its_fix(rule: Json, there: Json, text: str) -> None:
    found = problem(around(rule, **there))
    assert found == text or (text and text in found)


def test_a_controller_2_refuses_a_service_that_is_named_twice() -> None:
    rule = {"backends": [BOTH[0], LEGACY_80, {**LEGACY_80, "subset": "b"}]}
    found = around(rule, status("Accepted", "True"), services={"legacy": LEGACY})
    text = "has backend legacy twice, which its controller refuses: make one of the two, with the weight of both"
    assert problem(found) == text


def test_services_that_will_be_headless_cant_stand_for_their_pods() -> None:
    document = guide("canary")
    document["spec"]["service"]["headless"] = True
    asked, given = parse.canary(document, timedelta()), parse.canary(guide("canary"), timedelta())
    rule: Json = {"backends": [{**BOTH[0], "resolveGranularity": "service"}]}
    text = "has backend podinfo with resolveGranularity service, but its Service is headless: "
    assert text in preflight.problem(asked, around(rule), Options(), served=True)
    there = replace(around(rule), services={"podinfo-canary": HEADLESS})
    assert text in preflight.problem(given, there, Options(), served=True)
    assert preflight.problem(asked, around(), Options(), served=True) == "", "by endpoints it can"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({"plugins": []}, "has no plugin prometheus: unless a global rule has it, the builtin checks find no values; add "
         "{name: prometheus, enable: true, config: {prefer_name: true}}"),
        ({"plugins": [], "plugin_config_name": "shared"}, ""),
    ],
)  # fmt: skip
def test_what_may_be_right_is_a_warning(rule: Json, text: str) -> None:
    told = warnings(around(rule))
    assert (not told and not text) or text in told[0]


@pytest.mark.parametrize(
    ("generated", "text"),
    [
        (status("ResourcesAvailable", "False", reason="ResourceSyncAborted", message="no service"),
         "APISIX route podinfo-podinfo-canary.test is refused by its controller: ResourceSyncAborted: no service"),
        (status("Accepted", "False", reason="InvalidSpec", observedGeneration=2),
         "APISIX route podinfo-podinfo-canary.test is refused by its controller: InvalidSpec"),
        (status("Accepted", "False", reason="SyncFailed", observedGeneration=1), ""),
        (status("Accepted", "True", observedGeneration=2), ""),
        (status("", "", since=NOW - timedelta(seconds=61)),
         "APISIX route podinfo-podinfo-canary.test isn't accepted by any controller: set spec.ingressClassName of podinfo to "
         "its class"),
        (status("", "", since=NOW - timedelta(seconds=59)), ""),
    ],
)  # fmt: skip
def test_the_controllers_word_is_heard(generated: Json, text: str) -> None:
    assert problem(around(generated=generated)) == text


def test_a_name_that_older_gateways_refuse_is_a_warning() -> None:
    made = {"metadata": {"name": "podinfo-podinfo-canary"}, "spec": {"http": [{"name": "x" * 80}]}}
    [text] = warnings(around(generated=made))
    assert text.endswith("which before 3.15 takes 100 characters and not 108: give it or its http route a shorter name")


def test_before_the_services_are_there_a_controllers_word_is_about_them() -> None:
    generated = status("ResourcesAvailable", "False", reason="ResourceSyncAborted", message="no service")
    assert problem(around(generated=generated), served=False) == ""


def test_a_refused_source_is_a_warning() -> None:
    source = guide("route") | {
        "status": {"conditions": [{"type": "ResourcesAvailable", "status": "False", "reason": "x"}]}
    }
    apex = {"metadata": {"creationTimestamp": NOW.isoformat()}}
    found = Found(
        at=NOW + timedelta(minutes=1), target=guide("deployment"), services={"podinfo": apex},
        routes={"podinfo": RouteFound(source=source)},
    )  # fmt: skip
    assert warnings(found) == ["APISIX route podinfo.test is refused by its controller: x, see its status"]
    for early in (replace(found, at=NOW + timedelta(seconds=30)), replace(found, services={})):
        assert warnings(early) == [], "what it lacks is the Service that we are about to make, or have just made"


@pytest.mark.parametrize(
    ("route", "taken"),
    [
        (status("Accepted", "True", observedGeneration=2, since=NOW - timedelta(seconds=10)), True),
        (status("Accepted", "True", observedGeneration=2, since=NOW - timedelta(seconds=9)), False),
        (status("Accepted", "True", observedGeneration=1, since=NOW - timedelta(seconds=10)), False),
        (status("Accepted", "True", observedGeneration=1, since=NOW - timedelta(seconds=60)), True),
        (status("Accepted", "False", observedGeneration=2, since=NOW - timedelta(seconds=99)), False),
        (status("Accepted", "True", observedGeneration=2), False),
    ],
)  # fmt: skip
def test_a_gateway_has_time_to_take_a_route_in(route: Json, taken: bool) -> None:
    assert acceptance.taken_in(route, NOW, timedelta(seconds=10)) is taken


def test_an_annotation_that_somebody_broke_is_none() -> None:
    assert acceptance.low_since({"metadata": {"annotations": {acceptance.LOW_SINCE: "soon"}}}) is None
