"""What goes through the door, and what becomes of every answer."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sandbox.listener import Listener
from shared.errors import Conflict, Never, RetryLater
from shared.kube import door, errors, kinds
from shared.kube.json import Json
from tests.unit.kube.conftest import Access
from tests.unit.kube.moody import status


class Seen:
    """A server that answers what it's told and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], dict[str, str], Any]] = []
        self.answer: Callable[[], web.Response] = lambda: web.json_response({"kind": "Deployment"})
        self.delay = 0.0
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        self.asked.append(
            (
                request.method,
                request.path,
                dict(request.query),
                dict(request.headers),
                json.loads(body) if body else None,
            )
        )
        await asyncio.sleep(self.delay)
        return self.answer()


@pytest.fixture
async def seen() -> AsyncIterator[Seen]:
    server = Seen()
    async with Listener(server.handle, grace=0.1) as listener:
        server.url = listener.url
        yield server


@contextlib.asynccontextmanager
async def opened(
    url: str, *, timeout: float = 10.0, **settings: str
) -> AsyncIterator[tuple[door.Cluster, list[tuple[str, str, str]]]]:
    noted: list[tuple[str, str, str]] = []
    cluster = await door.connect(
        Access(url, **settings),
        field_manager="tester",
        timeout=timeout,
        observe=lambda verb, kind, outcome, seconds: noted.append((verb, kind, outcome)),
    )
    try:
        yield cluster, noted
    finally:
        await cluster.close()


BODY: Json = {"metadata": {"namespace": "test", "name": "a"}}
PATH = "/apis/apps/v1/namespaces/test/deployments"
DEPLOYMENT = kinds.DEPLOYMENT


async def test_writes_name_their_manager(seen: Seen) -> None:
    async with opened(seen.url) as (cluster, noted):
        await cluster.create(DEPLOYMENT, BODY)
        await cluster.patch(DEPLOYMENT, "test", "a", {"spec": {"replicas": 0}})
        await cluster.patch(DEPLOYMENT, "test", "a", {"status": {}}, subresource="status")
        await cluster.replace(DEPLOYMENT, "test", "a", BODY, subresource="status")
    assert [(method, path) for method, path, *_ in seen.asked] == [
        ("POST", PATH), ("PATCH", f"{PATH}/a"), ("PATCH", f"{PATH}/a/status"), ("PUT", f"{PATH}/a/status"),
    ]  # fmt: skip
    assert all(query == {"fieldManager": "tester"} for _, _, query, _, _ in seen.asked)
    assert seen.asked[1][3]["Content-Type"] == "application/merge-patch+json"
    assert seen.asked[1][4] == {"spec": {"replicas": 0}}
    assert seen.asked[0][3]["User-Agent"] == "tester"
    assert noted == [(verb, "Deployment", "ok") for verb in ("create", "patch", "patch", "update")]


async def test_delete_names_the_very_object(seen: Seen) -> None:
    async with opened(seen.url) as (cluster, _):
        await cluster.delete(DEPLOYMENT, "test", "a", uid="u1")
        assert seen.asked[0][4]["preconditions"] == {"uid": "u1"}
        seen.answer = lambda: status(409, "the UID in the precondition does not match", "Conflict")
        await cluster.delete(DEPLOYMENT, "test", "a", uid="u1")
        seen.answer = lambda: status(404, "not found", "NotFound")
        await cluster.delete(DEPLOYMENT, "test", "a")
        assert await cluster.get(DEPLOYMENT, "test", "a") is None


