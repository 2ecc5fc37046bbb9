"""Many canaries. What they cost the API server, counted in its audit log: at rest nothing, a step three writes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

from sandbox import crowd
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
_EVENTS = f"/api/v1/namespaces/{crowd.NAMESPACE}/events"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def oracle() -> AsyncIterator[Oracle]:
    async with Oracle() as oracle:
        yield oracle


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, oracle: Oracle) -> AsyncIterator[Scene]:
    settings = {"SERINUS_METRICS_SERVER": oracle.url, "SERINUS_DRAIN_SECONDS": "1"}
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

    async with asyncio.timeout(120):
        while sum(each["count"] for each in await _events(scene, "involvedObject.kind=Canary")) < happened:
            await asyncio.sleep(2)  # it's a list of thousands


@pytest.mark.timeout(1800)
async def test_canaries_at_rest_cost_nothing(scene: Scene, oracle: Oracle, members: list[Member]) -> None:
    assert len(members) == CANARIES
    await _told(scene)
    since, queries = datetime.now(UTC), oracle.queries
    await asyncio.sleep(SECONDS)  # the time is what is measured

    assert [
        f"{entry['user']['username']} {entry['verb']} {entry['requestURI']}" for entry in _asked(scene, since)
    ] == []
    assert oracle.queries == queries


async def test_a_step_costs_a_route_a_status_and_an_event(scene: Scene, members: list[Member]) -> None:
    member, api = members[0], scene.stage.api
    await member.release(api, "app:2")
    await api.until(member.canary, lambda found: found["status"]["canaryWeight"] == 2, timeout=60)
    await scene.listener.until(f"Advance {member.name}.crowd canary weight 2", "crowd", member.name)
    told, mine = f"Advance {member.name}.crowd canary weight {{}}", f"involvedObject.name={member.name}"
    await api.until(_EVENTS, lambda found: _has(found, told.format(2)), fieldSelector=mine)
    since, event = datetime.now(UTC), ("serinus-notifier", "create", "events")
    await api.until(_EVENTS, lambda found: _has(found, told.format(2 + _STEPS)), timeout=60, fieldSelector=mine)

    async with asyncio.timeout(10):
        while (asked := Counter(_said(entry) for entry in _asked(scene, since)))[event] < _STEPS:
            await asyncio.sleep(0.05)

    assert asked == {
        ("serinus-router", "patch", "apisixroutes"): _STEPS,
        ("serinus-router", "patch", "canaries/status"): _STEPS,
        event: _STEPS,
    }


async def _events(scene: Scene, selector: str) -> list[Json]:
    found: list[Json] = (await scene.stage.api.get(_EVENTS, fieldSelector=selector))["items"]
    return found


def _has(found: Json, message: str) -> bool:
    return any(event["message"] == message for event in found["items"])


def _said(entry: Json) -> tuple[str, str, str]:
    ref = entry["objectRef"]
    resource = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
    return entry["user"]["username"].rpartition(":")[2], entry["verb"], resource
