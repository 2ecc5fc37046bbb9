"""Another version comes and goes in the middle of rollouts, one service after the other and all at once.

Going up and then down in the same order, each service is once newer and once older than each other one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from sandbox import installed
from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from sandbox.scene import Scene, opened
from sandbox.stage import Options
from tests.e2e import next_version
from tests.e2e.rollouts import Rollout, analysis

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

ORDER: Final = ("watcher", "analyzer", "router", "notifier")
NAMESPACES: Final = ("up-a", "up-b", "up-c")
GOOD, BAD = "stefanprodan/podinfo:6.0.{}", "stefanprodan/podinfo:6.9.{}"
TODAY, NEXT = "test", next_version.TAG
_APPS: Final = f"/apis/apps/v1/namespaces/{installed.NAMESPACE}/deployments"
_OVERLAY: Final = Path(__file__).parents[3] / "k8s" / "overlays" / "test"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("upgrade")
    options = Options(
        behaviours={BAD.format(number): Behaviour(fail_ratio=0.5) for number in range(40)},
        settings={"SERINUS_DRAIN_SECONDS": "1"},
    )
    async with opened(directory, options) as scene:
        scene.runner.images[f"serinus:{NEXT}"] = next_version.grown(directory / "next")
        yield scene


async def _prepared(rollout: Rollout) -> None:
    def edit(canary: Json) -> None:
        analysis(canary, interval="5s", maxWeight=30, threshold=3, webhooks=[])
        for metric in canary["spec"]["analysis"]["metrics"]:
            metric["interval"] = "20s"

    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply("deployment", "route", "canary", edit=edit)
    await rollout.initialized()
    load = f"hey -z 20m -q 10 -c 2 -host {rollout.namespace}.example.com http://apisix-gateway.apisix/api/info"
    await rollout.visited(load)


async def _releases(rollout: Rollout, stop: asyncio.Event) -> list[tuple[str, Json]]:
    """One release after the other, every third of them a bad one; answers (image, the Canary at its end)."""
    ended, number = [], 0
    while not stop.is_set():
        number += 1
        image = (BAD if number % 3 == 0 else GOOD).format(number)
        await rollout.release(image)
        ended.append((image, await rollout.over(heard=False)))
    return ended


async def _set(scene: Scene, service: str, tag: str) -> None:
    """`kubectl set image`, and wait for the new pod."""
    name = f"serinus-{service}"
    await scene.plane.kubectl("-n", installed.NAMESPACE, "set", "image", f"deployment/{name}", f"serinus=serinus:{tag}")
    await scene.stage.api.until(f"{_APPS}/{name}", installed.available(1), timeout=90)


async def _apply(scene: Scene, tag: str) -> None:
    """`kubectl apply -k` with another image: everything at once."""
    folder = scene.stage.directory / f"overlay-{tag}"
    folder.mkdir(exist_ok=True)
    images = f"images: [{{name: serinus, newTag: {tag}}}]\n"
    (folder / "kustomization.yaml").write_text(f"resources: [{_relative(folder)}]\n{images}")
    await scene.plane.kubectl("apply", "-k", str(folder))
    for name in installed.DEPLOYMENTS:
        await scene.stage.api.until(f"{_APPS}/{name}", installed.available(1), timeout=90)


def _relative(folder: Path) -> Path:
    """kustomize takes no absolute paths."""
    return Path(*[".."] * (len(folder.parts) - 1), *_OVERLAY.parts[1:])


async def _schemas(scene: Scene) -> set[int]:
    found = [await scene.stage.api.get(Rollout(scene, namespace).canary) for namespace in NAMESPACES]
    assert {each["status"]["serinus"]["grown"]["by"] for each in found} == {"next"}, (
        "what older versions don't know stays"
    )
    return {each["status"]["serinus"]["schema"] for each in found}


@pytest.mark.timeout(600)
async def test_versions_come_and_go_and_every_rollout_ends_as_it_should(scene: Scene) -> None:
    rollouts, stop = [Rollout(scene, namespace) for namespace in NAMESPACES], asyncio.Event()
    await asyncio.gather(*(_prepared(rollout) for rollout in rollouts))
    going = [asyncio.create_task(_releases(rollout, stop)) for rollout in rollouts]
    loop = asyncio.get_running_loop()
    for tag in (NEXT, TODAY):
        for service in ORDER:
            began = loop.time()
            await _set(scene, service, tag)
            print(f"{service}:{tag} after {loop.time() - began:.1f} s")
            await asyncio.sleep(2.0)  # the moments are what is random here
            for task in going:
                if task.done():
                    task.result()
    for tag in (NEXT, TODAY):
        await _apply(scene, tag)
    stop.set()
    ends = await asyncio.gather(*going)
    print(f"rollouts that ended meanwhile: {[len(each) for each in ends]}")
    for rollout, ended in zip(rollouts, ends, strict=True):
        assert [(image, canary["status"]["phase"]) for image, canary in ended] == [
            (image, "Failed" if ":6.9." in image else "Succeeded") for image, _ in ended
        ]
        assert await rollout.weights() == [100, 0]
        await _everything_was_told_once(rollout)
    assert await _schemas(scene) == {1}
    _nothing_was_given_up(scene)
    assert _put_back(scene, "router"), "the watcher was newer than the router for a while"


async def _everything_was_told_once(rollout: Rollout) -> None:
    scene = rollout.scene
    last = (await scene.stage.api.get(rollout.canary))["status"]["serinus"]["seq"]
    events = await scene.listener.all(last, rollout.namespace)
    assert [event["seq"] for event in events] == list(range(1, last + 1)), "none is lost, none is doubled"
    weights: list[int] = []
    for event in events:
        if event["type"] in ("revision-detected", "restarted"):
            weights = []
        if event["type"] == "advanced" and "canary weight" in event["message"]:
            weights.append(event["weight"])
            assert weights == [10, 20, 30][: len(weights)], event
    assert all(before["at"] <= after["at"] for before, after in pairwise(events))

    def counted(found: Json) -> Counter[str]:
        return Counter({
            each["message"]: each["count"] for each in found["items"] if each["involvedObject"]["kind"] == "Canary"
        })  # fmt: skip

    path = f"/api/v1/namespaces/{rollout.namespace}/events"
    found = await scene.stage.api.until(path, lambda found: counted(found).total() >= last, timeout=90)
    assert counted(found) == Counter(event["message"] for event in events)


def _nothing_was_given_up(scene: Scene) -> None:
    bad = ("given up", "the handler failed")
    told = [(service, line) for service in ORDER for line in scene.log(service) if line["msg"].startswith(bad)]
    assert told == []


def _put_back(scene: Scene, service: str) -> list[str]:
    """What an older replica left to a newer one."""
    return [line["msg"] for line in scene.log(service) if "is newer than" in line["msg"]]
