"""The way of a webhook: through the forward proxy to the load tester, from there as load through the gateway."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from sandbox.loadtester import LoadTester
from sandbox.proxy import Proxy
from sandbox.receiver import Receiver
from tests.unit.sandbox.objects import split
from tests.unit.sandbox.world import World, world

TESTER = "http://flagger-loadtester.test"


def payload(command: str | None = None, name: str = "podinfo", **metadata: str) -> dict[str, Any]:
    """A webhook's body."""
    told = metadata if command is None else {"cmd": command, **metadata}
    return {"name": name, "namespace": "test", "phase": "Progressing", "checksum": "1", "metadata": told}


def hey(*options: str) -> str:
    return f"hey {' '.join(options)} -h2 -host app.example.com http://apisix-gateway.apisix/api/info"


@dataclass
class Scene:
    world: World
    tester: LoadTester
    proxy: Proxy

    async def post(self, url: str, body: Any = None) -> tuple[int, str]:
        """As our services do it, with HTTP_PROXY set."""
        async with self.world.user.post(url, json=body, proxy=self.proxy.url) as answer:
            return answer.status, await answer.text()

    async def idle(self) -> None:
        async with asyncio.timeout(40):
            while self.tester.running:
                await asyncio.sleep(0.01)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with world() as found, LoadTester(found.network) as tester, Proxy(found.network) as proxy:
        found.apply(split(90, 10))
        yield Scene(found, tester, proxy)


async def test_load_reaches_the_application_with_its_weights(scene: Scene) -> None:
    assert await scene.post(f"{TESTER}/", payload(hey("-n 100", "-c 4"))) == (202, "")
    await scene.idle()

    assert scene.tester.answers == {200: 100}
    assert sorted((await scene.world.status()).values()) == [10, 90]


async def test_the_rate_is_per_worker(scene: Scene) -> None:
    await scene.post(f"{TESTER}/", payload(hey("-z 1s", "-q 20", "-c 2")))
    await scene.idle()

    # 2 workers at 20 a second; a machine that stops for a moment may make it much less, nothing may make it more.
    assert 2 <= scene.tester.answers[200] <= 40


async def test_the_same_task_runs_once(scene: Scene) -> None:
    command = hey("-n 4", "-q 1", "-c 1")  # still under way when all have asked
    for _ in range(3):
        assert (await scene.post(f"{TESTER}/", payload(command)))[0] == 202
    await scene.post(f"{TESTER}/", payload(command, name="other"))
    assert scene.tester.running == [("podinfo.test", command), ("other.test", command)]
    await scene.idle()
    assert scene.tester.answers == {200: 8}

    await scene.post(f"{TESTER}/", payload(command))  # it ended, so it may run again
    await scene.idle()
    assert scene.tester.answers == {200: 12}


async def test_failures_are_answers_too(scene: Scene) -> None:
    scene.world.apply()
    await scene.post(f"{TESTER}/", payload(hey("-n 3", "-c 1")))
    await scene.idle()
    scene.world.network.release("apisix-gateway.apisix", 80)
    await scene.post(f"{TESTER}/", payload(hey("-n 2", "-c 1")))
    await scene.idle()

    assert scene.tester.answers == {404: 3, 0: 2}


async def test_gates(scene: Scene) -> None:
    async def asked(path: str, name: str = "podinfo") -> tuple[int, str]:
        return await scene.post(f"{TESTER}{path}", payload(name=name))

    for kind in ("gate", "rollback"):
        assert await asked(f"/{kind}/check") == (403, "Forbidden")
        assert await asked(f"/{kind}/open") == (202, "")
        assert await asked(f"/{kind}/check") == (200, "Approved")
        assert await asked(f"/{kind}/check", "other") == (403, "Forbidden")
        assert await asked(f"/{kind}/close") == (202, "")
        assert await asked(f"/{kind}/check") == (403, "Forbidden")
    assert await scene.post(f"{TESTER}/gate/approve") == (200, "OK")
    assert await scene.post(f"{TESTER}/gate/halt") == (403, "Forbidden")
    assert await scene.post(f"{TESTER}/healthz") == (200, "OK")


async def test_what_is_no_task(scene: Scene) -> None:
    assert await scene.post(f"{TESTER}/", "no object") == (400, "")
    assert await scene.post(f"{TESTER}/", payload()) == (400, "metadata not found in payload")
    assert await scene.post(f"{TESTER}/", payload(type="cmd")) == (400, "cmd not found in metadata")
    assert (await scene.post(f"{TESTER}/", payload("true", type="bash")))[0] == 500
    assert (await scene.post(f"{TESTER}/", payload("curl http://x/")))[0] == 202
    assert len(scene.tester.failed) == 1
    direct = f"http://127.0.0.1:{scene.tester.port}/"
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await scene.world.user.post(direct, json=payload("x", type="mystery"))


async def test_the_proxy_knows_the_sandbox_and_nothing_else(scene: Scene) -> None:
    for name in ("apisix-gateway.apisix", "apisix-gateway.apisix.svc", "apisix-gateway.apisix.svc.cluster.local:80"):
        assert (await scene.post(f"http://{name}/nowhere?a=b"))[0] == 404  # of the gateway
    assert scene.proxy.refused == []
    for url in (
        "http://example.com/",
        f"http://127.0.0.1:{scene.tester.port}/healthz",
        "http://apisix-gateway.apisix:81/",
    ):
        status, text = await scene.post(url)
        assert status == 403
        assert text.startswith("the sandbox's proxy refuses")
    with pytest.raises(aiohttp.ClientHttpProxyError) as refused:
        await scene.post("https://apisix-gateway.apisix/")
    assert refused.value.status == 403


async def test_the_proxy_says_when_nobody_answers(scene: Scene) -> None:
    scene.world.network.claim("gone.test", 80, 1)  # a port that nobody may use without root

    assert (await scene.post("http://gone.test/"))[0] == 502


async def test_a_receiver_records_and_answers_as_told(scene: Scene) -> None:
    async with Receiver(status=200) as slack:
        scene.world.network.claim("hooks.slack.test", 80, slack.port)
        slack.first = [500, 429]
        got = [(await scene.post("http://hooks.slack.test/services/T0", {"text": "grün"}))[0] for _ in range(3)]
        posts = await slack.until(3, path="/services")

        assert got == [500, 429, 200]
        assert [post.json for post in posts] == [{"text": "grün"}] * 3
        assert posts[0].path == "/services/T0"
        assert posts[0].headers["Content-Type"] == "application/json"
        with pytest.raises(TimeoutError, match="3 of 4 POSTs"):
            await slack.until(4, timeout=0.01)


async def test_a_receiver_that_is_slow(scene: Scene) -> None:
    async with Receiver(delay=60) as teams:
        scene.world.network.claim("teams.test", 80, teams.port)
        sending = asyncio.create_task(scene.post("http://teams.test/", {}))
        await teams.until(1)
        assert not sending.done()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
