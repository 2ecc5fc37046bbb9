"""What canaries cost the API server, counted in its audit log: at rest nothing, a step three writes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def oracle() -> AsyncIterator[Oracle]:
    async with Oracle() as oracle:
        yield oracle


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, oracle: Oracle) -> AsyncIterator[Scene]:
    settings = {"SERINUS_METRICS_SERVER": oracle.url, "SERINUS_DRAIN_SECONDS": "1"}
    async with opened(tmp_path_factory.mktemp("cost"), Options(settings=settings), audit_users=ACCOUNTS) as scene:
        yield scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def members(scene: Scene) -> list[Member]:
    return await crowd.gathered(scene.stage.api, CANARIES)


def _asked(scene: Scene, since: int) -> list[Json]:
    """The services' requests since a place in the log; watches end and begin anew by themselves, whatever happens."""
    return [entry for entry in scene.plane.audit()[since:] if entry["verb"] != "watch"]


@pytest.mark.timeout(600)
async def test_canaries_at_rest_cost_nothing(scene: Scene, oracle: Oracle, members: list[Member]) -> None:
    assert len(members) == CANARIES
    since, queries = len(scene.plane.audit()), oracle.queries
    await asyncio.sleep(SECONDS)  # the time is what is measured

    assert [
        f"{entry['user']['username']} {entry['verb']} {entry['requestURI']}" for entry in _asked(scene, since)
    ] == []
    assert oracle.queries == queries


@pytest.mark.timeout(120)
async def test_a_step_costs_a_route_a_status_and_an_event(scene: Scene, members: list[Member]) -> None:
    member, api = members[0], scene.stage.api
    await member.release(api, "app:2")
    await api.until(member.canary, lambda found: found["status"]["canaryWeight"] == 2)
    await scene.listener.until(f"Advance {member.name}.crowd canary weight 2", "crowd", member.name)
    events = f"/api/v1/namespaces/{crowd.NAMESPACE}/events"
    told = f"Advance {member.name}.crowd canary weight {{}}"
    await api.until(events, lambda found: _has(found, told.format(2)))
    since = len(scene.plane.audit())
    await api.until(events, lambda found: _has(found, told.format(2 + _STEPS)), timeout=60)

    asked = Counter(_said(entry) for entry in _asked(scene, since))

    assert asked == {
        ("serinus-router", "patch", "apisixroutes"): _STEPS,
        ("serinus-router", "patch", "canaries/status"): _STEPS,
        ("serinus-notifier", "create", "events"): _STEPS,
    }


def _has(found: Json, message: str) -> bool:
    return any(event["message"] == message for event in found["items"])


def _said(entry: Json) -> tuple[str, str, str]:
    ref = entry["objectRef"]
    resource = "/".join(filter(None, (ref["resource"], ref.get("subresource"))))
    return entry["user"]["username"].rpartition(":")[2], entry["verb"], resource
