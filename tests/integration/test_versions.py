"""Processes in a world that is too old or not complete: one clear sentence, and waiting where waiting helps."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
import yaml

from sandbox.nats import NatsServer
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
