"""Analyzers scale alone: 1 → 4 → 1 in the middle of 50 rollouts, against a Prometheus that takes a second a query."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import crowd, installed
from sandbox.controlplane.api import Json
from sandbox.crowd import Member, Oracle
from sandbox.scene import Scene, opened
from sandbox.stage import Options

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

ROLLOUTS = 50
WINDOW = 20.0  # seconds over which verdicts are counted
_PODS = f"/api/v1/namespaces/{installed.NAMESPACE}/pods"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def oracle() -> AsyncIterator[Oracle]:
    async with Oracle() as oracle:
        yield oracle


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, oracle: Oracle) -> AsyncIterator[Scene]:
    settings = {
        "SERINUS_METRICS_SERVER": oracle.url,
        "SERINUS_DRAIN_SECONDS": "1",
        "SERINUS_ANALYZER_CONCURRENCY": "1",  # so that one replica is too few for fifty rollouts
    }
    async with opened(tmp_path_factory.mktemp("scaling"), Options(settings=settings)) as scene:
        yield scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def members(scene: Scene) -> list[Member]:
    return await crowd.gathered(scene.stage.api, ROLLOUTS)


async def test_analyzers_scale_alone(scene: Scene, oracle: Oracle, members: list[Member]) -> None:
    oracle.delay, before = 1.0, _all_verdicts(scene)
    await crowd.each(members, lambda member: member.release(scene.stage.api, "app:2"))
    others = await _restarts(scene, but="analyzer")
    async with asyncio.timeout(60):
        while _all_verdicts(scene) < before + 5:  # the first steps come due an interval after the releases
            await asyncio.sleep(0.1)

    alone = await _judged(scene, WINDOW)
    await scene.scale(4, "analyzer")
    together = await _judged(scene, WINDOW)
    killed = next(iter(scene.runner.containers("serinus-analyzer")))
    killed.process.kill()
    after_death = await _judged(scene, WINDOW)
    await scene.scale(1, "analyzer")
    async with asyncio.timeout(60):
        while len(scene.runner.containers("serinus-analyzer")) > 1:  # the kubelet hasn't told all others to leave yet
            await asyncio.sleep(0.05)
    again = await _judged(scene, WINDOW)
    print(f"verdicts in {WINDOW:.0f} s: {alone.total()} by one, {together.total()} by four, {dict(together)}; ")
    print(f"with one of them killed {after_death.total()}, by one again {again.total()}")

    assert together.total() >= 3 * alone.total()
    assert len(together) == 4, "all replicas have a share"
    assert min(together.values()) >= together.total() / 8
    assert all(count == 1 for count in sorted(again.values())[:-1]), "who leaves may finish what it has in hand"
    assert await _restarts(scene, but="analyzer") == others, "nothing else restarts"
    _each_tick_is_judged_once(scene)


async def _judged(scene: Scene, seconds: float) -> Counter[str]:
    """Verdicts on steps within the next so many seconds, by the replica that judged."""
    known = {path: len(lines) for path, lines in _analyses(scene).items()}
    await asyncio.sleep(seconds)
    found = {path: len(lines) - known.get(path, 0) for path, lines in _analyses(scene).items()}
    return Counter({path: count for path, count in found.items() if count})


def _analyses(scene: Scene) -> dict[str, list[Json]]:
    return {
        pod: [line for line in lines if line["msg"].startswith("judged analysis")]
        for pod, lines in scene.logs_by_pod("analyzer").items()
    }


def _all_verdicts(scene: Scene) -> int:
    return sum(map(len, _analyses(scene).values()))


async def _restarts(scene: Scene, *, but: str) -> dict[str, int]:
    found = await scene.stage.api.get(_PODS)
    return {
        pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in found["items"]
        if f"serinus-{but}" not in pod["metadata"]["name"]
    }


def _each_tick_is_judged_once(scene: Scene) -> None:
    """But for the one that the killed replica may have had in hand."""
    judged = Counter(line["cause"] for lines in _analyses(scene).values() for line in lines)
    assert sum(count - 1 for count in judged.values()) <= 1
