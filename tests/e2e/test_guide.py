"""Flagger's APISIX guide on the real API server, with kubectl, Serinus installed from `k8s/`, RBAC enforced.

All variants play at the same time, each in a namespace of its own; `test` has the guide's manifests verbatim. The
tests wait for the play that they look at.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from sandbox.gateway import controller
from sandbox.gateway.server import METRICS_PATH, Gateway
from sandbox.prometheus import Target
from sandbox.scene import Scene, opened
from sandbox.stage import Options
from tests.e2e.rollouts import Rollout, analysis, manifest, renamed
from tests.guide.transcript import differences, transcript, unknown

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

GOOD, BAD = "stefanprodan/podinfo:6.0.1", "stefanprodan/podinfo:6.0.2"
BEHAVIOURS = {
    "stefanprodan/podinfo:6.1.0": Behaviour(not_found_ratio=0.1),
    "stefanprodan/podinfo:6.1.1": Behaviour(not_found_ratio=1.0),
    "stefanprodan/podinfo:6.2.0": Behaviour(latency_seconds=0.8),
    "stefanprodan/podinfo:6.3.0": Behaviour(fail_ratio=0.18),
}
CACHING = "apisix-gateway.caching"
ERRORS = "hey -z 4m -c 5 -q 5 -host app.example.com http://apisix-gateway.apisix/status/500"
NOT_FOUND = {
    "name": "404s percentage",
    "templateRef": {"name": "not-found-percentage"},
    "thresholdRange": {"max": 5},
    "interval": "1m",
}
SUCCESS = {"name": "request-success-rate", "thresholdRange": {"min": 95}, "interval": "1m"}


@dataclass(slots=True)
class Played:
    """What a play left for the tests to look at."""

    rollout: Rollout
    canary: Json = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def phase(self) -> str:
        return str(self.canary["status"]["phase"])


Plays = dict[str, "asyncio.Task[Played]"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """With a second gateway beside the guide's: one whose metrics page is rendered every 15 s, as from APISIX 3.14 on."""
    async with (
        opened(tmp_path_factory.mktemp("guide"), Options(behaviours=dict(BEHAVIOURS))) as scene,
        Gateway(scene.stage.network, version="3.18.0", host=CACHING) as caching,
    ):
        ports = (scene.stage.gateway.metrics_port, caching.metrics_port)
        scene.stage.prometheus.scrape(Target("apisix", f"127.0.0.1:{port}", METRICS_PATH) for port in ports)
        following = asyncio.create_task(controller.follow(scene.stage.api, caching))
        yield scene
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plays(scene: Scene) -> AsyncIterator[Plays]:
    """Every play, begun; a test that awaits one raises what went wrong in it."""
    found: Plays = {"test": asyncio.create_task(_verbatim(scene))}
    variants: dict[str, tuple[Callable[[Json], None], str, tuple[str, ...]]] = {
        "inverted": (_with(NOT_FOUND), GOOD, ("metric-template",)),
        "corrected": (_with(NOT_FOUND), GOOD, ("metric-template-corrected",)),
        "some-missing": (_with(NOT_FOUND), "stefanprodan/podinfo:6.1.0", ("metric-template-corrected",)),
        "all-missing": (_with(NOT_FOUND), "stefanprodan/podinfo:6.1.1", ("metric-template-corrected",)),
        "slow-answers": (_as_it_is, "stefanprodan/podinfo:6.2.0", ()),
        "eighteen": (_with(SUCCESS), "stefanprodan/podinfo:6.3.0", ()),
    }
    for namespace, (edit, image, extra) in variants.items():
        found[namespace] = asyncio.create_task(_variant(Rollout(scene, namespace), edit, image, extra))
    found["cached"] = asyncio.create_task(_behind_the_caching_gateway(Rollout(scene, "cached")))
    found["hpa"] = asyncio.create_task(_scaled(Rollout(scene, "hpa")))
    yield found
    for task in found.values():
        task.cancel()
    await asyncio.gather(*found.values(), return_exceptions=True)


