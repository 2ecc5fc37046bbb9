"""What the canary's pods say of themselves, asked of a real Prometheus: the builtin checks before any traffic is routed."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from sandbox.listener import Listener
from sandbox.prometheus import Prometheus as Server
from sandbox.prometheus import Target
from services.analyzer.prometheus import Prometheus
from shared.canary import queries
from shared.wire.messages import Provider
from tests.integration.test_analyzer_prometheus import NoSecrets

pytestmark = pytest.mark.integration

KUBERNETES = 'kubernetes_namespace="test",kubernetes_pod_name="podinfo-5f7c-x2k4q"'
OPERATOR = 'namespace="test",pod="podinfo-5f7c-abcde"'
PRIMARY = 'kubernetes_namespace="test",kubernetes_pod_name="podinfo-primary-5f7c-x2k4q"'


def counted(labels: str, requests: int, seconds: float = 0.1) -> str:
    """A histogram of that many requests, all of them as slow."""
    buckets = "".join(
        f'http_request_duration_seconds_bucket{{{labels},le="{le}"}} {requests if seconds <= le else 0}\n'
        for le in (0.1, 0.5, 1.0)
    )
    infinite = f'http_request_duration_seconds_bucket{{{labels},le="+Inf"}} {requests}\n'
    return f"{buckets}{infinite}http_request_duration_seconds_count{{{labels}}} {requests}\n"


PAGE = (
    counted(f'{KUBERNETES},status="200",path="root"', 80)
    + counted(f'{KUBERNETES},status="500",path="root"', 10)
    + counted(f'{KUBERNETES},status="200",path="healthz"', 1000)
    + counted(f'{OPERATOR},code="204"', 10, 0.5)
    + counted(f'{PRIMARY},status="500",path="root"', 5000)
)


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async def page(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=PAGE)

    exporter = Listener(page)
    await exporter.start()
    target = Target("pods", f"127.0.0.1:{exporter.port}")
    async with Server(tmp_path / "prometheus", [target], scrape_interval=1.0) as running:
        yield running
    await exporter.stop()


async def test_the_canarys_pods_are_believed_and_nobody_else(server: Server) -> None:
    door = Prometheus(NoSecrets(), threads=2, monotonic=time.monotonic, observe=lambda reason, seconds: None)
    provider = Provider(address=server.url)

    async def ask(query: str) -> float | None:
        return (await door.ask(provider, query)).number

    async with asyncio.timeout(40):
        while await ask(queries.pods_evidence("test", "podinfo", "1m")) is None:  # not scraped yet
            await asyncio.sleep(0.1)
    assert await ask(queries.pods_evidence("test", "podinfo", "1m")) == 100
    assert await ask(queries.pods_success_rate("test", "podinfo", "1m")) == 90
    assert await ask(queries.pods_duration("test", "podinfo", "1m")) == pytest.approx(460)
    assert await ask(queries.pods_evidence("test", "other", "1m")) is None
    assert await ask(queries.pods_success_rate("elsewhere", "podinfo", "1m")) is None
    await door.close()
