"""One installation for all plays that harm nobody but their own canary: see `tests/e2e/plays.py`.

A test of this folder asks for `programme` (or `scene`), and is in the folder's event loop without saying so. What a play
needs of the whole scene, such as an image that behaves badly, stands here once for all of them.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox.gateway import controller
from sandbox.gateway.server import METRICS_PATH, Gateway
from sandbox.prometheus import Target
from sandbox.scene import Scene, opened
from sandbox.stage import SLACK, Options
from tests.e2e import casting
from tests.e2e.plays import Programme, wanted
from tests.e2e.short import SETTINGS

GLOBAL = {
    "SLACK_URL": f"http://{SLACK}/global",
    "SERINUS_SLACK_CHANNEL": "releases",
    "SERINUS_CLUSTER_NAME": "north",
    "EVENT_WEBHOOK_URL": f"http://{SLACK}/everything",
}


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Two replicas of each service; and beside the guide's gateway one that renders its metrics every 15 s, as from
    APISIX 3.14 on."""
    options = Options(settings=SETTINGS | GLOBAL, behaviours=dict(casting.BEHAVIOURS))
    async with (
        opened(tmp_path_factory.mktemp("gentle"), options) as scene,
        Gateway(scene.stage.network, version="3.18.0", host=casting.CACHING) as caching,
    ):
        cached = Target("apisix", f"127.0.0.1:{caching.metrics_port}", METRICS_PATH)
        scene.stage.prometheus.scrape([*scene.stage.targets(), cached])
        scene.stage.network.claim(casting.WORKFLOW, 80, scene.stage.slack.port)
        await scene.scale(2, "watcher", "analyzer", "router", "notifier")
        following = asyncio.create_task(controller.follow(scene.stage.api, caching))
        yield scene
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def programme(request: pytest.FixtureRequest, scene: Scene) -> AsyncIterator[Programme]:
    """Every play of the collected tests, begun."""
    found = Programme(scene)
    for play in wanted(request.session.items):
        found.begin(play)
    yield found
    await found.closed()
