"""The door to Prometheus against the real one: what it answers, refuses, and how it is when it hangs or is gone."""

import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.prometheus import Prometheus as Server
from services.analyzer.policy import Answer, Fault
from services.analyzer.prometheus import Prometheus
from shared.canary import queries
from shared.wire.messages import Provider, SecretRef

pytestmark = pytest.mark.integration

NODES = queries.node_pattern(["10.0.0.1"])
ROUTE = queries.route_pattern(["test_podinfo-podinfo-canary_method"])


class NoSecrets:
    async def read(self, ref: SecretRef) -> Mapping[str, str]:
        raise AssertionError(f"nobody needs {ref}")


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with Server(tmp_path / "prometheus", scrape_interval=1.0) as running:
        yield running


@pytest_asyncio.fixture
async def door(server: Server) -> AsyncIterator[Prometheus]:
    found = Prometheus(
        NoSecrets(), threads=4, monotonic=time.monotonic, observe=lambda reason, seconds: None, timeout=5.0
    )
    yield found
    await found.close()


async def test_it_answers_as_the_double_of_the_contract_does(server: Server, door: Prometheus) -> None:
    async def ask(query: str) -> Answer:
        return await door.ask(Provider(address=server.url), query)

    assert await ask(queries.ONLINE) == Answer(value=1.0)
    assert await ask("scalar(vector(3))") == Answer(value=3.0)
    assert await ask("vector(1) / 0") == Answer(value=float("inf"))
    assert (await ask("vector(0) / 0")).number is None
    assert await ask("no_such_series") == Answer()
    assert (await ask("vector(1)[1m:10s]")).error == "query returned multiple values"
    two = 'label_replace(vector(1), "a", "b", "", "") or vector(2)'
    assert (await ask(two)).error.startswith("query returned 2 series where one is needed")
    broken = await ask("sum(rate(")
    assert broken.fault is Fault.QUERY
    assert broken.error.startswith("error response: Status 400 Bad Request: ")
    assert "parse error" in broken.error


async def test_our_own_queries_are_understood_and_find_nothing_where_nothing_is(
    server: Server, door: Prometheus
) -> None:
    own = (queries.success_rate, queries.duration, queries.evidence)
    whole = (queries.success_rate_of_route, queries.duration_of_route, queries.evidence_of_route)
    pods = (queries.pods_success_rate, queries.pods_duration, queries.pods_evidence)
    asked = [each(ROUTE, NODES, "1m") for each in own] + [each(ROUTE, "1m") for each in whole]
    asked += [each("test", "podinfo", "1m") for each in pods]
    for query in asked:
        answer = await door.ask(Provider(address=server.url), query)
        assert (answer.fault, answer.count) == (Fault.NONE, 0.0), query


async def test_one_that_hangs_is_given_up_and_one_that_is_gone_refuses(server: Server, door: Prometheus) -> None:
    provider = Provider(address=server.url)
    assert (await door.ask(provider, "vector(1)")).value == 1.0
    server.signal(signal.SIGSTOP)
    assert (await door.ask(provider, "vector(2)")).error == "request failed: context deadline exceeded"
    server.signal(signal.SIGCONT)
    assert (await door.ask(provider, "vector(3)")).value == 3.0  # over the connection that was given up, or another
    server.kill()
    assert (await door.ask(provider, "vector(4)")).error.startswith("request failed: ")
    await server.start()
    assert (await door.ask(provider, "vector(5)")).value == 5.0
