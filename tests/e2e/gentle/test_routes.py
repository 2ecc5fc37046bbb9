"""Every rule of every route, and ApisixUpstreams, on the real API server and asked of the gateway."""

import copy
from collections import Counter
from typing import Any

import aiohttp
import pytest

from sandbox.controlplane.api import Json
from tests.e2e.plays import Play, Programme, declared, lasting, play
from tests.e2e.rollouts import OVER, Rollout, manifest
from tests.e2e.short import GATE, NEW, applied, canary, phase, told

KIND = {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute"}


def mobile() -> Json:
    """A second route, with a rule for the canary's Service and one for somebody else's. Its class is a name in the settings of
    a controller 1.x, which is no object of the cluster."""
    found = manifest("route")
    found["metadata"]["name"] = "mobile"
    found["spec"]["ingressClassName"] = "apisix"
    rule = found["spec"]["http"][0]
    rule["match"]["hosts"] = ["mobile.app.example.com"]
    other = {**copy.deepcopy(rule), "name": "other", "backends": [{"serviceName": "beta", "servicePort": 80}]}
    other["match"]["paths"] = ["/other"]
    found["spec"]["http"].append(other)
    return found


def beta(priority: int) -> Json:
    """The same path and host as the canary's, for those with a header; a route of somebody else's."""
    found = manifest("route")
    found["metadata"]["name"] = "beta"
    rule = found["spec"]["http"][0]
    rule["match"]["exprs"] = [{"subject": {"scope": "Header", "name": "X-Beta"}, "op": "Equal", "value": "1"}]
    rule.update(name="beta", priority=priority, backends=[{"serviceName": "beta", "servicePort": 80}])
    return found


def nobody() -> Json:
    """A Service without pods: whoever is led there gets 503."""
    spec = {"selector": {"app": "nobody"}, "ports": [{"port": 80, "name": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "beta"}, "spec": spec}


def upstream() -> Json:
    spec = {"retries": 2, "loadbalancer": {"type": "roundrobin"}}
    return {**KIND, "kind": "ApisixUpstream", "metadata": {"name": "podinfo"}, "spec": spec}


def named(rollout: Rollout, plural: str, name: str) -> str:
    return f"/apis/apisix.apache.org/v2/namespaces/{rollout.namespace}/{plural}/{name}"


def weights(route: Json) -> dict[str, list[int]]:
    """By rule of a generated route."""
    return {rule["name"]: [each["weight"] for each in rule["backends"]] for rule in route["spec"]["http"]}


async def asked(rollout: Rollout, host: str, **headers: str) -> Counter[int]:
    """Ten answers by status."""
    found: Counter[int] = Counter()
    url = f"http://127.0.0.1:{rollout.scene.stage.gateway.http_port}/api/info"
    async with aiohttp.ClientSession(headers={"Host": host, **headers}) as session:
        for _ in range(10):
            async with session.get(url) as answer:
                found[answer.status] += 1
    return found


@lasting(120)
async def every_route(rollout: Rollout) -> None:
    """W-A5, W-A10, W-A14."""
    host, api = f"{rollout.namespace}.example.com", rollout.scene.stage.api
    further: Any = {"spec": {"routeRefs": [{**KIND, "name": "mobile"}]}}
    await applied(rollout, mobile(), beta(5), nobody(), upstream(), canary(webhooks=[GATE], **further))
    await rollout.initialized()
    await rollout.release(NEW)
    await phase(rollout, "WaitingPromotion", weight=50)
    for name in ("podinfo-podinfo-canary", "mobile-podinfo-canary"):
        path = named(rollout, "apisixroutes", name)
        await api.until(path, lambda found: weights(found) == {"method": [50, 50]})
    assert await asked(rollout, host) == await asked(rollout, f"mobile.{host}") == {200: 10}
    assert await asked(rollout, host, **{"X-Beta": "1"}) == {503: 10}, "who is led elsewhere still is"
    for name in ("podinfo-primary", "podinfo-canary"):
        found = await api.get(named(rollout, "apisixupstreams", name))
        assert found["spec"] == upstream()["spec"]
    await rollout.kubectl("patch", "apisixupstream", "podinfo", "--type=merge", "-p", '{"spec": {"retries": 5}}')
    copied = named(rollout, "apisixupstreams", "podinfo-canary")
    await api.until(copied, lambda found: found["spec"]["retries"] == 5)
    rollout.open_gate()
    await phase(rollout, *OVER)
    assert not [text for text in rollout.texts() if "IngressClass" in text]
    await rollout.kubectl("delete", "apisixupstream", "podinfo")
    listed = named(rollout, "apisixupstreams", "").rstrip("/")
    await api.until(listed, lambda found: found["items"] == [])


@play
async def no_room(rollout: Rollout) -> None:
    """Between 0 and 1 there is no integer: people are told, and raise theirs."""
    await applied(rollout, beta(1), nobody(), canary())
    text = (
        "http route method with priority 0 leaves no room below http route beta with priority 1, which has the same path: "
        "set the priority of beta to 2 or more"
    )
    await told(rollout, f"APISIX route podinfo.{rollout.namespace}'s {text}")
    await rollout.kubectl("wait", "canary/podinfo", "--for=condition=Runnable=False", "--timeout=60s")
    await rollout.apply(documents=(beta(2),))
    await rollout.initialized()
    await rollout.kubectl("wait", "canary/podinfo", "--for=condition=Runnable=True", "--timeout=60s")


@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_routes(programme: Programme, play: Play[None]) -> None:
    await programme.of(play)
