"""Three plays of the gentle suite once more, on an installation that has rights in their namespaces only.

Between them they need every right that the Roles give but for autoscalers and upstreams. All of the gentle suite, on such an
installation: `make test-cluster OVERLAY=namespaced`.
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Final, cast

import pytest
import pytest_asyncio

from sandbox import installed
from sandbox.controlplane.server import ControlPlane
from sandbox.scene import SERVICES, Scene, opened
from sandbox.stage import Options
from tests.e2e import casting
from tests.e2e.gentle import test_alerts, test_people
from tests.e2e.namespaced import Furnished, by_an_administrator
from tests.e2e.plays import Play, Programme
from tests.e2e.rollouts import Rollout
from tests.e2e.short import SETTINGS, canary, deployment

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

PLAYS: Final[tuple[Play[Any], ...]] = (test_alerts.providers, test_people.changed_configs, test_people.reverted)
ELSEWHERE: Final = "elsewhere"
_BINDINGS: Final = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("namespaced")
    options = Options(settings=SETTINGS, behaviours=dict(casting.BEHAVIOURS))
    credentials = by_an_administrator([play.namespace for play in PLAYS], ELSEWHERE)
    async with opened(directory, options, credentials=credentials) as scene:
        scene.stage.network.claim(casting.WORKFLOW, 80, scene.stage.slack.port)
        yield scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def elsewhere(scene: Scene) -> dict[str, str]:
    """A Canary of a namespace that nobody watches, with its target and route: their bytes before anything is played."""
    rollout = Rollout(scene, ELSEWHERE)
    await rollout.apply("route", documents=(deployment(), canary()))
    route = rollout.route.removesuffix("-podinfo-canary")
    await scene.stage.api.until(rollout.target, installed.available(1))
    await scene.stage.api.until(route, lambda found: bool(found.get("status")))
    return {path: await scene.stage.api.text("GET", path) for path in (rollout.canary, rollout.target, route)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def namespaced(scene: Scene, elsewhere: dict[str, str]) -> AsyncIterator[Programme]:
    """All plays, begun."""
    programme = Programme(replace(scene, plane=cast("ControlPlane", Furnished(scene.plane))))
    for play in PLAYS:
        programme.begin(play)
    yield programme
    await programme.closed()


async def test_nothing_of_the_installation_reaches_over_the_cluster(namespaced: Programme) -> None:
    bindings = (await namespaced.scene.stage.api.get(_BINDINGS))["items"]
    assert [each["metadata"]["name"] for each in bindings if each["metadata"]["name"].startswith("serinus")] == [
        "serinus-crds"
    ]


@pytest.mark.parametrize("play", PLAYS, ids=str)
async def test_it_plays_as_with_rights_over_the_cluster(namespaced: Programme, play: Play[None]) -> None:
    await namespaced.of(play)


async def test_nobody_was_refused_a_right(namespaced: Programme) -> None:
    await namespaced.over()
    bad = re.compile(r"HTTP 403|is forbidden: |permissions violation|Authorization", re.IGNORECASE)
    told = [(service, line["msg"]) for service in SERVICES for line in namespaced.scene.log(service)]
    assert [each for each in told if bad.search(each[1])] == []


async def test_a_namespace_that_nobody_watches_is_as_it_was(namespaced: Programme, elsewhere: dict[str, str]) -> None:
    """Byte for byte, resourceVersions and all, after everything that was played beside it."""
    await namespaced.over()
    api = namespaced.scene.stage.api
    assert {path: await api.text("GET", path) for path in elsewhere} == elsewhere
    canary = json.loads(next(iter(elsewhere.values())))
    assert "status" not in canary
    assert "finalizers" not in canary["metadata"]
    made = await namespaced.scene.plane.kubectl(
        "-n", ELSEWHERE, "get", "deployments,services,apisixroutes.apisix.apache.org", "-o", "name"
    )
    assert made.split() == ["deployment.apps/podinfo", "apisixroute.apisix.apache.org/podinfo"]
