"""The bus is gone in the night: what people see, what the routers do about it on their own, and that the pages for it are
right. On the real API server, two replicas of the router, Serinus installed from `k8s/`.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from nats import connect

from bench.scenarios.scenario import watched, wrong
from sandbox import installed
from sandbox.controlplane.api import Json
from sandbox.scene import Scene, opened
from sandbox.stage import SLACK, Options
from shared.bus import accounts
from shared.wire import subjects
from tests.e2e.rollouts import PATIENCE, Rollout
from tests.e2e.rough.operating import OnDuty, sections
from tests.e2e.rough.test_docs import ROOT
from tests.e2e.short import GATE, NEW, SETTINGS, applied, canary, phase, told
from tests.integration.bus_stage import until

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

RATE = {"name": "request-success-rate", "interval": "1m", "thresholdRange": {"min": 99}}
AFTER = 40
"""Seconds: enough for all that people do before the routers act on their own."""
NIGHT = {
    "SERINUS_BUS_LOST_POLICY": "rollback",
    "SERINUS_BUS_LOST_AFTER": str(AFTER),
    "SLACK_URL": f"http://{SLACK}/revoked",
    "SERINUS_SLACK_CHANNEL": "general",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with opened(tmp_path_factory.mktemp("night"), Options(settings=SETTINGS | NIGHT)) as scene:
        scene.stage.slack.status = 404
        yield scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rollouts(scene: Scene) -> list[Rollout]:
    """Two canaries that wait for a person, at half of the traffic; and one whose Prometheus is down."""
    await scene.scale(2, "router")
    found = [Rollout(scene, "test"), Rollout(scene, "night")]
    blind = canary(metrics=[RATE], threshold=100, spec={"metricsServer": "http://127.0.0.1:9"})
    await asyncio.gather(
        *(_at_half(each, canary(webhooks=[GATE]), "WaitingPromotion") for each in found),
        _at_half(Rollout(scene, "prometheus-down"), blind, "Progressing"),
    )
    return found


async def _at_half(rollout: Rollout, document: Json, until: str) -> None:
    await applied(rollout, document)
    await rollout.initialized()
    await rollout.release(NEW)
    await phase(rollout, until, weight=50)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def on_duty(scene: Scene) -> OnDuty:
    return OnDuty(scene)


def _said(rollout: Rollout, text: str) -> str:
    return text.replace("N.NS", f"{rollout.name}.{rollout.namespace}")


HOLDING = "Holding N.NS: cut off from the bus"
RESUMING = "Resuming N.NS: no longer cut off from the bus"
ROLLING_BACK = "Rolling back N.NS cut off from the bus"


async def test_the_page_by_symptom(scene: Scene, rollouts: list[Rollout], on_duty: OnDuty) -> None:
    """All but the bus and a deletion, which have their own nights below."""
    await _garbage(scene)
    await told(Rollout(scene, "test"), "Halt podinfo.test advancement waiting for promotion approval hook")
    for heading in (
        "Nothing moves", "The disk of NATS is full", "The API server refuses", "Dead letters",
        "Ticks are overdue", "The CRDs are incompatible", "An alert does not arrive", "Prometheus is down",
    ):  # fmt: skip
        await on_duty.works_through(heading)


async def _garbage(scene: Scene) -> None:
    """Somebody writes into our streams; answers when it was given up."""
    user = "router"
    nats = await connect(
        scene.stage.nats.url,
        user=user,
        password=scene.stage.nats.credentials[user],
        inbox_prefix=accounts.inbox(user).encode(),
    )
    await nats.jetstream().publish(subjects.notice("test", "podinfo"), b"{")
    await nats.close()
    await scene.logged("notifier", beginning="given up NOTICE")


@pytest_asyncio.fixture(loop_scope="module")
async def visitors(rollouts: list[Rollout]) -> AsyncIterator[None]:
    """Of the two that stand at half, for as long as the test takes: each gets an answer."""
    async with watched(*rollouts) as watch:
        watch.begin()
        yield
        await watch.more()
    assert wrong([("night", watch.outcome())]) == []


@pytest.mark.usefixtures("visitors")
async def test_everybody_hears_in_time_and_no_weight_moves(scene: Scene, rollouts: list[Rollout]) -> None:
    scene.stage.nats.kill()
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(told(each, _said(each, HOLDING)) for each in rollouts))
    print(f"all were told {asyncio.get_running_loop().time() - began:.1f} s after the bus was gone")
    for rollout in rollouts:
        found = await scene.stage.api.get(rollout.canary)
        [condition] = found["status"]["conditions"]
        assert condition["message"] == "Waiting for approval. On hold: cut off from the bus."
        assert (found["status"]["phase"], await rollout.weights()) == ("WaitingPromotion", [50, 50])

    await scene.stage.nats.start()
    await asyncio.gather(*(told(each, _said(each, RESUMING), "Normal") for each in rollouts))
    for rollout in rollouts:
        assert await rollout.weights() == [50, 50]
        await _everything_was_told_once(rollout)


@pytest.mark.usefixtures("visitors")
async def test_a_bus_that_only_holds_its_breath_is_gone_too_and_the_rollback_needs_none(
    scene: Scene, rollouts: list[Rollout], on_duty: OnDuty
) -> None:
    """One canary is rolled back by a person, as the page has it, and the other by the routers."""
    before = [await _holds(each) for each in rollouts]
    scene.stage.nats.signal(signal.SIGSTOP)
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(_held_again(each, count) for each, count in zip(rollouts, before, strict=True)))
    assert [await each.weights() for each in rollouts] == [[50, 50]] * 2
    rollout = rollouts[1]
    held = (await scene.stage.api.get(rollout.canary))["status"]["serinus"]["hold"]
    await on_duty.works_through("The bus is down")
    found = await phase(rollout, "Failed", weight=0, timeout=AFTER + PATIENCE)
    ended = _at(found, _said(rollout, ROLLING_BACK))
    assert ended - datetime.fromisoformat(held["since"]) >= timedelta(seconds=AFTER), "not with the other one"
    await told(rollout, _said(rollout, ROLLING_BACK))
    assert [await each.weights() for each in rollouts] == [[100, 0]] * 2
    took = asyncio.get_running_loop().time() - began
    print(f"rolled back {took:.1f} s after the bus was gone; the setting was {AFTER} s")
    assert took >= AFTER

    scene.stage.nats.signal(signal.SIGCONT)
    for rollout in rollouts:
        await rollout.over()
        assert (await scene.stage.api.get(rollout.target))["spec"]["replicas"] == 0
        await _everything_was_told_once(rollout)


async def test_a_finalizer_that_nobody_takes_off(scene: Scene, rollouts: list[Rollout], on_duty: OnDuty) -> None:
    rollout = rollouts[0]
    await rollout.kubectl("patch", "canary", "podinfo", "--type=merge", "-p", '{"spec":{"revertOnDeletion":true}}')
    await scene.stage.api.until(rollout.canary, lambda found: found["metadata"].get("finalizers"))
    await scene.plane.kubectl("-n", installed.NAMESPACE, "scale", "deployment/serinus-router", "--replicas=0")
    # Not its pods alone: a process that is about to end could still take the finalizer off.
    await until(lambda: scene.runner.gone("serinus-router"), within=60)
    await rollout.kubectl("delete", "canary", "podinfo", "--wait=false")
    await on_duty.works_through("A finalizer is stuck")
    assert sorted(on_duty.did) == sorted(sections()), "no section is left out"


async def test_the_rules_come_with_the_component(scene: Scene, tmp_path: Path) -> None:
    content = {"resources": [_from(tmp_path, "overlays/apisix")], "components": [_from(tmp_path, "alerts")]}
    (tmp_path / "kustomization.yaml").write_text(json.dumps(content))
    built = yaml.safe_load_all(await scene.plane.kubectl("kustomize", str(tmp_path)))
    [config] = [each for each in built if each["metadata"]["name"].startswith("flagger-prometheus-")]
    assert set(config["data"]) == {"prometheus.yml", "serinus.rules.yaml"}


def _from(folder: Path, part: str) -> str:
    return os.path.relpath(ROOT / "k8s" / part, folder)


def _at(found: Json, message: str) -> datetime:
    """When this was decided."""
    transitions = found["status"]["serinus"]["transitions"]
    [at] = [each["at"] for each in transitions if message in [event["message"] for event in each["events"]]]
    return datetime.fromisoformat(at)


def _events(rollout: Rollout) -> str:
    return f"/api/v1/namespaces/{rollout.namespace}/events"


def _counted(found: Json) -> Counter[str]:
    """How often what was said of a Canary."""
    return Counter({
        each["message"]: each["count"] for each in found["items"] if each["involvedObject"]["kind"] == "Canary"
    })  # fmt: skip


async def _holds(rollout: Rollout) -> int:
    """How often it was held so far."""
    return _counted(await rollout.scene.stage.api.get(_events(rollout)))[_said(rollout, HOLDING)]


async def _held_again(rollout: Rollout, before: int) -> None:
    def again(found: Json) -> bool:
        return _counted(found)[_said(rollout, HOLDING)] > before

    await rollout.scene.stage.api.until(_events(rollout), again)


async def _everything_was_told_once(rollout: Rollout) -> None:
    """On the public stream in order, and as Kubernetes Events, by whomever."""
    scene = rollout.scene
    last = (await scene.stage.api.get(rollout.canary))["status"]["serinus"]["seq"]
    async with asyncio.timeout(PATIENCE), scene.listener.came:
        await scene.listener.came.wait_for(lambda: len(scene.listener.of(rollout.namespace)) >= last)
    assert [event["seq"] for event in scene.listener.of(rollout.namespace)] == list(range(1, last + 1))
    found = await scene.stage.api.until(_events(rollout), lambda found: _counted(found).total() >= last)
    assert _counted(found) == Counter(rollout.texts())
