"""The metrics page: families, labels by version, units, and what a rule is called."""

import asyncio
import zlib

import pytest

from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from tests.gateway.stage import CANARY_POD, PRIMARY_POD, Stage
from tests.unit.sandbox.objects import backend, rule
from tests.unit.sandbox.world import CANARY

FAMILIES = (
    "apisix_bandwidth",
    "apisix_http_latency_bucket",
    "apisix_http_latency_sum",
    "apisix_http_latency_count",
    "apisix_http_status",
)
SEVEN = ["code", "route", "matched_uri", "matched_host", "service", "consumer", "node"]
LLM = ["request_type", "request_llm_model", "llm_model"]


def measuring(config: Json) -> Json:
    return {"name": "prometheus", "enable": True, "config": config}


async def test_families_and_labels(stage: Stage) -> None:
    await stage.split(50, 50)
    await stage.load(2)
    await stage.counted({("200", PRIMARY_POD): 1, ("200", CANARY_POD): 1})
    labels: dict[str, list[str]] = {}
    for name, found, _ in await stage.samples():
        if found.get("route") == stage.route():
            labels[name] = list(found)

    llm = LLM if stage.dialect.llm_labels else []
    assert set(labels) == set(FAMILIES)
    assert labels["apisix_http_status"] == [
        *SEVEN,
        *llm,
        *(["response_source"] if stage.dialect.response_source else []),
    ]
    assert labels["apisix_http_latency_sum"] == ["type", "route", "service", "consumer", "node", *llm]
    assert labels["apisix_bandwidth"] == ["type", "route", "service", "consumer", "node", *llm]


async def test_latency_is_in_milliseconds(stage: Stage) -> None:
    """And a bucket is there from the first request on that was fast enough for it."""
    stage.behaviours[CANARY] = Behaviour(latency_seconds=0.06)
    await stage.split(0, 100)
    await stage.load(2)
    await stage.counted({("200", CANARY_POD): 2})
    mine = [
        (name, labels, value) for name, labels, value in await stage.samples() if labels.get("route") == stage.route()
    ]
    request = [each for each in mine if each[1].get("type") == "request"]

    buckets = {labels["le"]: value for name, labels, value in request if name.endswith("_bucket")}
    bounds = "1 2 5 10 20 50 100 200 500 1000 2000 5000 10000 30000 60000 +Inf"
    assert "50" not in buckets
    assert bounds.endswith(" ".join(buckets))
    assert (buckets["10000"], buckets["+Inf"]) == (2, 2)
    [total] = [value for name, _, value in request if name == "apisix_http_latency_sum"]
    assert 120 <= total < 20_000


async def test_upstream_time_exists_only_where_an_upstream_was_asked(stage: Stage) -> None:
    await stage.split(90, 10, canaries=())
    await stage.load(10)
    await stage.counted({("200", PRIMARY_POD): 9, ("503", ""): 1})
    counts = {
        (labels["type"], labels["node"]): value
        for name, labels, value in await stage.samples()
        if name == "apisix_http_latency_count" and labels["route"] == stage.route()
    }
    assert counts == {
        ("request", ""): 1, ("apisix", ""): 1,
        ("request", PRIMARY_POD): 9, ("apisix", PRIMARY_POD): 9, ("upstream", PRIMARY_POD): 9,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("plugins", "global_prefer_name", "by_name"),
    [
        ([measuring({"prefer_name": True})], None, True),
        ([measuring({"prefer_name": False})], None, False),
        ([measuring({"prefer_name": False})], True, False),  # the rule's own plugin wins
        ([], True, True),
    ],
)
async def test_the_route_label(
    stage: Stage, plugins: list[Json], global_prefer_name: bool | None, by_name: bool
) -> None:
    """The name, or crc32 of it; and whoever is measured twice is counted once."""
    await stage.apply(
        rule("method", backend("podinfo-primary"), plugins=plugins), global_prefer_name=global_prefer_name
    )
    label = stage.route() if by_name else f"{zlib.crc32(stage.route().encode()):x}"
    await stage.load(3)
    found = await stage.statuses(3, label)
    assert sum(value for _, value in found) == 3
    service = "" if not stage.dialect.services else f"test_{stage.name}_0"
    assert {labels["service"] for labels, _ in found} == {
        service if by_name or not service else f"{zlib.crc32(service.encode()):x}"
    }
    assert {(labels["matched_uri"], labels["matched_host"]) for labels, _ in found} == {("/*", "app.example.com")}


async def test_nobody_measures_a_rule_without_the_plugin(stage: Stage) -> None:
    silent = rule("silent", backend("podinfo-primary"), match={"hosts": ["silent.test"]}, plugins=[])
    await stage.apply(silent, rule("method", backend("podinfo-primary")))
    await stage.ask(host="silent.test")
    await stage.ask()
    await stage.counted({("200", PRIMARY_POD): 1})
    assert await stage.statuses(0, stage.route("silent")) == []


async def test_series_outlive_their_route(stage: Stage) -> None:
    await stage.split(90, 10)
    await stage.load(10)
    await stage.counted({("200", PRIMARY_POD): 9, ("200", CANARY_POD): 1})
    await stage.apply()
    assert (await stage.ask()).status == 404
    await asyncio.sleep(stage.target.page_age)
    await stage.counted({("200", PRIMARY_POD): 9, ("200", CANARY_POD): 1})
