"""What isn't supported is refused, never approximated: nothing touched, one Event, and a condition that names the field."""

from typing import Any

import pytest

from shared.kube.json import Json
from tests.story.theatre import Theatre, guide, progressing

TESTERS: dict[str, Any] = {"headers": {"x": {"exact": "y"}}}
ANALYSIS: list[tuple[dict[str, Any], str]] = [
    ({"match": [TESTERS], "mirror": True, "iterations": 3}, "spec.analysis.mirror is not supported with match and"),
    ({"iterations": 3, "sessionAffinity": {"cookieName": "x"}}, "sessionAffinity is not supported with iterations"),
    ({"match": [{"uri": {"prefix": "/x"}}]}, "spec.analysis.match.0: uri is not supported"),
    ({"match": [{}]}, "spec.analysis.match.0: has no condition"),
    ({"match": [{"headers": {"x": {"exact": "y", "prefix": "z"}}}]}, "spec.analysis.match.0.headers.x: needs exactly"),
    ({"match": [{"cookies": {"x": {"regex": "("}}}]}, "spec.analysis.match.0.cookies.x: '(' is no regular expression"),
    ({"sessionAffinity": {"cookieName": "x", "primaryCookieName": "x"}}, "can't use the same cookie name"),
    ({"mirror": True, "mirrorWeight": 101}, "spec.analysis.mirrorWeight"),
    ({"stepWeight": 0, "stepWeights": [10, 5]}, "spec.analysis.stepWeights"),
    ({"stepWeight": 0}, "spec.analysis.stepWeight"),
    ({"threshold": 1.5}, "spec.analysis.threshold"),
    ({"interval": "soon"}, "spec.analysis.interval"),
]
SPEC: list[tuple[dict[str, Any], str]] = [
    ({"targetRef": {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "podinfo"}}, "spec.targetRef.kind DaemonSet"),
    ({"targetRef": {"apiVersion": "v1", "kind": "Service", "name": "podinfo"}}, "spec.targetRef.kind Service"),  # W-A21
    (
        {"autoscalerRef": {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "x"}},
        "spec.autoscalerRef.kind",
    ),
    ({"service": None}, "spec.service"),
]


def with_analysis(changes: Json) -> Json:
    canary = guide("canary")
    canary["spec"]["analysis"].update(changes)
    return canary


def with_spec(changes: Json) -> Json:
    canary = guide("canary")
    canary["spec"].update(changes)
    return canary


@pytest.mark.parametrize(
    ("canary", "field"),
    [*((with_analysis(each), field) for each, field in ANALYSIS), *((with_spec(each), field) for each, field in SPEC)],
)
async def test_nothing_is_touched(canary: Json, field: str) -> None:
    canary["spec"]["revertOnDeletion"] = True
    theatre = Theatre(canary)
    for _ in range(3):
        await theatre.fact()
    assert theatre.cluster.writes == [("patch", "Canary", "podinfo")]
    assert len(theatre.messages()) == 1
    assert field in theatre.messages()[0]
    assert theatre.bus.events()[0].data.type == "refused"
    [condition] = theatre.canary["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Supported", "False", "Refused")
    assert field in condition["message"]
    assert "finalizers" not in theatre.canary["metadata"]
    assert await theatre.look() == ""


async def test_an_edit_lifts_it() -> None:
    theatre = Theatre(with_analysis({"stepWeight": 0}))
    await theatre.fact()
    theatre.edit({"spec": {"analysis": {"stepWeight": 10}}})
    await theatre.fact()
    await theatre.tick(checks=[])
    await theatre.settle()
    conditions = {each["type"]: each["status"] for each in theatre.canary["status"]["conditions"]}
    assert (theatre.phase, conditions) == ("Initialized", {"Promoted": "True", "Supported": "True"})


@pytest.mark.parametrize("change", [{"stepWeight": 0}, {"threshold": 1.5}])
async def test_in_the_middle_of_a_rollout_it_holds_and_then_takes_the_traffic_off(change: Json) -> None:
    theatre = await progressing()
    theatre.edit({"spec": {"analysis": change}})
    theatre.cluster.writes.clear()
    await theatre.fact()
    assert theatre.cluster.writes == [("patch", "Canary", "podinfo")]
    assert theatre.weights() == (80, 20)
    await theatre.tick()
    assert (theatre.phase, theatre.weights()) == ("Failed", (100, 0))
    await theatre.tick()
    assert theatre.replicas == 0


async def test_an_unreadable_canary_whose_target_lost_its_label_stops_nobody() -> None:
    theatre = await progressing()
    theatre.edit({"spec": {"analysis": {"threshold": 1.5}}})
    theatre.cluster.edit("Deployment", "podinfo", {"spec": {"selector": {"matchLabels": {"app": None, "tier": "x"}}}})
    await theatre.fact()
    await theatre.tick()
    assert (theatre.phase, theatre.weights()) == ("Failed", (100, 0))


async def test_a_target_without_a_known_label_is_named() -> None:
    deployment = guide("deployment")
    deployment["spec"]["selector"]["matchLabels"] = {"tier": "x"}
    theatre = Theatre(extra=[deployment])
    await theatre.fact()
    assert theatre.messages() == [
        "getSelectorLabel failed: deployment podinfo.test spec.selector.matchLabels must contain one of "
        "[app name app.kubernetes.io/name]"
    ]


def rival(created: str, **spec: Any) -> Json:
    other = with_spec(spec)
    other["metadata"] = {"name": "other", "namespace": "test", "creationTimestamp": created}
    return other


async def test_of_two_canaries_on_one_target_the_older_one_runs() -> None:
    theatre = Theatre(extra=[rival("2025-01-01T00:00:00Z")])
    await theatre.fact()
    assert theatre.messages() == [
        "spec.targetRef.name podinfo belongs to canary other.test already: delete one of them"
    ]
    assert theatre.cluster.writes == [("patch", "Canary", "podinfo")]
    theatre.cluster.remove("Canary", "other")
    await theatre.settle()
    assert ("Deployment", "test", "podinfo-primary") in theatre.cluster.objects
    assert await Theatre(extra=[rival("2027-01-01T00:00:00Z")]).look() == "pending"


async def test_another_kind_of_the_same_name_is_no_rival() -> None:
    other = rival("2025-01-01T00:00:00Z", targetRef={"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "podinfo"})
    theatre = Theatre(extra=[other])
    await theatre.settle()
    assert ("Deployment", "test", "podinfo-primary") in theatre.cluster.objects
