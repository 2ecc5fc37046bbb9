"""Many canaries. What they cost the API server, counted in its audit log: at rest nothing, a step three writes. And
analyzers scale alone: 1 → 4 → 1 in the middle of 50 rollouts against a Prometheus that takes a second a query.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from sandbox import crowd, installed
from sandbox.controlplane.api import Json
from sandbox.crowd import Member, Oracle
from sandbox.scene import Scene, opened
from sandbox.stage import Options

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

CANARIES = 200
SECONDS = 120
ACCOUNTS = tuple(
    f"system:serviceaccount:apisix:serinus-{name}" for name in ("watcher", "analyzer", "router", "notifier")
)
_STEPS = 3
ROLLOUTS = 50
WINDOW = 20.0  # seconds over which verdicts are counted
_PODS = f"/api/v1/namespaces/{installed.NAMESPACE}/pods"
_EVENTS = f"/api/v1/namespaces/{crowd.NAMESPACE}/events"


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
    async with opened(tmp_path_factory.mktemp("crowd"), Options(settings=settings), audit_users=ACCOUNTS) as scene:
        yield scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def members(scene: Scene) -> list[Member]:
    return await crowd.gathered(scene.stage.api, CANARIES)


def _asked(scene: Scene, since: datetime) -> list[Json]:
    """The services' requests that came since this moment; watches end and begin anew by themselves, whatever happens. Not by
    their place in the log: what a request did is seen before its line is written."""
    return [
        entry
        for entry in scene.plane.audit()
        if entry["verb"] != "watch" and datetime.fromisoformat(entry["requestReceivedTimestamp"]) > since
    ]


async def _told(scene: Scene) -> None:
    """Wait until everything that happened so far stands in Kubernetes Events: the notifier is the last to ask for anything."""
    canaries = await scene.stage.api.get(f"/apis/flagger.app/v1beta1/namespaces/{crowd.NAMESPACE}/canaries")
    happened = sum(each["status"]["serinus"]["seq"] for each in canaries["items"])

    def all_of_it(found: Json) -> bool:
        about = [each for each in found["items"] if each["involvedObject"]["kind"] == "Canary"]
        return bool(sum(each["count"] for each in about) >= happened)

    await scene.stage.api.until(_EVENTS, all_of_it, timeout=120)


@pytest.mark.timeout(900)
async def test_canaries_at_rest_cost_nothing(scene: Scene, oracle: Oracle, members: list[Member]) -> None:
    assert len(members) == CANARIES
    await _told(scene)
    since, queries = datetime.now(UTC), oracle.queries
    await asyncio.sleep(SECONDS)  # the time is what is measured

    assert [
        f"{entry['user']['username']} {entry['verb']} {entry['requestURI']}" for entry in _asked(scene, since)
    ] == []
    assert oracle.queries == queries


@pytest.mark.timeout(300)
async def test_a_step_costs_a_route_a_status_and_an_event(scene: Scene, members: list[Member]) -> None:
    member, api = members[0], scene.stage.api
    await member.release(api, "app:2")
    await api.until(member.canary, lambda found: found["status"]["canaryWeight"] == 2, timeout=60)
    await scene.listener.until(f"Advance {member.name}.crowd canary weight 2", "crowd", member.name)
    told = f"Advance {member.name}.crowd canary weight {{}}"
    await api.until(_EVENTS, lambda found: _has(found, told.format(2)))
    since, event = datetime.now(UTC), ("serinus-notifier", "create", "events")
    await api.until(_EVENTS, lambda found: _has(found, told.format(2 + _STEPS)), timeout=60)

    async with asyncio.timeout(10):
        while (asked := Counter(_said(entry) for entry in _asked(scene, since)))[event] < _STEPS:
            await asyncio.sleep(0.05)

    assert asked == {
        ("serinus-router", "patch", "apisixroutes"): _STEPS,
        ("serinus-router", "patch", "canaries/status"): _STEPS,
        event: _STEPS,
    }


@pytest.mark.timeout(600)
async def test_analyzers_scale_alone(scene: Scene, oracle: Oracle, members: list[Member]) -> None:
    oracle.delay, before = 1.0, _all_verdicts(scene)
    await crowd.each(members[1 : 1 + ROLLOUTS], lambda member: member.release(scene.stage.api, "app:2"))
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


def _has(found: Json, message: str) -> bool:
    return any(event["message"] == message for event in found["items"])


def _said(entry: Json) -> tuple[str, str, str]:
    ref = entry["objectRef"]
    resource = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
    return entry["user"]["username"].rpartition(":")[2], entry["verb"], resource


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