@pytest.mark.parametrize(
    ("code", "reason", "headers", "expected", "delay", "word"),
    [
        (409, "AlreadyExists", {}, errors.AlreadyExists, 0.0, "exists"),
        (409, "Conflict", {}, Conflict, 0.0, "conflict"),
        (404, "NotFound", {}, errors.Gone, 1.0, "gone"),
        (410, "Expired", {}, errors.Expired, 0.0, "expired"),
        (403, "Forbidden", {}, errors.Forbidden, 10.0, "forbidden"),
        (401, "Unauthorized", {}, RetryLater, 1.0, "later"),
        (400, "BadRequest", {}, errors.Refused, None, "refused"),
        (422, "Invalid", {}, errors.Refused, None, "refused"),
        (415, "UnsupportedMediaType", {}, errors.Refused, None, "refused"),
        (429, "TooManyRequests", {"Retry-After": "7"}, RetryLater, 7.0, "later"),
        (429, "TooManyRequests", {"Retry-After": "900"}, RetryLater, 60.0, "later"),
        (429, "TooManyRequests", {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, RetryLater, 1.0, "later"),
        (500, "InternalError", {}, RetryLater, 1.0, "later"),
        (503, "ServiceUnavailable", {"Retry-After": "3"}, RetryLater, 3.0, "later"),
    ],
)
async def test_statuses(
    seen: Seen,
    code: int,
    reason: str,
    headers: dict[str, str],
    expected: type[Exception],
    delay: float | None,
    word: str,
) -> None:
    seen.answer = lambda: status(code, "because of this", reason, **headers)
    async with opened(seen.url) as (cluster, noted):
        with pytest.raises(expected, match="because of this") as caught:
            await cluster.patch(DEPLOYMENT, "test", "a", {})
    assert type(caught.value) is expected
    assert getattr(caught.value, "delay", None) == delay
    assert noted[-1][2] == word


async def test_html_instead_of_an_object(seen: Seen) -> None:
    seen.answer = lambda: web.Response(text="<html>Bad Gateway</html>", status=502)
    async with opened(seen.url) as (cluster, _):
        with pytest.raises(RetryLater, match="Bad Gateway"):
            await cluster.get(DEPLOYMENT, "test", "a")
        seen.answer = lambda: web.Response(text="<html>log in, please</html>")
        with pytest.raises(RetryLater, match="log in"):
            await cluster.get(DEPLOYMENT, "test", "a")


async def test_nobody_is_waited_for_longer_than_the_timeout(seen: Seen) -> None:
    seen.delay = 600.0
    async with opened(seen.url, timeout=0.2) as (cluster, noted):
        with pytest.raises(RetryLater, match="Timeout"):
            await cluster.get(DEPLOYMENT, "test", "a")
        with pytest.raises(RetryLater, match="Timeout"):
            await anext(cluster.watch(DEPLOYMENT, None, "1", 60))
        assert [outcome for _, _, outcome in noted] == ["later", "later"]


async def test_a_refused_connection_is_later_with_its_cause() -> None:
    async with opened("http://127.0.0.1:1") as (cluster, _):
        with pytest.raises(RetryLater) as caught:
            await cluster.get(DEPLOYMENT, "test", "a")
    assert caught.value.__cause__ is not None


async def test_a_rotated_token_is_read_again_and_stripped(seen: Seen, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with opened(seen.url, kube_token_file=str(token)) as (cluster, _):
        await cluster.get(DEPLOYMENT, "test", "a")
        rotated = tmp_path / "next"
        rotated.write_text("second\n")
        rotated.rename(token)
        await cluster.get(DEPLOYMENT, "test", "a")
        token.unlink()
        await cluster.get(DEPLOYMENT, "test", "a")
    assert [headers.get("Authorization", headers.get("authorization")) for *_, headers, _ in seen.asked] == [
        "Bearer first", "Bearer second", "Bearer second",
    ]  # fmt: skip


async def test_a_missing_token_is_later(seen: Seen, tmp_path: Path) -> None:
    async with opened(seen.url, kube_token_file=str(tmp_path / "none")) as (cluster, _):
        with pytest.raises(RetryLater, match="token file"):
            await cluster.get(DEPLOYMENT, "test", "a")
    assert not seen.asked


async def test_a_missing_ca_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(Never, match="no way to the Kubernetes API"):
        await door.connect(Access("https://127.0.0.1:1", kube_ca_file=str(tmp_path / "none")), field_manager="tester")


async def test_a_kubeconfig_is_the_way_outside_a_cluster(seen: Seen, tmp_path: Path) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [{"name": "here", "cluster": {"server": seen.url}}],
            "users": [{"name": "me", "user": {"token": "abc"}}],
        })
    )  # fmt: skip
    async with opened("", kubeconfig=str(config)) as (cluster, _):
        await cluster.get(kinds.DEPLOYMENT, "test", "a")
    assert seen.asked[0][3]["Authorization"] == "Bearer abc"


async def test_no_way_at_all_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Never, match="no way to the Kubernetes API: "):
        await door.connect(Access("", kubeconfig=str(tmp_path / "nothing")), field_manager="tester")


async def test_no_proxy_stands_between(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with opened(seen.url) as (cluster, _):
        assert await cluster.get(DEPLOYMENT, "test", "a") == {"kind": "Deployment"}


async def test_list_selects_and_collects_pages(seen: Seen) -> None:
    pages = iter(
        [
            {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"metadata": {"name": "a"}}]},
            {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]},
        ]
    )
    seen.answer = lambda: web.json_response(next(pages))
    async with opened(seen.url) as (cluster, _):
        objects, version = await cluster.list(DEPLOYMENT, "test", "app=a,tier in (x,y)")
    assert ([obj["metadata"]["name"] for obj in objects], version) == (["a", "b"], "7")
    assert {obj["kind"] for obj in objects} == {"Deployment"}
    assert seen.asked[0][2] == {"limit": "500", "labelSelector": "app=a,tier in (x,y)"}
    assert seen.asked[1][2] == {"limit": "500", "labelSelector": "app=a,tier in (x,y)", "continue": "more"}
