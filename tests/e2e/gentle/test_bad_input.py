"""What people and the world get wrong, on the real API server: an Event names it, nobody else is stopped, and mending
it is enough."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from sandbox.listener import Handler, Listener
from sandbox.ports import free_port
from sandbox.process import ProcessFailed
from sandbox.scene import Scene
from shared.wire import subjects
from tests.e2e.plays import Play, Programme, declared, play
from tests.e2e.rollouts import PATIENCE, Rollout, manifest, moved
from tests.e2e.short import NEW, applied, beginning, canary, deployment, hook, phase, told
from tests.integration.bus_stage import as_user

SUCCESS = {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"}
PROMETHEUS = "http://flagger-prometheus.apisix:9090"
TEMPLATED = {"name": "mine", "templateRef": {"name": "mine"}, "thresholdRange": {"max": 5}}


@play
async def senseless(rollout: Rollout) -> None:
    """The schema admits it, and it makes no sense."""
    await applied(rollout, canary(stepWeight=None, stepWeights=[20, 10]))

    await told(rollout, "spec.analysis.stepWeights must rise: 20, 10")
    await rollout.kubectl("wait", "canary/podinfo", "--for=condition=Supported=False", "--timeout=30s")
    assert "podinfo-primary" not in await rollout.kubectl("get", "deploy,svc", "-o", "name")

    await rollout.apply(documents=(canary(),))
    await rollout.initialized()


@play
async def senseless_type(rollout: Rollout) -> None:
    """Where the schema says `number`, half a check."""
    await applied(rollout, canary(threshold=1.5))

    found = await rollout.scene.stage.api.until(rollout.canary, lambda found: bool(found.get("status")))
    [condition] = found["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Supported", "False")
    assert condition["message"].startswith("invalid canary spec: spec.analysis.threshold: ")
    await told(rollout, condition["message"])


@play
async def refused_strategy(rollout: Rollout) -> None:
    """What this version doesn't do is refused, before anything was touched."""
    await applied(rollout, canary(match=[{"sourceLabels": {"app": "shop"}}]))

    text = "spec.analysis.match.0: sourceLabels is not supported: use headers, queryParams or cookies"
    await told(rollout, f"invalid canary spec: {text}")
    found = await rollout.scene.stage.api.get(rollout.canary)
    assert [each["status"] for each in found["status"]["conditions"] if each["type"] == "Supported"] == ["False"]
    assert (await rollout.kubectl("get", "deploy,svc,apisixroute", "-o", "name")).split() == [
        "deployment.apps/podinfo",
        "apisixroute.apisix.apache.org/podinfo",
    ]


@play
async def missing_target(rollout: Rollout) -> None:
    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply("route", documents=(canary(),))
    text = f'deployment podinfo.{rollout.namespace} get query error: deployments.apps "podinfo" not found'

    await told(rollout, text)
    await rollout.apply(documents=(deployment(),))
    await rollout.initialized()
    assert rollout.texts().count(text) == 1


@play
async def missing_route(rollout: Rollout) -> None:
    await applied(rollout)
    await rollout.kubectl("delete", "apisixroute", "podinfo")
    await rollout.apply(documents=(canary(),))
    name = f"podinfo.{rollout.namespace}"
    text = f'APISIX route {name} get query error: apisixroutes.apisix.apache.org "podinfo" not found'

    await told(rollout, text)
    await rollout.apply("route")
    await rollout.initialized()
    assert rollout.texts().count(text) == 1


@play
async def missing_backend(rollout: Rollout) -> None:
    """The route leads somewhere else."""
    await applied(rollout)
    backend = '[{"op": "replace", "path": "/spec/http/0/backends/0/serviceName", "value": "other"}]'
    await rollout.kubectl("patch", "apisixroute", "podinfo", "--type=json", "-p", backend)
    await rollout.apply(documents=(canary(),))

    await told(rollout, f"Can not find podinfo backend on apisix route podinfo.{rollout.namespace} ")
    await rollout.apply("route")
    await rollout.initialized()