def _as_it_is(canary: Json) -> None:
    """But shorter: two steps, and three failures are enough."""
    analysis(canary, maxWeight=20, threshold=3)


def _with(metric: Json) -> Callable[[Json], None]:
    def edit(canary: Json) -> None:
        _as_it_is(canary)
        analysis(canary, metrics=[metric])

    return edit


async def _verbatim(scene: Scene) -> Played:
    """Install, promotion, a second canary for the table, rollback under 500s: as the guide has it."""
    played = Played(Rollout(scene, "test"))
    rollout, second = played.rollout, Rollout(scene, "test", "podinfo-2")
    await scene.plane.kubectl("create", "ns", "test")
    await rollout.apply("deployment", "hpa", "route", "canary")
    await rollout.initialized()
    played.seen["generated"] = (await rollout.kubectl("get", "deploy,hpa,svc,apisixroute,canary", "-o", "name")).split()
    played.seen["selector"] = await rollout.kubectl("get", "svc", "podinfo", "-o", "jsonpath={.spec.selector.app}")
    await second.apply(
        documents=tuple(renamed(manifest(name), "podinfo-2") for name in ("deployment", "route", "canary"))
    )
    await second.initialized()
    await rollout.release(GOOD)
    waiting = asyncio.create_task(
        rollout.kubectl("wait", "canary/podinfo", "--for=condition=promoted", "--timeout=240s")
    )
    played.canary = await rollout.over()
    played.seen |= {
        "waited": await waiting,
        "describe": await rollout.kubectl("describe", "canary/podinfo"),
        "promoted": await rollout.image(),
        "weights": await rollout.weights(),
    }
    await second.release(GOOD)
    await scene.listener.until("Advance podinfo-2.test canary weight 10", "test", "podinfo-2")
    played.seen["table"] = await scene.plane.kubectl("get", "canaries", "-n", "test")
    played.seen["before"] = len(rollout.texts())
    await rollout.release(BAD)
    await rollout.visited(ERRORS)
    played.seen["failed"] = await rollout.over()
    played.seen |= {"kept": await rollout.image(), "weights after": await rollout.weights()}
    return played


async def _variant(rollout: Rollout, edit: Callable[[Json], None], image: str, extra: tuple[str, ...]) -> Played:
    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply(*extra, "deployment", "route", "canary", edit=edit)
    await rollout.initialized()
    visitors = f"hey -z 5m -q 10 -c 1 -host {rollout.namespace}.example.com http://apisix-gateway.apisix/api/info"
    await rollout.visited(visitors)
    await rollout.release(image)
    played = Played(rollout)
    if rollout.namespace == "eighteen":
        await rollout.scene.listener.until("Advance podinfo.eighteen canary weight 10", "eighteen")
        played.seen["whole"] = await _whole_route(rollout)
    played.canary = await rollout.over()
    return played


async def _behind_the_caching_gateway(rollout: Rollout) -> Played:
    """The guide at its own interval of 10 s, where numbers are up to 15 s old."""

    def edit(canary: Json) -> None:
        hook = canary["spec"]["analysis"]["webhooks"][0]
        hook["metadata"]["cmd"] = hook["metadata"]["cmd"].replace("apisix-gateway.apisix", CACHING)

    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply("deployment", "route", "canary", edit=edit)
    await rollout.initialized()
    await rollout.visited(f"hey -z 5m -q 10 -c 1 -host {rollout.namespace}.example.com http://{CACHING}/api/info")
    await rollout.release(GOOD)
    return Played(rollout, await rollout.over())


async def _scaled(rollout: Rollout) -> Played:
    """The guide's list shows an autoscaler for the primary; its manifests lack the reference that makes one."""

    def edit(canary: Json) -> None:
        canary["spec"]["autoscalerRef"] = {
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo",
        }  # fmt: skip

    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply("deployment", "hpa", "route", "canary", edit=edit)
    played = Played(rollout, await rollout.initialized())
    played.seen["generated"] = (await rollout.kubectl("get", "deploy,hpa,svc,apisixroute", "-o", "name")).split()
    return played


