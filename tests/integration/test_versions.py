"""Processes in a world that is too old or not complete: one clear sentence, and waiting where waiting helps."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import yaml
from aiohttp import web

from sandbox.nats import NatsServer
from services.analyzer.policy import Answer
from services.analyzer.prometheus import Prometheus
from shared.wire.messages import Provider, SecretRef
from tests.integration import bus_stage
from tests.integration.old_nats import old_nats
from tests.integration.watcher_stage import CRDS, cluster
from tests.unit.runtime.running import running

pytestmark = pytest.mark.integration


async def test_the_router_waits_for_definitions_and_names_them(tmp_path: Path) -> None:
    """No crash loop: the same process is ready once they are there."""
    *ours, gateways = CRDS
    async with NatsServer(tmp_path / "nats") as nats, cluster(crds=ours) as world, aiohttp.ClientSession() as session:
        await bus_stage.bootstrapped(nats)
        env = nats.env("router") | {
            "SERINUS_KUBE_URL": world.server.url, "SERINUS_HTTP_HOST": "127.0.0.1", "SERINUS_HTTP_PORT": "0",
        }  # fmt: skip
        async with running("services.router", **env) as child:
            said = await child.said("waiting: apisixroutes of apisix.apache.org/v2 aren't served")
            assert "install the CRDs of APISIX's ingress controller" in said["msg"]
            url = f"http://127.0.0.1:{await child.port()}/readyz"
            async with session.get(url) as answer:
                assert "apisixroutes" in (await answer.json())["missing"]["versions"]
            await world.apply(*yaml.safe_load_all(gateways.read_text()))
            async with asyncio.timeout(30):
                while True:
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            break
                    await asyncio.sleep(0.05)
            assert child.process.returncode is None


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
async def calling_itself(version: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A Prometheus of this version, as far as one query goes, and the paths that it was asked."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        if request.path == "/api/v1/query":
            return web.json_response({"status": "success", "data": {"resultType": "scalar", "result": [1, "3"]}})
        return web.json_response({"status": "success", "data": {"version": version}})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", paths
    finally:
        await runner.cleanup()


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
