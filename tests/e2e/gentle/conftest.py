"""One installation for all plays that harm nobody but their own canary: see `tests/e2e/plays.py`.

A test of this folder asks for `programme` (or `scene`), and is in the folder's event loop without saying so. What a play
needs of the whole scene, such as an image that behaves badly, stands here once for all of them. With `--overlay=namespaced`
the installation has rights in the plays' namespaces only.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from random import Random
from typing import cast

import pytest
import pytest_asyncio

from sandbox import installed
from sandbox.controlplane.server import ControlPlane
from sandbox.gateway import controller
from sandbox.gateway.server import METRICS_PATH, Gateway
from sandbox.prometheus import Target
from sandbox.scene import Scene, opened
from sandbox.stage import SLACK, Options
from shared.runtime import tasks
from tests.e2e import casting, namespaced
from tests.e2e.plays import Programme, looked_at, wanted
from tests.e2e.short import SETTINGS

GLOBAL = {
    "SLACK_URL": f"http://{SLACK}/global",
    "SERINUS_SLACK_CHANNEL": "releases",
    "SERINUS_CLUSTER_NAME": "north",
    "EVENT_WEBHOOK_URL": f"http://{SLACK}/everything",
    "SERINUS_APISIX_BEFORE_3": "true",
}


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Two replicas of each service; and beside the guide's gateway one that renders its metrics every 15 s, as from
    APISIX 3.14 on, and one that hears of everything late, now more and now less."""
    options = Options(settings=SETTINGS | GLOBAL, behaviours=dict(casting.BEHAVIOURS))
    credentials: installed.Credentials = installed.passwords
    if confined := request.config.getoption("overlay") == "namespaced":
        credentials = namespaced.by_an_administrator(play.namespace for play in wanted(request.session.items))
    async with (
        opened(tmp_path_factory.mktemp("gentle"), options, credentials=credentials) as scene,
        Gateway(scene.stage.network, version="3.18.0", host=casting.CACHING) as caching,
        Gateway(scene.stage.network, host=casting.LATE, lag=partial(Random(5).uniform, 0.0, casting.LATEST)) as late,
    ):
        further = [Target("apisix", f"127.0.0.1:{each.metrics_port}", METRICS_PATH) for each in (caching, late)]
        scene.stage.prometheus.scrape([*scene.stage.targets(), *further])
        scene.stage.network.claim(casting.WORKFLOW, 80, scene.stage.slack.port)
        # A replica of those that watch has a thousand watches where each namespace takes its own: there one has to do.
        await scene.scale(2, "analyzer", "notifier", *(() if confined else ("watcher", "router")))
        following = [asyncio.create_task(controller.follow(scene.stage.api, each)) for each in (caching, late)]
        yield replace(scene, plane=cast("ControlPlane", namespaced.Furnished(scene.plane))) if confined else scene
        await tasks.ended(*following)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def programme(request: pytest.FixtureRequest, scene: Scene) -> AsyncIterator[Programme]:
    """Every play of the collected tests, begun."""
    found = Programme(scene)
    for play in wanted(request.session.items):
        found.begin(play)
    yield found
    await found.closed()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Plays that rights in a few namespaces are too little for are named, with the reason, and not played."""
    if config.getoption("overlay") == "namespaced":
        for item in items:
            case = looked_at(item)
            if len(case) == 1 and (reason := namespaced.CANNOT.get(case[0].namespace)):
                item.add_marker(pytest.mark.skip(reason=reason))
