"""Processes die at random moments of many rollouts, again and again; then the API server does, and the bus loses its disk.

What was told is compared in three places that know nothing of each other: the public stream, Kubernetes Events and
the receiver that stands for Slack. The bus is somebody's own: the installation is that of `k8s/overlays/own-nats`.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable
from itertools import pairwise

import pytest
import pytest_asyncio

from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from sandbox.receiver import Post
from sandbox.scene import Scene, opened
from sandbox.stage import SLACK, Options
from tests.e2e import overlays
from tests.e2e.rollouts import PATIENCE, Rollout, analysis, looking_back
from tests.e2e.short import GATE, NEW, applied, beginning, canary, told

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

KILLS = 54
PAUSE = 3.0  # seconds between kills: about twice what a service needs to come back
SEED = 20261125
NAMESPACES = ("chaos-a", "chaos-b", "chaos-c", "chaos-d")
GOOD, BAD = "stefanprodan/podinfo:6.0.{}", "stefanprodan/podinfo:6.9.{}"
SERVICES = ("watcher", "router", "analyzer", "notifier")
TOLD_TO_PEOPLE = ("Initialization done!", "New revision detected! Scaling up", "Promotion completed!", "Rolling back")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    options = Options(
        behaviours={BAD.format(number): Behaviour(fail_ratio=0.5) for number in range(40)},
        settings={
            "SLACK_URL": f"http://{SLACK}/hook",
            "SERINUS_SLACK_CHANNEL": "general",
            "SERINUS_DRAIN_SECONDS": "2",
        },
    )
    async with opened(tmp_path_factory.mktemp("chaos"), options, credentials=overlays.own_nats) as scene:
        yield scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rollouts(scene: Scene) -> list[Rollout]:
    """Four canaries at rest, with visitors. Two steps, and three failures are enough."""
    found = [Rollout(scene, namespace) for namespace in NAMESPACES]
    await asyncio.gather(*(_prepared(rollout) for rollout in found))
    return found


async def _prepared(rollout: Rollout) -> None:
    def edit(canary: Json) -> None:
        analysis(canary, maxWeight=20, threshold=3, webhooks=[])
        looking_back(canary, 20)

    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply("deployment", "route", "canary", edit=edit)
    await rollout.initialized()
    load = f"hey -z 20m -q 5 -c 1 -host {rollout.namespace}.example.com http://apisix-gateway.apisix/api/info"
    await rollout.visited(load)


async def _kill(scene: Scene, victim: str) -> None:
    if victim == "nats":
        scene.stage.nats.kill()
        await scene.stage.nats.start()
        return
    for service in SERVICES if victim == "all" else (victim,):
        for container in scene.runner.containers(f"serinus-{service}"):
            container.process.kill()


async def _releases(rollout: Rollout, stop: asyncio.Event) -> list[tuple[str, Json]]:
    """One release after the other, every third of them a bad one; answers (image, the Canary at its end)."""
    ended, number = [], 0
    while not stop.is_set():
        number += 1
        bad = number % 3 == 0
        await rollout.allow(3 if bad else 1000)
        image = (BAD if bad else GOOD).format(number)
        await rollout.release(image)
        ended.append((image, await rollout.over()))
    return ended


@pytest.mark.timeout(1800)
async def test_deaths_at_random_moments_change_nothing(scene: Scene, rollouts: list[Rollout]) -> None:
    chance, stop = random.Random(SEED), asyncio.Event()
    going = [asyncio.create_task(_releases(rollout, stop)) for rollout in rollouts]
    killed: Counter[str] = Counter()
    for _ in range(KILLS):
        await asyncio.sleep(PAUSE * chance.uniform(0.5, 1.5))  # the moments are what is random here
        victim = chance.choice((*SERVICES, *SERVICES, "all", "nats"))
        await _kill(scene, victim)
        killed[victim] += 1
        for task in going:
            if task.done():
                task.result()
    stop.set()
    ends = await asyncio.gather(*going)
    print(f"killed {dict(killed)}; rollouts that ended meanwhile: {[len(each) for each in ends]}")

    assert sum(killed.values()) == KILLS
    for rollout, ended in zip(rollouts, ends, strict=True):
        wrong = [
            f"{rollout.namespace}: {image} ended {canary['status']['phase']}"
            for image, canary in ended
            if canary["status"]["phase"] != ("Failed" if ":6.9." in image else "Succeeded")
        ]
        assert wrong == []
        assert await rollout.weights() == [100, 0]
    await _everything_was_told_once(scene, rollouts)


async def _everything_was_told_once(scene: Scene, rollouts: Iterable[Rollout]) -> None:
    for rollout in rollouts:
        last = (await scene.stage.api.get(rollout.canary))["status"]["serinus"]["seq"]
        events = await scene.listener.all(last, rollout.namespace)
        assert [event["seq"] for event in events] == list(range(1, last + 1)), "none is lost, none is doubled"
        _no_step_is_skipped_or_doubled(events)
        assert await _events(scene, rollout, last) == Counter(event["message"] for event in events)
    await _alerts_repeat_only_when_marked(scene, rollouts)


def _no_step_is_skipped_or_doubled(events: list[Json]) -> None:
    weights: list[int] = []
    for event in events:
        if event["type"] == "revision-detected" or event["type"] == "restarted":
            weights = []
        if event["type"] == "advanced" and "canary weight" in event["message"]:
            weights.append(event["weight"])
            assert weights == [10, 20][: len(weights)], event
    numbered = [event["at"] for event in events]
    assert all(before <= after for before, after in pairwise(numbered))


async def _events(scene: Scene, rollout: Rollout, last: int) -> Counter[str]:
    """What `kubectl describe` counts, once the notifier has caught up."""
    path = f"/api/v1/namespaces/{rollout.namespace}/events"

    def counted(found: Json) -> Counter[str]:
        return Counter({
            each["message"]: each["count"] for each in found["items"] if each["involvedObject"]["kind"] == "Canary"
        })  # fmt: skip

    found = await scene.stage.api.until(path, lambda found: counted(found).total() >= last)
    return counted(found)


async def _alerts_repeat_only_when_marked(scene: Scene, rollouts: Iterable[Rollout]) -> None:
    for rollout in rollouts:
        told = [text for text in rollout.texts() if text.startswith(TOLD_TO_PEOPLE)]
        async with asyncio.timeout(PATIENCE):  # alerts and Kubernetes Events don't wait for each other
            while len(_sent(scene, rollout)) < len(told):
                await asyncio.sleep(0.2)
        sent = _sent(scene, rollout)
        assert len(sent) == len(told), (sorted(sent), told)
        for posts in sent.values():
            unmarked = [post for post in posts if "(repeated)" not in post.json["attachments"][0]["text"]]
            assert len(unmarked) <= 1, "a second one must say that it's a repetition"


def _sent(scene: Scene, rollout: Rollout) -> dict[str, list[Post]]:
    """What Slack was told of this canary, by the event."""
    found: defaultdict[str, list[Post]] = defaultdict(list)
    for post in scene.stage.slack.posts:
        if post.json["attachments"][0]["author_name"] == f"podinfo.{rollout.namespace}":
            found[post.headers["Serinus-Event-Id"]].append(post)
    return found


async def test_an_api_server_that_dies_in_the_middle_costs_no_step(scene: Scene) -> None:
    rollout = Rollout(scene, "api-server")
    await applied(rollout, canary(stepWeight=25, webhooks=[GATE]))
    await rollout.initialized()
    await rollout.release(NEW)
    await rollout.reached(25)

    scene.plane.kill_apiserver()
    await scene.plane.start_apiserver()

    rollout.open_gate()
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    name = f"podinfo.{rollout.namespace}"
    assert beginning(rollout, "Advance") == [f"Advance {name} canary weight {weight}" for weight in (25, 50)]
    await told(rollout, f"Promotion completed! Scaling down {name}", "Normal")
    events = scene.listener.of(rollout.namespace)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


async def test_a_bus_that_loses_its_disk_in_the_middle_loses_no_step(scene: Scene, rollouts: list[Rollout]) -> None:
    """Nobody touches anything: the bootstrap makes the streams again, the sweep arms the ticks again."""
    for rollout in rollouts:
        await scene.stage.api.patch(rollout.canary, {"spec": {"analysis": {"webhooks": [GATE]}}})
        await rollout.allow(1000)
    await asyncio.gather(*(rollout.release(GOOD.format(90)) for rollout in rollouts))
    await asyncio.gather(*(rollout.reached(10) for rollout in rollouts))
    transitions = [await rollout.transition() for rollout in rollouts]
    began = asyncio.get_running_loop().time()

    scene.stage.nats.kill()
    scene.stage.nats.wipe()
    await scene.stage.nats.start()
    for rollout in rollouts:
        rollout.open_gate()

    for rollout, before in zip(rollouts, transitions, strict=True):
        await rollout.gone_on(before)
        print(f"{rollout.namespace} went on {asyncio.get_running_loop().time() - began:.1f} s after the disk was lost")
    for rollout in rollouts:
        canary = await rollout.over(heard=False)  # the stream that it was told on is another one
        assert canary["status"]["phase"] == "Succeeded"
        seen = [
            event["message"]
            for transition in canary["status"]["serinus"]["transitions"]
            if transition["seq"] > 0
            for event in transition["events"]
            if "canary weight" in event["message"]
        ]
        assert seen[-2:] == [f"Advance podinfo.{rollout.namespace} canary weight {weight}" for weight in (10, 20)]