async def _whole_route(rollout: Rollout) -> float:
    """Success of the route as a whole after twenty seconds at this weight, as Flagger would measure it."""
    query = (
        'sum(increase(apisix_http_status{route=~"eighteen_.+-canary_.+",code!~"5.."}[20s])) / '
        'sum(increase(apisix_http_status{route=~"eighteen_.+-canary_.+"}[20s])) * 100'
    )
    await rollout.scene.stage.api.until(rollout.canary, lambda found: found["status"]["failedChecks"] >= 2, timeout=60)
    url = f"{rollout.scene.stage.prometheus.url}/api/v1/query"
    async with aiohttp.ClientSession() as session, session.get(url, params={"query": query}) as answer:
        return float((await answer.json())["data"]["result"][0]["value"][1])


async def test_the_generated_objects_are_the_guides(plays: Plays) -> None:
    """Except the autoscaler that the guide's own manifests don't ask for."""
    played = await plays["test"]

    assert sorted(played.seen["generated"]) == sorted([
        "deployment.apps/podinfo",
        "horizontalpodautoscaler.autoscaling/podinfo",
        "apisixroute.apisix.apache.org/podinfo",
        "canary.flagger.app/podinfo",
        "deployment.apps/podinfo-primary",
        "service/podinfo",
        "service/podinfo-canary",
        "service/podinfo-primary",
        "apisixroute.apisix.apache.org/podinfo-podinfo-canary",
    ])  # fmt: skip
    assert played.seen["selector"] == "podinfo-primary"
    assert any("spec.autoscalerRef" in text for text in played.rollout.texts())


async def test_with_the_reference_the_list_is_exactly_the_guides(plays: Plays) -> None:
    played = await plays["hpa"]

    assert sorted(played.seen["generated"]) == sorted([
        "deployment.apps/podinfo",
        "horizontalpodautoscaler.autoscaling/podinfo",
        "apisixroute.apisix.apache.org/podinfo",
        "deployment.apps/podinfo-primary",
        "horizontalpodautoscaler.autoscaling/podinfo-primary",
        "service/podinfo",
        "service/podinfo-canary",
        "service/podinfo-primary",
        "apisixroute.apisix.apache.org/podinfo-podinfo-canary",
    ])  # fmt: skip


async def test_the_promotion_is_told_as_in_the_guide(plays: Plays) -> None:
    played = await plays["test"]
    told = played.rollout.texts()[: played.seen["before"]]

    assert differences(transcript("promotion"), told) == []
    assert (played.phase, played.seen["promoted"], played.seen["weights"]) == ("Succeeded", GOOD, [100, 0])
    assert "condition met" in played.seen["waited"]


async def test_describe_shows_status_and_events(plays: Plays) -> None:
    described = (await plays["test"]).seen["describe"]

    for pattern in (
        r"Canary Weight:\s+0\n",
        r"Message:\s+Canary analysis completed successfully, promotion finished\.",
        r"Reason:\s+Succeeded",
        r"Status:\s+True",
        r"Type:\s+Promoted",
        r"Phase:\s+Succeeded",
        r"Normal\s+Synced\s+\S+\s+flagger\s+Promotion completed! Scaling down podinfo\.test",
    ):
        assert re.search(pattern, described), pattern
    shown = re.findall(r"(?:Normal|Warning)\s+Synced\s+\S+(?: \(x\d+ over \S+\))?\s+flagger\s+(.+)", described)
    assert "Advance podinfo.test canary weight 30" in shown


async def test_two_canaries_show_as_in_the_guides_table(plays: Plays) -> None:
    header, *rows = (await plays["test"]).seen["table"].splitlines()

    assert header.split() == ["NAME", "STATUS", "WEIGHT", "LASTTRANSITIONTIME"]
    cells = {row.split()[0]: row.split()[1:3] for row in rows}
    assert cells == {"podinfo": ["Succeeded", "0"], "podinfo-2": ["Progressing", "10"]}


