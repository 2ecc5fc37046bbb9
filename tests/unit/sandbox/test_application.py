"""The application double: what it serves, and how a revision behaves."""

from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest

from sandbox import pod_metrics
from sandbox.application import ApplicationRunner, Behaviour
from sandbox.controlplane import kubelet, pods
from sandbox.network import Network
from tests.unit.sandbox.objects import TARGET_PORT, pod

IP = "10.128.0.7"
IMAGE = "ghcr.io/stefanprodan/podinfo:6.0.1"


class Pod:
    """One running pod, asked over HTTP."""

    def __init__(self, network: Network, runner: ApplicationRunner, session: aiohttp.ClientSession) -> None:
        self.network = network
        self.runner = runner
        self.session = session

    def behave(self, behaviour: Behaviour) -> None:
        self.runner.behaviours[IMAGE] = behaviour

    async def ask(self, path: str = "/api/info") -> int:
        port = self.network.resolve(IP, TARGET_PORT)
        async with self.session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status

    async def load(self, number: int) -> Counter[int]:
        return Counter([await self.ask() for _ in range(number)])


@pytest.fixture
async def running() -> AsyncIterator[Pod]:
    network = Network()
    runner = ApplicationRunner(network)
    async with aiohttp.ClientSession() as session:
        await runner.start(pod(IP, IMAGE))
        yield Pod(network, runner, session)
        await runner.stop(pod(IP, IMAGE))


async def test_its_pages(running: Pod) -> None:
    paths = [
        "/",
        "/api/info",
        "/healthz",
        "/readyz",
        "/status/418",
        "/status/500",
        "/delay/0",
        "/delay/0.01",
        "/else",
        "/status/x",
    ]
    statuses = [200, 200, 200, 200, 418, 500, 200, 200, 404, 404]

    assert [await running.ask(path) for path in paths] == statuses


async def test_it_says_which_revision_it_is(running: Pod) -> None:
    port = running.network.resolve(IP, TARGET_PORT)
    async with running.session.get(f"http://127.0.0.1:{port}/api/info") as answer:
        told = await answer.json()

    assert (told["version"], told["hostname"]) == ("6.0.1", "podinfo-1")


async def test_failures_are_exact_and_leave_probes_alone(running: Pod) -> None:
    running.behave(Behaviour(fail_ratio=0.18))
    assert await running.load(50) == {200: 41, 500: 9}
    assert [await running.ask("/healthz") for _ in range(20)] == [200] * 20
    assert await running.load(50) == {200: 41, 500: 9}
    running.behave(Behaviour(not_found_ratio=0.1))
    assert await running.load(50) == {200: 45, 404: 5}
    running.behave(Behaviour(fail_ratio=1.0))
    assert await running.load(5) == {500: 5}

    assert running.runner.running[IP].served == {200: 127, 500: 23, 404: 5}


async def test_readiness_is_the_revisions_own(running: Pod) -> None:
    assert isinstance(running.runner, kubelet.ReportingRunner)
    assert running.runner.observe(pod(IP, IMAGE)) is None  # the kubelet's knobs hold
    running.behave(Behaviour(ready=False))
    assert await running.ask("/readyz") == 503
    assert await running.ask("/healthz") == 200
    source = running.runner.observe(pod(IP, IMAGE))
    assert source is not None
    assert not pods.is_ready(await anext(source))
    running.behave(Behaviour(ready_after_seconds=0.01))
    assert [pods.is_ready(seen) async for seen in source] == [True], "somebody has changed the mapping"
    assert await seen(running) == [False, True]


async def test_other_pods_are_not_its_own() -> None:
    network = Network()
    runner = ApplicationRunner(network)
    other = pod(IP, "ghcr.io/somebody/else:1")
    await runner.start(other)

    assert network.resolve(IP, TARGET_PORT) is None
    assert runner.observe(other) is None
    await runner.stop(other)


async def test_stopping_twice_and_before_the_start() -> None:
    network = Network()
    runner = ApplicationRunner(network)
    await runner.stop({**pod(IP, IMAGE), "status": {}})
    await runner.start(pod(IP, IMAGE))
    assert network.resolve(IP, TARGET_PORT) is not None
    await runner.stop(pod(IP, IMAGE))
    await runner.stop(pod(IP, IMAGE))

    assert network.resolve(IP, TARGET_PORT) is None


async def seen(running: Pod) -> list[bool]:
    source = running.runner.observe(pod(IP, IMAGE))
    assert source is not None
    return [state["podinfod"].ready async for state in source]


async def test_its_pods_say_of_themselves_what_they_answered(running: Pod) -> None:
    running.behave(Behaviour(fail_ratio=0.5))
    await running.load(4)
    await running.ask("/readyz")
    async with (
        pod_metrics.listener(lambda: running.runner.running.values()) as page,
        running.session.get(page.url) as answer,
    ):
        told = await answer.text()

    labels = 'kubernetes_namespace="test",kubernetes_pod_name="podinfo-1"'
    name = "http_request_duration_seconds"
    assert f'{name}_count{{{labels},path="/api/info",status="200"}} 2\n' in told
    assert f'{name}_count{{{labels},path="/api/info",status="500"}} 2\n' in told
    assert f'{name}_bucket{{{labels},path="/readyz",status="200",le="+Inf"}} 1\n' in told
