"""Manifests that Flagger gets wrong on APISIX, each played through the whole router; ids are those of docs/migration.md.

Those whose whole point is a strategy, a hand on the route, a refusal or a deletion stand with these (`grep -rn W-A tests`).
"""

import copy
import zlib
from typing import Any

import pytest

from services.router import handlers
from shared.errors import Conflict
from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.theatre import Theatre, guide, initialized, progressing

GENERATED = "podinfo-podinfo-canary"


def source(*, spec: Json | None = None, **rule: Any) -> Json:
    """The guide's route, with further fields of its spec and of its rule."""
    found = guide("route")
    found["spec"].update(spec or {})
    found["spec"]["http"][0].update(rule)
    return found


def canary(*, metrics: list[Json] | None = None, **spec: Any) -> Json:
    found = guide("canary")
    found["spec"].update(spec)
    found["spec"]["analysis"]["metrics"] = found["spec"]["analysis"]["metrics"] if metrics is None else metrics
    return found


def generated(theatre: Theatre, name: str = GENERATED) -> Json:
    found: Json = theatre.cluster.of("ApisixRoute", name)["spec"]
    return found


def asked(theatre: Theatre) -> tuple[wire.Metric, ...]:
    return tuple(theatre.bus.ticks["test", "podinfo"].question.metrics)


async def ended(theatre: Theatre) -> None:
    """The rollout goes on to its end, every check passed."""
    while theatre.phase not in {"Succeeded", "Failed"}:
        await theatre.tick()
        await theatre.settle()


def written(theatre: Theatre) -> int:
    """How often the generated route was."""
    return sum(name == GENERATED for _, _, name in theatre.cluster.writes)


async def test_an_integer_in_a_plugin_is_written_once_a_step_and_the_rollout_ends() -> None:
    """W-A1: there its route never equals what it wants, so it starts over with every tick."""
    limit = {"name": "limit-count", "enable": True, "config": {"count": 100, "time_window": 60, "rejected_code": 429}}
    route = source()
    route["spec"]["http"][0]["plugins"].append(limit)
    theatre = await progressing(extra=[route], steps=0)
    before = written(theatre)
    for _ in range(5):
        await theatre.fact()
        assert await theatre.look() == ""
    assert (written(theatre), theatre.weights()) == (before, (90, 10))
    await theatre.tick()
    assert (written(theatre), theatre.weights()) == (before + 1, (80, 20))
    [kept] = [each for each in generated(theatre)["http"][0]["plugins"] if each["name"] == "limit-count"]
    assert kept == limit
    assert all(type(value) is int for value in kept["config"].values())
    await ended(theatre)
    assert theatre.phase == "Succeeded"


async def test_a_canary_is_asked_after_by_its_own_nodes_and_never_by_the_shared_route() -> None:
    """W-A6: at 10 % a canary that fails every sixth request would read 98 % there."""
    theatre = await progressing()
    for service, ip in (("podinfo-canary", "10.0.0.9"), ("podinfo-primary", "10.0.0.1")):
        theatre.cluster.put(addresses(service, ip))
    await theatre.fact()
    for metric in asked(theatre):
        assert 'node=~"10[.]0[.]0[.]9"' in metric.query
        assert "10[.]0[.]0[.]1" not in metric.query


def addresses(service: str, *ready: str) -> Json:
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": f"{service}-a", "namespace": "test", "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [ip], "conditions": {"ready": True}} for ip in ready],
    }  # fmt: skip


async def test_a_service_with_a_name_of_its_own_has_numbers_all_the_same() -> None:
    """W-A8: there the query has the target's name, and the route the Service's."""
    service = {**guide("canary")["spec"]["service"], "name": "shop"}
    route = source(backends=[{"serviceName": "shop", "servicePort": 80}])
    theatre = await progressing(canary(service=service), [route])
    assert [each["weight"] for each in generated(theatre, "podinfo-shop-canary")["http"][0]["backends"]] == [80, 20]
    for metric in asked(theatre):
        assert "test_podinfo-shop-canary_method" in metric.query
    await ended(theatre)
    assert theatre.phase == "Succeeded"


@pytest.mark.parametrize("config", [None, {}, {"prefer_name": False}])
async def test_without_prefer_name_the_routes_id_is_asked_for_too(config: Json | None) -> None:
    """W-A9: there the only sign is that no values are found. What may be missing is told, with the fix."""
    own = [] if config is None else [{"name": "prometheus", "enable": True, "config": config}]
    theatre = await initialized(extra=[source(plugins=own)])
    told = [text for text in theatre.messages() if "has no plugin prometheus" in text]
    assert [text.rpartition("; ")[2] for text in told] == (
        ["add {name: prometheus, enable: true, config: {prefer_name: true}}"] if config is None else []
    )
    theatre.release()
    await theatre.settle()
    ident = f"{zlib.crc32(b'test_podinfo-podinfo-canary_method'):x}"
    assert all(ident in metric.query for metric in asked(theatre))