async def test_the_rollback_is_logged_as_in_the_guide(plays: Plays, scene: Scene) -> None:
    played = await plays["test"]
    status = played.seen["failed"]["status"]

    logged = [line["msg"] for line in scene.log("router") if line.get("canary") == "podinfo.test"]
    begun = max(index for index, text in enumerate(logged) if text == "New revision detected! Scaling up podinfo.test")

    assert differences(transcript("rollback"), logged[begun:]) == []
    assert (status["phase"], status["canaryWeight"]) == ("Failed", 0)
    assert status["conditions"][0]["status"] == "False"
    assert (played.seen["kept"], played.seen["weights after"]) == (GOOD, [100, 0])


@pytest.mark.parametrize(
    ("namespace", "phase"),
    [
        ("inverted", "Failed"),
        ("corrected", "Succeeded"),
        ("some-missing", "Failed"),
        ("all-missing", "Failed"),
        ("slow-answers", "Failed"),
        ("eighteen", "Failed"),
        ("cached", "Succeeded"),
    ],
)
async def test_the_variant_ends_as_it_should(plays: Plays, namespace: str, phase: str) -> None:
    assert (await plays[namespace]).phase == phase


async def test_numbers_that_are_merely_old_stop_nothing(plays: Plays) -> None:
    told = (await plays["cached"]).rollout.scene.listener.of("cached")

    assert [event["weight"] for event in told if event["type"] == "advanced"] == [10, 20, 30, 40, 50]
    assert not [event["message"] for event in told if event["type"] == "rolling-back"]


async def test_the_guides_template_reads_100_of_a_healthy_canary(plays: Plays) -> None:
    """Inverted as it is written: it yields the share of answers that are no 404."""
    texts = (await plays["inverted"]).rollout.texts()

    assert texts.count("Halt podinfo.inverted advancement 404s percentage 100.00 > 5") == 3


async def test_nothing_but_404s_is_a_number(plays: Plays) -> None:
    texts = (await plays["all-missing"]).rollout.texts()

    assert texts.count("Halt podinfo.all-missing advancement 404s percentage 100.00 > 5") == 3


async def test_a_canary_that_fails_18_percent_doesnt_hide_behind_the_primary(plays: Plays) -> None:
    played = await plays["eighteen"]
    rates = [
        float(rate) for text in played.rollout.texts() for rate in re.findall(r"success rate (\d+\.\d\d)% < 95%", text)
    ]

    assert played.seen["whole"] > 97, "at weight 10 the route as a whole looks fine"
    assert len(rates) == 3
    assert all(75 <= rate < 92 for rate in rates), rates
    assert max(each["weight"] for each in played.rollout.scene.listener.of("eighteen")) == 10


async def test_nobody_says_what_no_page_lists(plays: Plays, scene: Scene) -> None:
    finished = [await task for task in plays.values()]

    assert unknown(text for played in finished for text in played.rollout.texts()) == []


async def test_every_line_of_every_service_is_one_json_object_with_flaggers_keys(plays: Plays, scene: Scene) -> None:
    await plays["test"]
    for service in ("bootstrap", "watcher", "analyzer", "router", "notifier"):
        lines = scene.log(service)
        assert lines, service
        assert all({"level", "ts", "msg"} <= line.keys() for line in lines), service


async def test_no_service_was_refused_anything(plays: Plays, scene: Scene) -> None:
    """Each runs under its own token: a right that is missing shows as a 403 or as a violation of NATS's permissions."""
    await plays["test"]
    bad = re.compile(r"HTTP 403|permissions violation|Authorization", re.IGNORECASE)
    complaints: list[str] = [
        line["msg"] for service in ("watcher", "analyzer", "router", "notifier") for line in scene.log(service)
        if bad.search(line["msg"])
    ]  # fmt: skip
    assert complaints == []
