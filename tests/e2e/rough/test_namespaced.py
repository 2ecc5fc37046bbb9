"""Plays of the gentle suite once more, on an installation that has rights in their namespaces only: Roles, no ClusterRoles.

An administrator has applied the definitions and the right to read them, made the namespaces, and bound the Roles there.
"""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import pytest
import pytest_asyncio
import yaml

from sandbox import installed
from sandbox.controlplane.api import Json
from sandbox.controlplane.server import ControlPlane
from sandbox.scene import Scene, opened
from sandbox.stage import Options, Stage
from tests.e2e import casting
from tests.e2e.gentle import test_alerts, test_guide, test_people
from tests.e2e.plays import Play, Programme
from tests.e2e.rollouts import Rollout
from tests.e2e.short import SETTINGS, canary, deployment
from tests.guide.transcript import differences, transcript

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(500)]

PLAYS: Final[tuple[Play[Any], ...]] = (
    test_guide.VERBATIM, test_alerts.providers, test_alerts.event_webhook, test_people.changed_configs,
    test_people.requests, test_people.suspended, test_people.reverted, test_people.failed_promotion,
)  # fmt: skip
ELSEWHERE: Final = "elsewhere"
_K8S: Final = Path(__file__).parents[3] / "k8s"
_ROLES: Final = ("namespace", "namespace-configs", "namespace-secrets")
_BINDINGS: Final = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


class Furnished:
    """A control plane whose namespaces are made by somebody who may, before those who play in them come."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def kubectl(self, *args: str, stdin: str | None = None) -> str:
        return "" if args[:2] == ("create", "ns") else await self._plane.kubectl(*args, stdin=stdin)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plane, name)


async def _by_an_administrator(plane: ControlPlane, stage: Stage) -> Path:
    """As `installed.Credentials`: passwords as usual, and the Roles; answers the overlay `namespaced` for these namespaces."""
    await installed.passwords(plane, stage)
    await plane.kubectl("apply", "-k", str(_K8S / "rbac/crds"))
    for namespace in (*(play.namespace for play in PLAYS), ELSEWHERE):
        await plane.kubectl("create", "ns", namespace)
    roles = [
        each
        for part in _ROLES
        for each in yaml.safe_load_all(await plane.kubectl("kustomize", str(_K8S / "rbac" / part)))
    ]
    for play in PLAYS:
        documents = [_bound(each, play.namespace) for each in roles]
        await plane.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))
    folder = stage.directory / "namespaced"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(_kustomization(folder)))
    return folder


def _bound(document: Json, namespace: str) -> Json:
    """In this namespace, for the accounts of the installation."""
    found: Json = {**document, "metadata": {**document["metadata"], "namespace": namespace}}
    if "subjects" in found:
        found["subjects"] = [{**each, "namespace": installed.NAMESPACE} for each in found["subjects"]]
    return found


def _kustomization(folder: Path) -> Json:
    """The overlay as a user copies it, with what `k8s/overlays/test` changes for the tests."""
    up = Path(*[".."] * (len(folder.parts) - 1), *_K8S.parts[1:])  # kustomize takes no absolute paths
    settings = {
        "SERINUS_WATCH_NAMESPACE": ",".join(play.namespace for play in PLAYS),
        "SERINUS_NATS_REPLICAS": "1",
        "SERINUS_METRICS_SERVER": "http://127.0.0.1:9090",
    }
    counts = {"serinus-nats": 0} | dict.fromkeys(
        ("serinus-watcher", "serinus-analyzer", "serinus-router", "serinus-notifier"), 1
    )
    literals = [f"{key}={value}" for key, value in settings.items()]
    return {
        "namespace": installed.NAMESPACE,
        "resources": [f"{up}/overlays/namespaced"],
        "replicas": [{"name": name, "count": count} for name, count in counts.items()],
        "images": [{"name": "serinus", "newTag": "test"}],
        "configMapGenerator": [
            {"name": "serinus-settings", "namespace": "test", "behavior": "merge", "literals": literals}
        ],
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    directory = tmp_path_factory.mktemp("namespaced")
    options = Options(settings=SETTINGS, behaviours=dict(casting.BEHAVIOURS))
    async with opened(directory, options, credentials=_by_an_administrator) as scene:
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


@pytest.mark.parametrize("play", PLAYS[1:], ids=str)
async def test_it_plays_as_with_rights_over_the_cluster(namespaced: Programme, play: Play[None]) -> None:
    await namespaced.of(play)


async def test_the_guide_plays_as_with_rights_over_the_cluster(namespaced: Programme) -> None:
    played = await namespaced.of(test_guide.VERBATIM)
    assert differences(transcript("promotion"), played.rollout.texts()[: played.seen["before"]]) == []
    assert (played.phase, played.seen["promoted"]) == ("Succeeded", test_guide.GOOD)
    assert (played.seen["failed"]["status"]["phase"], played.seen["kept"]) == ("Failed", test_guide.GOOD)


async def test_nobody_was_refused_a_right(namespaced: Programme) -> None:
    await namespaced.over()
    bad = re.compile(r"HTTP 403|is forbidden: |permissions violation|Authorization", re.IGNORECASE)
    services = ("watcher", "analyzer", "router", "notifier")
    told = [(service, line["msg"]) for service in services for line in namespaced.scene.log(service)]
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