@play
async def missing_config(rollout: Rollout) -> None:
    """A ConfigMap that the pods can't start without."""
    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    needy = deployment(envFrom=[{"configMapRef": {"name": "colours"}}])
    await rollout.apply("route", documents=(needy, canary()))

    await told(rollout, f'configmap colours.{rollout.namespace} get query error: configmaps "colours" not found')
    await rollout.kubectl("create", "configmap", "colours", "--from-literal=PODINFO_UI_COLOR=red")
    await rollout.initialized()


@play
async def missing_template(rollout: Rollout) -> None:
    """Counted, and an edit is enough."""
    await applied(rollout, canary(metrics=[TEMPLATED], threshold=50))
    await rollout.initialized()
    await rollout.release(NEW)

    await told(rollout, f'Metric template mine.{rollout.namespace} error: metrictemplates.flagger.app "mine" not found')
    assert (await phase(rollout, "Progressing"))["status"]["failedChecks"] >= 1
    await rollout.apply(documents=(_template(),))
    assert (await rollout.over())["status"]["phase"] == "Succeeded"


@play
async def missing_secret(rollout: Rollout) -> None:
    await applied(rollout, _template(secretRef={"name": "login"}), canary(metrics=[TEMPLATED], threshold=50))
    await rollout.initialized()
    text = f'Metric template mine.{rollout.namespace} secret login error: secrets "login" not found'
    assert f"Error checking metric providers: m{text[1:]}" in rollout.texts()
    await rollout.release(NEW)

    await told(rollout, text)
    await rollout.kubectl("create", "secret", "generic", "login", "--from-literal=token=hunter2")
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    assert "hunter2" not in json.dumps([rollout.scene.log("analyzer"), rollout.scene.listener.of(rollout.namespace)])


@play
async def two_on_one_target(rollout: Rollout) -> None:
    """The older one runs; when it goes, the other takes over."""
    await applied(rollout, canary())
    await rollout.initialized()
    second = Rollout(rollout.scene, rollout.namespace, "second")
    await second.apply(documents=({**canary(), "metadata": {"name": "second", "namespace": "test"}},))

    name = f"podinfo.{rollout.namespace}"
    await told(second, f"spec.targetRef.name podinfo belongs to canary {name} already: delete one of them")
    await second.kubectl("wait", "canary/second", "--for=condition=Supported=False", "--timeout=30s")
    await rollout.release(NEW)
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    assert len(second.texts()) == 1

    await rollout.kubectl("delete", "canary", "podinfo")
    await second.initialized()
    assert await rollout.image() == NEW


@play
async def broken_query(rollout: Rollout) -> None:
    metric = {"name": "broken", "query": "sum(", "thresholdRange": {"max": 5}}
    await _rolled_back(rollout, canary(metrics=[metric]))

    [text] = set(beginning(rollout, "Prometheus query failed for broken: "))
    assert text.startswith("Prometheus query failed for broken: error response: Status 400 Bad Request: ")


@play
async def prometheus_down(rollout: Rollout) -> None:
    await _rolled_back(rollout, canary(metrics=[SUCCESS], spec={"metricsServer": f"http://127.0.0.1:{free_port()}"}))

    failed = "running query failed: request failed: connection refused"
    assert f"Error checking metric providers: prometheus not avaiable: {failed}" in rollout.texts()
    assert beginning(rollout, "Prometheus query failed: ") == [f"Prometheus query failed: {failed}"] * 2


@play
async def prometheus_slow(rollout: Rollout) -> None:
    await _judged_by(rollout, _never)

    failed = "running query failed: request failed: context deadline exceeded"
    assert beginning(rollout, "Prometheus query failed: ") == [f"Prometheus query failed: {failed}"] * 2


@play
async def prometheus_garbage(rollout: Rollout) -> None:
    await _judged_by(rollout, _garbage)

    texts = beginning(rollout, "Prometheus query failed: running query failed: error unmarshaling result: ")
    assert len(texts) == 2
    assert all(text.endswith("'<html>welcome</html>'") for text in texts)


