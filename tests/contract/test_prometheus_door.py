"""The door to Prometheus against a server that answers everything a Prometheus, or a broken one, can answer."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from services.analyzer.policy import Answer, Fault
from services.analyzer.prometheus import Prometheus
from shared.errors import Never, RetryLater
from shared.wire.messages import Provider, SecretRef
from tests.unit.analyzer.server import Server, answer, serving
from tests.unit.analyzer.tls import self_signed

TIMEOUT = 10.0
"""Of those whom nobody lets wait."""
PATIENCE = 120.0
"""Of those who wait for what the test does next, on a machine that may stand still meanwhile."""
SECRET = SecretRef(namespace="test", name="prometheus")


class Credentials:
    """Secrets that a test holds."""

    def __init__(self) -> None:
        self.secret: Mapping[str, str] | Exception = {}

    async def read(self, ref: SecretRef) -> Mapping[str, str]:
        assert ref == SECRET
        if isinstance(self.secret, Exception):
            raise self.secret
        return self.secret


class Observed(list[tuple[str, float]]):
    def __call__(self, reason: str, seconds: float) -> None:
        self.append((reason, seconds))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving() as found:
        yield found


@pytest.fixture
def credentials() -> Credentials:
    return Credentials()


@pytest.fixture
def observed() -> Observed:
    return Observed()


@pytest.fixture
async def prometheus(credentials: Credentials, observed: Observed) -> AsyncIterator[Prometheus]:
    found = Prometheus(credentials, threads=4, monotonic=time.monotonic, observe=observed, timeout=TIMEOUT)
    yield found
    await found.close()


def result(*series: Any, kind: str = "vector") -> Any:
    return answer(text=json.dumps({"status": "success", "data": {"resultType": kind, "result": list(series)}}))


def sample(value: str, **labels: str) -> Any:
    return {"metric": labels, "value": [1700000000.1, value]}


async def asked(server: Server, count: int) -> None:
    """Once so many requests have arrived."""
    async with asyncio.timeout(30):
        while len(server.requests) < count:
            await asyncio.sleep(0.002)


def fault(text: str) -> Answer:
    return Answer(error=text, fault=Fault.QUERY)


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (result(sample("99.5")), 99.5),
        (result(sample("+Inf")), float("inf")),
        (result(sample("-Inf", a="b")), float("-inf")),
        (result(1700000000.1, "3", kind="scalar"), 3.0),
        (result(), None),
    ],
)
async def test_one_number_or_none(server: Server, prometheus: Prometheus, given: Any, value: float | None) -> None:
    server.will(given)
    assert await prometheus.ask(Provider(address=server.url), "up") == Answer(value=value)


async def test_not_a_number_is_no_number(server: Server, prometheus: Prometheus) -> None:
    server.will(result(sample("NaN")))
    assert (await prometheus.ask(Provider(address=server.url), "up")).number is None


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            result(sample("1", a="1"), sample("2", a="2")),
            "query returned 2 series where one is needed: aggregate them, for instance with sum()",
        ),
        (result({"metric": {}, "values": [[1, "1"]]}, kind="matrix"), "query returned multiple values"),
        (
            result({"metric": {}, "histogram": [1, {"count": "1"}]}),
            "query returned a native histogram instead of a number: use histogram_quantile() or the like",
        ),
        (
            answer(422, text='{"status":"error","error":"bad"}'),
            'error response: Status 422 Unprocessable Entity: {"status":"error","error":"bad"}',
        ),
        (answer(503, text="query timed out"), "error response: Status 503 Service Unavailable: query timed out"),
        (answer(500, reason="", text=""), "error response: Status 500 Internal Server Error: "),
        (answer(400, text="x" * 5000), "error response: Status 400 Bad Request: " + "x" * 1000),
        (answer(204), "error unmarshaling result: unexpected status 204, ''"),
        (
            answer(text="<html>hello</html>"),
            "error unmarshaling result: Expecting value: line 1 column 1 (char 0), '<html>hello</html>'",
        ),
        (answer(text='{"status":"success"}'), "error unmarshaling result: no 'data' in it, '{\"status\":\"success\"}'"),
        (answer(text='{"data":{}}'), "error unmarshaling result: no 'result' in it, '{\"data\":{}}'"),
        (
            answer(text='{"data":{"result":{"a":1}}}'),
            'error unmarshaling result: the result is no list, \'{"data":{"result":{"a":1}}}\'',
        ),
        (
            answer(text='{"data":{"result":[{"value":[1]}]}}'),
            "error unmarshaling result: a sample is no pair of time and number, "
            '\'{"data":{"result":[{"value":[1]}]}}\'',
        ),
    ],
)
async def test_anything_else_is_an_error_in_flaggers_words(
    server: Server, prometheus: Prometheus, given: Any, text: str
) -> None:
    server.will(given)
    assert await prometheus.ask(Provider(address=server.url), "up") == fault(text)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    ["[]", "null", '"text"', '{"data":null}', '{"data":[1]}', '{"data":{"result":[1,2]}}', '{"data":{"result":["a"]}}',
     '{"data":{"result":[{}]}}', '{"data":{"result":[{"value":[1,"word"]}]}}', '{"data":{"result":[{"value":null},1]}}',
     "[" * 100_000],
)  # fmt: skip
async def test_nonsense_never_raises(server: Server, prometheus: Prometheus, body: str) -> None:
    server.will(answer(text=body))
    got = await prometheus.ask(Provider(address=server.url), "up")
    assert got.error.startswith("error unmarshaling result: ")


async def test_the_request_is_flaggers(server: Server, prometheus: Prometheus, observed: Observed) -> None:
    server.will(result(sample("1")))
    provider = Provider(address=f"{server.url}/prom/?x=1", headers={"X-Scope-OrgID": ["a", "b"], "x-ünd": []})
    provider = provider.model_copy(update={"headers": {"X-Scope-OrgID": ["a", "b"], "x-word": ["grün"]}})
    await prometheus.ask(provider, ' sum(\n\t up{a="b c"} )')
    ((method, path, headers, _),) = server.requests
    assert (method, urlsplit(path).path) == ("GET", "/prom/api/v1/query")
    assert parse_qs(urlsplit(path).query) == {"query": [' sum( up{a="b c"} )'], "timeout": ["10s"]}
    assert headers["X-Scope-OrgID"] == "a, b"
    assert headers["x-word"].encode("utf-8", "surrogateescape").decode() == "grün"
    assert "Authorization" not in headers
    assert [reason for reason, _ in observed] == [""]


@pytest.mark.parametrize(
    ("secret", "authorization"),
    [
        ({"token": "abc\n"}, "Bearer abc"),
        ({"token": "abc", "username": "u", "password": "p"}, "Bearer abc"),
        ({"username": "u", "password": "pä:s"}, "Basic dTpww6Q6cw=="),
    ],
)
async def test_secrets_become_credentials_and_never_add_up(
    server: Server, prometheus: Prometheus, credentials: Credentials, secret: dict[str, str], authorization: str
) -> None:
    server.will(result(sample("1")))
    credentials.secret = secret
    provider = Provider(address=server.url, secret=SECRET, headers={"authorization": ["Bearer other"]})
    for query in ("a", "b"):
        await prometheus.ask(provider, query)
    for _, _, headers, _ in server.requests:
        found = [value for name, value in headers.items() if name.lower() == "authorization"]
        assert found == [authorization]


async def test_a_user_in_the_address(server: Server, prometheus: Prometheus) -> None:
    server.will(result(sample("1")))
    await prometheus.ask(Provider(address=server.url.replace("//", "//u:p%40@")), "up")
    assert server.requests[0][2]["Authorization"] == "Basic dTpwQA=="


@pytest.mark.parametrize(
    ("secret", "expected", "text"),
    [
        ({}, Fault.PROVIDER, "prometheus credentials does not contain a username"),
        ({"username": "u"}, Fault.PROVIDER, "prometheus credentials does not contain a password"),
        ({"token": "a\nb"}, Fault.PROVIDER, "prometheus credentials contain a token that can't be sent"),
        (Never('secrets "prometheus" not found'), Fault.SECRET, 'secrets "prometheus" not found'),
        (RetryLater("connection refused"), Fault.CLUSTER, "connection refused"),
    ],
)
async def test_secrets_that_are_no_use(
    prometheus: Prometheus, credentials: Credentials, secret: Any, expected: Fault, text: str
) -> None:
    credentials.secret = secret
    got = await prometheus.ask(Provider(address="http://127.0.0.1:1", secret=SECRET), "up")
    assert got == Answer(error=text, fault=expected)


@pytest.mark.parametrize("address", ["", "prometheus:9090", "http://", "ftp://x", "http://x:port", "http://[", "::"])
async def test_addresses_that_are_none(prometheus: Prometheus, address: str) -> None:
    got = await prometheus.ask(Provider(address=address), "up")
    assert got == Answer(error=f"prometheus address {address} is not a valid URL", fault=Fault.PROVIDER)


async def test_types_that_speak_no_promql(prometheus: Prometheus) -> None:
    got = await prometheus.ask(Provider(type="datadog", address="http://x"), "up")
    assert got == Answer(error="datadog isn't supported, only prometheus is", fault=Fault.PROVIDER)


async def test_nobody_listening(prometheus: Prometheus, observed: Observed) -> None:
    for query in ("a", "b"):
        got = await prometheus.ask(Provider(address="http://127.0.0.1:1"), query)
        assert got == fault("request failed: connection refused")
    assert [reason for reason, _ in observed] == ["unreachable", "unreachable"]
    assert all(seconds < TIMEOUT for _, seconds in observed)


async def test_a_name_that_resolves_to_nothing(prometheus: Prometheus) -> None:
    got = await prometheus.ask(Provider(address="http://nobody.invalid"), "up")
    assert got.error.startswith("request failed: ")
    assert "0x" not in got.error


async def test_a_header_that_cant_be_sent_is_not_told(prometheus: Prometheus, server: Server) -> None:
    got = await prometheus.ask(Provider(address=server.url, headers={"X-Key": ["s3cret\nx"]}), "up")
    assert got == fault("request failed: invalid header")


async def test_a_certificate_is_checked_unless_told_otherwise(prometheus: Prometheus, tmp_path: Path) -> None:
    async with serving(tls=self_signed(tmp_path)) as server:
        server.will(result(sample("1")))
        got = await prometheus.ask(Provider(address=server.url), "up")
        assert got == fault("request failed: certificate verify failed: self-signed certificate")
        got = await prometheus.ask(Provider(address=server.url, insecure_skip_verify=True), "up")
        assert got == Answer(value=1.0)
        await prometheus.close()  # TLS ends with both sides' consent, so before the server


async def test_a_slow_prometheus_starves_nobody(server: Server, credentials: Credentials, observed: Observed) -> None:
    released = asyncio.Event()

    async def late(request: web.BaseRequest) -> web.StreamResponse:
        await released.wait()
        found: web.StreamResponse = await result(sample("2"))(request)
        return found

    prometheus = Prometheus(
        credentials, threads=2, monotonic=time.monotonic, observe=observed, timeout=PATIENCE, queue=PATIENCE
    )
    server.will(late)
    async with serving() as quick:
        quick.will(result(sample("1")))
        slow = [asyncio.create_task(prometheus.ask(Provider(address=server.url), f"q{n}")) for n in range(4)]
        await asked(server, 2)
        assert await prometheus.ask(Provider(address=quick.url), "up") == Answer(value=1.0)
        assert not any(task.done() for task in slow)
        assert len(server.requests) == 2, "it has two threads"
        released.set()
        assert await asyncio.gather(*slow) == [Answer(value=2.0)] * 4
    await prometheus.close()


async def test_a_prometheus_that_never_answers_is_given_up(
    server: Server, credentials: Credentials, observed: Observed
) -> None:
    """Also by those who had to wait for a thread of it."""
    released = asyncio.Event()

    async def never(_: web.BaseRequest) -> web.Response:
        await released.wait()
        return web.Response()

    prometheus = Prometheus(
        credentials, threads=2, monotonic=time.monotonic, observe=observed, timeout=0.2, queue=PATIENCE
    )
    server.will(never)
    got = await asyncio.gather(*(prometheus.ask(Provider(address=server.url), f"q{n}") for n in range(4)))
    assert got == [fault("request failed: context deadline exceeded")] * 4
    assert [reason for reason, _ in observed] == ["timeout"] * 4
    released.set()
    await prometheus.close()


async def test_a_prometheus_whose_threads_are_all_busy_is_waited_for_only_so_long(
    server: Server, credentials: Credentials, observed: Observed
) -> None:
    released = asyncio.Event()

    async def late(_: web.BaseRequest) -> web.Response:
        await released.wait()
        return web.Response()

    prometheus = Prometheus(
        credentials, threads=1, monotonic=time.monotonic, observe=observed, timeout=TIMEOUT, queue=0.05
    )
    server.will(late)
    first = asyncio.create_task(prometheus.ask(Provider(address=server.url), "a"))
    await asked(server, 1)
    got = await prometheus.ask(Provider(address=server.url), "b")
    assert got == fault("request failed: too many queries wait for this Prometheus")
    released.set()
    await first
    await prometheus.close()


async def test_a_connection_closed_as_it_was_reused_is_opened_again(server: Server, prometheus: Prometheus) -> None:
    async def close(request: web.BaseRequest) -> web.Response:
        assert request.transport
        request.transport.abort()
        return web.Response()

    async def hang_up(request: web.BaseRequest) -> web.Response:
        assert request.transport
        request.transport.close()
        return web.Response()

    server.will(hang_up, result(sample("1")))
    assert await prometheus.ask(Provider(address=server.url), "a") == Answer(value=1.0)
    assert len(server.requests) == 2
    server.will(hang_up)
    assert await prometheus.ask(Provider(address=server.url), "b") == fault("request failed: EOF")
    server.will(close)
    assert (await prometheus.ask(Provider(address=server.url), "c")).error.startswith("request failed: ")


async def test_the_same_question_is_asked_once(server: Server, credentials: Credentials, observed: Observed) -> None:
    """Within a moment: here no time passes."""
    prometheus = Prometheus(credentials, threads=4, monotonic=lambda: 0.0, observe=observed)
    server.will(result(sample("1")))
    provider = Provider(address=server.url, template="a.b")
    same = [prometheus.ask(each, "up") for each in (provider, Provider(address=server.url + "/"))]
    assert await asyncio.gather(*same) == [Answer(value=1.0)] * 2
    assert await prometheus.ask(provider, "up") == Answer(value=1.0)
    assert len(server.requests) == 1
    await prometheus.ask(provider, "down")
    await prometheus.ask(Provider(address=server.url, headers={"a": ["b"]}), "up")
    assert len(server.requests) == 3
    await prometheus.close()


async def test_old_clients_make_room(server: Server, credentials: Credentials, observed: Observed) -> None:
    prometheus = Prometheus(credentials, threads=4, monotonic=time.monotonic, observe=observed, clients=2)
    server.will(result(sample("1")))
    before = threading.active_count()
    for tenant in range(6):
        got = await prometheus.ask(Provider(address=server.url, headers={"X-Scope-OrgID": [str(tenant)]}), "up")
        assert got == Answer(value=1.0)
    async with asyncio.timeout(30):
        while threading.active_count() - before > 3:  # a thread ends a moment after its client
            await asyncio.sleep(0.002)
    await prometheus.close()


async def test_proxies_of_the_environment_are_used(
    server: Server, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    server.will(result(sample("1")))
    assert await prometheus.ask(Provider(address="http://prometheus.test"), "up") == Answer(value=1.0)
    assert server.requests[0][2]["Host"] == "prometheus.test"
