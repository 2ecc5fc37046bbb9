"""What the ingress controller makes of objects, per line of versions."""

from typing import Any

import pytest

from sandbox.controlplane.api import Json
from sandbox.gateway import config
from sandbox.gateway.config import Memo, Rule, label, translate
from sandbox.gateway.dialect import dialect
from sandbox.network import Node, ServiceTable
from tests.unit.sandbox.objects import (
    CANARY_IP,
    CANARY_POD,
    TARGET_PORT,
    backend,
    endpoints,
    route,
    rule,
    service,
    services,
    slices,
    split,
)

OLD, NEW = dialect("2.15.3"), dialect("3.18.0")
TABLE = ServiceTable(services(), slices())
KEY = ("test", "podinfo-podinfo-canary")


def first(given: Json, version: str = "3.18.0") -> Rule:
    return translate([given], TABLE, {}, dialect(version))[KEY][0]


@pytest.mark.parametrize(("version", "service_name"), [("2.15.3", ""), ("3.18.0", "test_podinfo-podinfo-canary_0")])
def test_names(version: str, service_name: str) -> None:
    found = first(split(90, 10), version)

    assert found.name == "test_podinfo-podinfo-canary_method"
    assert found.service == service_name


def test_a_label_is_the_name_or_its_crc32_in_hex_without_padding() -> None:
    assert label("test_podinfo_method", True) == "test_podinfo_method"
    assert label("123456789", False) == "cbf43926"  # the algorithm's published check value
    assert label("test_route-6_http", False) == "91c1f48"
    assert label("", False) == ""


@pytest.mark.parametrize(
    ("granularity", "node"),
    [
        ("service", Node(CANARY_IP, 80)),
        ("endpoint", Node(CANARY_POD, TARGET_PORT)),
        ("endpoints", Node(CANARY_POD, TARGET_PORT)),
    ],
)
def test_nodes_by_granularity(granularity: str, node: Node) -> None:
    assert first(split(90, 10, granularity=granularity)).backends[1].nodes == (node,)


def test_a_missing_weight_is_a_hundred_and_zero_is_zero() -> None:
    found = first(route(rule("method", backend("podinfo-primary"), backend("podinfo-canary", 0))))

    assert [each.weight for each in found.backends] == [100, 0]


def test_only_ready_endpoints_are_nodes() -> None:
    table = ServiceTable(services(), [endpoints("podinfo-canary", "10.128.0.1", unready=["10.128.0.2"])])
    found = translate([split(90, 10)], table, {}, NEW)[KEY][0]

    assert found.backends[1].nodes == (Node("10.128.0.1", TARGET_PORT),)
    assert found.backends[0].nodes == ()


def test_a_missing_service_drops_the_backend_or_keeps_the_whole_route_as_it_was() -> None:
    lonely = ServiceTable([service("podinfo-primary")], slices())
    before = {KEY: (first(split(100, 0), "2.15.3"),)}

    new = translate([split(90, 10)], lonely, before, NEW)
    old = translate([split(90, 10)], lonely, before, OLD)

    assert [each.service for each in new[KEY][0].backends] == ["podinfo-primary"]  # which now gets everything
    assert old == before
    assert translate([split(90, 10)], lonely, {}, OLD) == {}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param([rule("a", backend("podinfo-primary")), rule("a", backend("podinfo-canary"))], id="one name twice"),
        pytest.param([rule("a", backend("podinfo-primary"), backend("podinfo-primary"))], id="one service twice"),
        pytest.param(
            [rule("a", backend("podinfo-primary"), match={"exprs": [{"subject": {"scope": "Header", "name": "a"}, "op": "Like"}]})],
            id="no such operator",
        ),
    ],
)  # fmt: skip
def test_a_refused_route_leaves_the_old_one(broken: list[Json]) -> None:
    before = {KEY: (first(split(100, 0)),)}

    assert translate([route(*broken)], TABLE, before, NEW) == before


def test_a_deleted_route_is_gone() -> None:
    assert translate([], TABLE, {KEY: (first(split(100, 0)),)}, NEW) == {}


@pytest.mark.parametrize(("version", "found"), [("3.18.0", {}), ("2.15.3", {KEY})])
def test_without_a_default_class_the_newer_controller_ignores_routes_that_name_none(version: str, found: Any) -> None:
    got = translate([split(90, 10)], TABLE, {}, dialect(version), default_class=False)
    named = {**split(90, 10), "spec": {**split(90, 10)["spec"], "ingressClassName": "apisix"}}

    assert set(got) == set(found)
    assert set(translate([named], TABLE, {}, dialect(version), default_class=False)) == {KEY}


@pytest.mark.parametrize(
    ("plugin", "prefer_name"),
    [
        ({"name": "prometheus", "enable": True, "config": {"disable": False, "prefer_name": True}}, True),
        ({"name": "prometheus", "enable": True}, False),
        ({"name": "prometheus", "enable": False, "config": {"prefer_name": True}}, None),
        ({"name": "prometheus", "enable": True, "config": {"disable": True}}, None),
        ({"name": "prometheus", "enable": True, "config": {"_meta": {"disable": True}}}, None),
        ({"name": "limit-req", "enable": True}, None),
    ],
)
def test_who_is_measured(plugin: Json, prefer_name: bool | None) -> None:
    assert first(route(rule("method", backend("podinfo-primary"), plugins=[plugin]))).prefer_name is prefer_name


def test_what_counts_as_a_write() -> None:
    same = split(90, 10)
    status = {**same, "status": {"conditions": []}, "metadata": {**same["metadata"], "resourceVersion": "2"}}

    assert first(status).written == first(same).written
    assert first(split(90, 10, written=1)).written != first(same).written
    assert first(split(80, 20)).written != first(same).written


@pytest.mark.parametrize(("text", "seconds"), [(None, 60), ("5s", 5), ("1m30s", 90), ("1500ms", 1), ("500ms", 60)])
def test_timeouts_are_whole_seconds(text: str | None, seconds: float) -> None:
    found = first(route(rule("method", backend("podinfo-primary"), timeout={"read": text} if text else {})))

    assert found.read_timeout == seconds
    assert found.connect_timeout == config._DEFAULT_TIMEOUT


def test_only_what_changed_is_made_anew() -> None:
    """And everything that a route's rules are made of counts as such."""
    memo, given = (
        Memo(),
        [route(rule("a", backend("podinfo-canary")), name="a"), route(rule("b", backend("podinfo-canary")), name="b")],
    )
    first = translate(given, TABLE, {}, OLD, memo=memo)
    again = translate(
        [given[0], route(rule("b", backend("podinfo-canary"), priority=7), name="b")], TABLE, first, OLD, memo=memo
    )
    assert again["test", "a"] is first["test", "a"]
    assert [each.priority for each in again["test", "b"]] == [7]

    without = translate(given, ServiceTable(services(), []), again, OLD, memo=memo)
    assert without["test", "a"][0].backends[0].nodes == ()
    assert translate(given, ServiceTable(), {}, OLD, memo=memo) == {}, "without the Service it isn't published"