@play
async def hanging_webhook(rollout: Rollout) -> None:
    async with Listener(_never) as hanging:
        url = f"{hanging.url}/hang"
        await _rolled_back(rollout, canary(webhooks=[hook("rollout", url, timeout="1s")]))

    name = f"podinfo.{rollout.namespace}"
    failed = f"POST {url} giving up after 1 attempt(s): context deadline exceeded"
    halted = f"Halt {name} advancement external check hook failed {failed}"
    assert beginning(rollout, f"Halt {name}") == [halted] * 2


@play
async def garbled_messages(rollout: Rollout) -> None:
    """On each queue in the way of a canary that then goes its way."""
    nats, home = rollout.scene.stage.nats, (rollout.namespace, "podinfo")
    for user, subject in (
        ("watcher", subjects.inbox(*home)),
        ("router", subjects.tick(*home)),
        ("router", subjects.notice(*home)),
    ):
        async with as_user(nats, user) as somebody:
            await somebody.client.publish(subject, b'{"wire": 1, "kind"')
            await somebody.synchronise()
    await applied(rollout, canary())
    await rollout.initialized()

    async with as_user(nats, "bootstrap") as looking, asyncio.timeout(PATIENCE):
        while (await looking.state(subjects.DEAD_STREAM))["messages"] < 5:  # a notice has three readers
            await asyncio.sleep(0.05)
    given_up = await rollout.scene.logged("router", "analyzer", "notifier", beginning="given up ", count=5)
    assert len(given_up) == 5
    assert all("undecodable: " in text for text in given_up)


@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_is_told_and_can_be_mended(programme: Programme, play: Play[None]) -> None:
    await programme.of(play)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"iterations": 5}, '"spec.analysis" must validate one and only one schema'),
        ({"interval": "soon"}, "spec.analysis.interval: "),
        ({"stepWeight": "10"}, "spec.analysis.stepWeight: "),
        ({"webhooks": [{"name": "x"}]}, "spec.analysis.webhooks[0].url: "),
        ({"webhooks": [hook("sometimes", "http://x/")]}, "spec.analysis.webhooks[0].type: "),
        ({"alerts": [{"name": "x", "severity": "bad", "providerRef": {"name": "x"}}]}, "spec.analysis.alerts[0].severity: "),
        ({"spec": {"provider": "apache"}}, "spec.provider: "),
        ({"spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment"}}}, "spec.targetRef.name: "),
    ],
)  # fmt: skip
async def test_what_the_schema_forbids_is_refused_at_admission(
    scene: Scene, fields: dict[str, Any], named: str
) -> None:
    document = json.dumps(moved(canary(**fields), "default"))

    with pytest.raises(ProcessFailed, match="is invalid") as refused:
        await scene.plane.kubectl("apply", "-f", "-", stdin=document)
    assert named in str(refused.value)


async def _rolled_back(rollout: Rollout, document: dict[str, Any]) -> None:
    """A release that has to fail for its checks, at its first step."""
    await applied(rollout, document)
    await rollout.initialized()
    await rollout.release(NEW)
    assert (await rollout.over())["status"]["phase"] == "Failed"
    name = f"podinfo.{rollout.namespace}"
    assert f"Rolling back {name} failed checks threshold reached 2" in rollout.texts()
    assert beginning(rollout, "Advance") == [f"Advance {name} canary weight 50"]
    assert await rollout.weights() == [100, 0]


async def _judged_by(rollout: Rollout, prometheus: Handler) -> None:
    async with Listener(prometheus) as listener:
        await _rolled_back(rollout, canary(metrics=[SUCCESS], spec={"metricsServer": listener.url}))


async def _never(request: web.BaseRequest) -> web.StreamResponse:
    await request.read()
    await asyncio.Event().wait()
    raise AssertionError


async def _garbage(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="<html>welcome</html>")


def _template(**provider: Any) -> dict[str, Any]:
    found = manifest("metric-template")
    found["metadata"]["name"] = "mine"
    found["spec"] = {"provider": {"type": "prometheus", "address": PROMETHEUS, **provider}, "query": "vector(1)"}
    return found