async def test_a_rule_that_others_have_a_share_of_is_divided_among_the_apexs_own() -> None:
    """W-A11: there a second backend is an error, and `upstreams` are dropped."""
    backends = [
        {"serviceName": "podinfo", "servicePort": 80, "weight": 60}, {"serviceName": "legacy", "servicePort": 80, "weight": 30},
    ]  # fmt: skip
    legacy = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "legacy", "namespace": "test"},
        "spec": {"ports": [{"port": 80}]},
    }  # fmt: skip
    theatre = await progressing(extra=[source(backends=backends, upstreams=[{"name": "far", "weight": 10}]), legacy])
    rule = generated(theatre)["http"][0]
    shares = {each["serviceName"]: each["weight"] for each in rule["backends"]}
    shares["far"] = rule["upstreams"][0]["weight"]
    whole = sum(shares.values())
    assert {name: round(100 * share / whole, 6) for name, share in shares.items()} == {
        "podinfo-primary": 48, "podinfo-canary": 12, "legacy": 30, "far": 10,
    }  # fmt: skip
    await ended(theatre)
    assert theatre.phase == "Succeeded"


RICH: Json = {
    "ingressClassName": "apisix",
    "stream": [
        {"name": "tcp", "match": {"ingressPort": 9100}, "backend": {"serviceName": "podinfo", "servicePort": 80}}
    ],
    "newInTheNextVersion": {"deep": [1, 2.5, True]},
}
RULE: Json = {
    "authentication": {"enable": True, "type": "ldapAuth", "ldapAuth": {"base_dn": "dc=example"}},
    "plugin_config_name": "shared",
    "plugin_config_namespace": "elsewhere",
    "plugins": [{"name": "limit-count", "enable": True, "secretRef": "limits", "config": {"count": 5}}],
    "backends": [{"serviceName": "podinfo", "servicePort": 80, "subset": "v1", "resolveGranularity": "service"}],
}


async def test_a_port_of_the_gateway_has_one_owner() -> None:
    """W-A12: there a `stream` rule is copied, and two routes claim its port."""
    theatre = await progressing(extra=[source(spec=RICH)])
    assert "stream" not in generated(theatre)
    assert theatre.cluster.of("ApisixRoute", "podinfo")["spec"]["stream"] == RICH["stream"], "and it stays people's own"


async def test_no_field_is_dropped_or_made_up_in_a_whole_rollout() -> None:
    """W-A13: there class, secrets, functions and whatever is newer than 2022 get lost on the route that wins."""
    route = source(spec=RICH, **RULE)
    route["spec"]["http"][0]["match"]["filter_func"] = "function(vars) return true end"
    before = copy.deepcopy(route["spec"])
    theatre = await initialized(extra=[route])
    theatre.release()
    await theatre.settle()
    while True:
        spec = generated(theatre)
        assert {**spec, "http": [], "stream": RICH["stream"]} == {**before, "http": []}
        ours = {"backends", "priority"}
        assert {key: value for key, value in spec["http"][0].items() if key not in ours} == {
            key: value for key, value in before["http"][0].items() if key not in ours
        }
        for backend in spec["http"][0]["backends"]:
            assert (backend["subset"], backend["resolveGranularity"]) == ("v1", "service")
        if theatre.phase == "Succeeded":
            break
        await theatre.tick()
        await theatre.settle()
    assert theatre.cluster.of("ApisixRoute", "podinfo")["spec"] == before, "people's own is never written"


class Once(dict[tuple[str, str], Exception]):
    """Refuses each of these once."""

    def get(self, key: tuple[str, str], default: Any = None) -> Any:
        return self.pop(key, default)


@pytest.mark.parametrize("kind", ["Canary", "ApisixRoute", "Deployment"])
async def test_whoever_was_faster_costs_no_tick_and_is_no_news(kind: str) -> None:
    """W-A19."""
    theatre = await initialized()
    theatre.release()
    theatre.cluster.refusals = Once({("patch", kind): Conflict("the object has been modified")})
    lost: list[int] = []
    nudge = wire.Nudge(id="nudge/1", canary=theatre.ref, reason="test")
    for _ in range(2):
        await handlers.decide(theatre.reconciler, nudge, lambda: lost.append(1))
        theatre.cluster.settle()
    await handlers.decide(theatre.reconciler, nudge, lambda: lost.append(1))
    assert (len(lost), theatre.phase, theatre.weights()) == (1, "Progressing", (90, 10))
    assert [text for text in theatre.messages() if "modified" in text or "error" in text] == []


async def test_latency_may_be_the_workloads_alone() -> None:
    """W-A23: what a slow client takes is no slow canary. Without the field it is as there."""
    for field, part in (({}, "request"), ({"latency": "upstream"}, "upstream")):
        metric = {"name": "request-duration", "thresholdRange": {"max": 500}, "interval": "30s", **field}
        theatre = await progressing(canary(metrics=[metric]))
        [found] = asked(theatre)
        assert f'type="{part}"' in found.query
