"""Processes in a world that is too old or not complete: one clear sentence, and waiting where waiting helps."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from sandbox.listener import Listener
from sandbox.nats import NatsServer
from sandbox.table import ANALYZER, ROUTER, WATCHER, Row
from services.analyzer.policy import Answer
from services.analyzer.prometheus import Prometheus
from shared.wire import subjects
from shared.wire.messages import Metric, MetricSource, Provider, Purpose, SecretRef
from tests.integration import bus_messages, bus_stage
from tests.integration.old_nats import old_nats
from tests.integration.watcher_stage import CRDS, cluster
from tests.unit.runtime.running import running

pytestmark = pytest.mark.integration


ROUTES = "apisixroutes of apisix.apache.org/v2 aren't served: install the CRDs of APISIX's ingress controller, 1.5.1 or newer"
CANARIES = "canaries of flagger.app/v1beta1 aren't served: apply k8s/crds"


@pytest.mark.parametrize(
    ("row", "sentences"),
    [
        pytest.param(ROUTER, (ROUTES, CANARIES), id="router"),
        pytest.param(WATCHER, ("apisixroutes can't be followed: ", "canaries can't be followed: "), id="watcher"),
    ],
)
async def test_definitions_that_come_later_are_named_and_waited_for(
    row: Row, sentences: tuple[str, ...], tmp_path: Path
) -> None:
    """No crash loop: the same process is ready once they are there."""
    async with NatsServer(tmp_path / "nats") as nats, cluster(crds=()) as world, aiohttp.ClientSession() as session:
        await bus_stage.bootstrapped(nats)
        async with running(row.module, *row.arguments, **_surroundings(nats, row, world.server.url)) as child:
            for sentence in sentences:
                assert (await child.said(sentence))["level"] == "warn"
            url = f"http://127.0.0.1:{await child.port()}/readyz"
            async with session.get(url) as answer:
                assert "apisixroutes" in (await answer.json())["missing"]["kubernetes"]
            await world.apply(*(each for path in CRDS for each in yaml.safe_load_all(path.read_text())))
            async with asyncio.timeout(40):
                while True:
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            break
                    await asyncio.sleep(0.05)
            assert child.process.returncode is None


async def test_an_api_server_that_is_too_old_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    """Of a server from before our time, which knows as much of its API as it takes to be found out."""
    documents = {"/version": {"gitVersion": "v1.27.16"}, "/apis/apps/v1": {"resources": [{"name": "deployments"}]}}
    async with NatsServer(tmp_path / "nats") as nats, serving(documents) as (url, _):
        await bus_stage.bootstrapped(nats)
        async with running("services.router", **_surroundings(nats, ROUTER, url)) as child:
            said = (await child.said("waiting: the API server is "))["msg"].removeprefix("waiting: ").split("; ")
            assert child.process.returncode is None
    upgrade = "Serinus needs Kubernetes 1.28 or newer"
    assert said[0] == f"the API server is v1.27.16: {upgrade}"
    assert f"horizontalpodautoscalers of autoscaling/v2 aren't served: {upgrade}" in said
    assert {ROUTES, CANARIES} <= set(said)
    assert not [each for each in said if "apps/v1" in each]


def _surroundings(nats: NatsServer, row: Row, kube_url: str) -> dict[str, str]:
    own = {"SERINUS_KUBE_URL": kube_url, "SERINUS_HTTP_HOST": "127.0.0.1", "SERINUS_HTTP_PORT": "0"}
    return nats.env(row.name) | own


async def test_a_service_on_a_nats_that_is_too_old_says_so_and_ends() -> None:
    async with (
        old_nats("2.10.29", 1) as url,
        bus_stage.process("tests.integration.bus_process", env={"SERINUS_NATS_URL": url}) as child,
    ):
        assert await child.ended() == 1
    assert "failed: nats-server 2.10.29 is older than 2.14, which Serinus needs" in child.messages


class NoSecrets:
    async def read(self, ref: SecretRef) -> Mapping[str, str]:
        raise AssertionError(f"nobody needs {ref}")


@asynccontextmanager
async def serving(documents: Mapping[str, object]) -> AsyncIterator[tuple[str, list[str]]]:
    """A server that has these documents and no others; its address, and the paths that it was asked."""
    paths: list[str] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        paths.append(request.path)
        there = request.path in documents
        return web.json_response(documents.get(request.path, {}), status=200 if there else 404)

    async with Listener(answer) as listener:
        yield listener.url, paths


def calling_itself(version: str) -> AbstractAsyncContextManager[tuple[str, list[str]]]:
    """A Prometheus of this version, as far as one query goes."""
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}}
    build = {"status": "success", "data": {"version": version}}
    return serving({"/api/v1/query": scalar, "/api/v1/status/buildinfo": build})


@pytest.mark.parametrize(("version", "complaints"), [("2.25.0", 1), ("2.42.0", 0)])
async def test_each_prometheus_is_asked_once_what_it_is(version: str, complaints: int) -> None:
    told: list[str] = []
    async with calling_itself(version) as (url, paths):
        door = Prometheus(
            NoSecrets(), threads=1, monotonic=time.monotonic, observe=lambda reason, seconds: None, tell=told.append
        )
        try:
            for query in ("1", "2", "3"):  # one thread: the second waits for what the first brought about
                assert await door.ask(Provider(address=url), query) == Answer(value=3.0)
        finally:
            await door.close()
    assert paths.count("/api/v1/query") == 3
    assert paths.count("/api/v1/status/buildinfo") == 1
    assert [text.startswith(f"Prometheus at {url} is {version}") for text in told] == [True] * complaints


async def test_the_analyzer_names_a_prometheus_that_is_too_old_and_judges_by_it(tmp_path: Path) -> None:
    async with NatsServer(tmp_path / "nats") as nats, calling_itself("2.25.0") as (url, _):
        await bus_stage.bootstrapped(nats)
        env = _surroundings(nats, ANALYZER, "http://127.0.0.1:1")  # no tick here needs a secret
        async with running(ANALYZER.module, **env) as child, bus_stage.joined(nats, "router") as router:
            tick = bus_messages.tick(1)
            metric = Metric(
                name="three", source=MetricSource.QUERY, query="3", lower=1.0, provider=Provider(address=url)
            )
            question = tick.question.model_copy(update={"purpose": Purpose.ANALYSIS, "metrics": (metric,)})
            asked = tick.model_copy(update={"question": question})
            await router.publisher.publish(subjects.tick("shop", "web"), asked, stream="TICK")
            said = await child.said(f"Prometheus at {url} is 2.25.0, and Serinus needs 2.26 or newer: ")
            assert said["level"] == "warn"
            await child.said("judged analysis: pass")
