"""Generated routes in front of the gateway double: nobody meets an error or another answer because one was made."""

from typing import Any

import pytest

from sandbox.controlplane.api import Json
from services.router import routes
from services.router.routes import Around
from services.router.shape import Shape
from shared.canary.names import Names
from tests.unit.sandbox.objects import PRIMARY_POD, backend, endpoints, route, rule, service, services, slices
from tests.unit.sandbox.world import World, world

NAMES = Names(target="podinfo", apex="podinfo", route="podinfo")
BETA_POD = "10.128.0.77"
FRESH: Any = {"refresh_interval": 0, "global_prefer_name": True}


def apply(found: World, *given: Json) -> None:
    more = [service("podinfo", "10.96.0.10"), service("beta", "10.96.0.77")]
    endpoint_slices = [*slices(), endpoints("podinfo", PRIMARY_POD), endpoints("beta", BETA_POD)]
    found.gateway.apply(given, [*services(), *more], endpoint_slices)


def generated(source: Json, shape: Shape, around: Around) -> Json:
    return route(*routes.generated_spec(source, NAMES, "test", shape, around)["http"])


@pytest.mark.parametrize("shy", [True, False])
async def test_a_new_route_on_controller_2_costs_no_request(shy: bool) -> None:
    """Its last upstream comes after it, and until then whoever meets it gets 500: so nobody shall meet it."""
    clock = Clock()
    async with world("3.18.0", upstream_lag=3.0, monotonic=clock, **FRESH) as found:
        source = route(rule("method", backend("podinfo")), name="podinfo")
        new = generated(source, Shape(weight=10), Around(shy=shy))
        apply(found, source, new)
        assert await found.load(20) == ({200: 20} if shy else {500: 20})
        clock.now += 3.0
        apply(found, source, generated(source, Shape(weight=10), Around(shy=shy, have=new)))
        assert await found.load(20) == {200: 20}
        assert sum(count for (_, node), count in (await found.status()).items() if node != PRIMARY_POD and node) == 2


@pytest.mark.parametrize("version", ["2.15.3", "3.18.0"])
async def test_a_more_specific_rule_of_the_same_path_goes_on_answering(version: str) -> None:
    """W-A5."""
    async with world(version, **FRESH) as found:
        await found.pod(BETA_POD, "ghcr.io/stefanprodan/podinfo:6.0.2")
        exprs = [{"subject": {"scope": "Header", "name": "X-Beta"}, "op": "Equal", "value": "1"}]
        beta = rule("beta", backend("beta"), match={"exprs": exprs}, priority=5)
        source = route(rule("method", backend("podinfo")), beta, name="podinfo")
        apply(found, source, generated(source, Shape(weight=100), Around()))
        for _ in range(5):
            await found.ask(**{"X-Beta": "1"})
        assert await found.status() == {("200", BETA_POD): 5}
        await found.load(5)
        assert (await found.status())["200", PRIMARY_POD] == 0, "everybody else is the canary's"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
