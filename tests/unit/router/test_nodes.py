"""Whose answers count as the canary's."""

from datetime import UTC, datetime, timedelta

from services.router import nodes, parse
from services.router.found import Found, RouteFound
from services.router.nodes import Node
from tests.story.theatre import guide

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = timedelta(minutes=1)


def ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_a_route_that_resolves_by_service_has_one_constant_node() -> None:
    backends = [{"serviceName": "podinfo-canary", "resolveGranularity": "service"}]
    routed = {"podinfo": RouteFound(generated={"spec": {"http": [{"backends": backends}]}})}
    canary = parse.canary(guide("canary"), timedelta())
    service = {"spec": {"clusterIP": "10.96.0.7"}}
    found = Found(routes=routed, services={"podinfo-canary": service})
    assert nodes.service_address(canary, found, "podinfo-canary") == "10.96.0.7"
    headless = Found(routes=routed, services={"podinfo-canary": {"spec": {"clusterIP": "None"}}})
    assert nodes.service_address(canary, headless, "podinfo-canary") == ""
    assert nodes.service_address(canary, Found(services={"podinfo-canary": service}), "podinfo-canary") == ""


def test_addresses_count_for_a_window_after_they_left() -> None:
    known = (Node("10.0.0.7", ago(61)), Node("10.0.0.8", ago(59)))
    kept = nodes.remembered(known, ("10.0.0.9",), NOW, WINDOW)
    assert kept == (Node("10.0.0.8", ago(59)), Node("10.0.0.9", NOW))
    assert nodes.own(kept) == ("10.0.0.8", "10.0.0.9")


def test_what_answered_before_another_revision_doesnt_count_for_it() -> None:
    known = (Node("10.0.0.7", ago(30)), Node("10.0.0.8", ago(5)))
    old = nodes.superseded(known, ("10.0.0.8",), NOW, complete=False)
    assert nodes.own(old) == ()
    later = nodes.remembered(old, ("10.0.0.8", "10.0.0.9"), NOW + timedelta(seconds=20), WINDOW)
    assert nodes.own(later) == ("10.0.0.9",), "the old pod ends slowly"
    reused = nodes.remembered(old, ("10.0.0.8",), NOW + timedelta(seconds=61), WINDOW)
    assert nodes.own(reused) == ("10.0.0.8",), "an address that a new pod got counts when the window is over"


def test_a_revision_that_is_noticed_late_keeps_its_own_pods() -> None:
    known = (Node("10.0.0.8", ago(40)),)
    found = nodes.superseded(known, ("10.0.0.9",), NOW, complete=True)
    assert nodes.own(found) == ("10.0.0.9",)
    assert Node("10.0.0.8", NOW, former=True) in found


def test_only_ready_addresses_count() -> None:
    endpoints = [
        {"addresses": ["10.0.0.1"], "conditions": {"ready": True}}, {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
        {"addresses": ["10.0.0.3"]},
    ]  # fmt: skip
    assert nodes.ready_addresses([{"endpoints": endpoints}]) == ("10.0.0.1", "10.0.0.3")
