"""Several kinds and namespaces spoken to as one, and reads when a watch is too slow."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from shared.kube import json, kinds
from shared.kube.caches import Caches, Follow
from shared.kube.errors import Forbidden
from shared.kube.informer import Informer
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.kube.pace import Pace
from tests.unit.kube.moody import eventually

PACE = Pace(first=0.01, most=0.02, grace=0.0)


def obj(namespace: str, name: str, version: int, **fields: object) -> Json:
    metadata = {"namespace": namespace, "name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata, **fields}


class Scripted:
    """A source whose lists are given, and whose watches say nothing."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str], list[Json]] = {}
        self.forbidden: set[Kind] = set()
        self.lists: list[tuple[Kind, str | None, bool]] = []
        self.read: dict[str, Json] = {}
        self.reads = 0

    async def pages(
        self, kind: Kind, namespace: str | None, label_selector: str = "", metadata_only: bool = False, limit: int = 500
    ) -> AsyncIterator[tuple[list[Json], str]]:
        self.lists.append((kind, namespace, metadata_only))
        if kind in self.forbidden:
            raise Forbidden("no rights", delay=0.0)
        yield [dict(each) for each in self.objects.get((kind, namespace or ""), [])], "100"

    async def watch(
        self, kind: Kind, namespace: str | None, version: str, seconds: int, *, metadata_only: bool = False
    ) -> AsyncGenerator[Json, None]:
        yield {}
        await asyncio.Event().wait()

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        self.reads += 1
        return self.read.get(name)


@pytest.fixture
def source() -> Scripted:
    return Scripted()


@contextlib.asynccontextmanager
async def running(followed: Caches | Informer) -> AsyncIterator[None]:
    task = asyncio.create_task(followed.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


FOLLOW = {kinds.SERVICE: Follow(), kinds.SECRET: Follow(metadata_only=True)}


async def test_one_informer_a_kind_over_all_namespaces(source: Scripted) -> None:
    source.objects[kinds.SERVICE, ""] = [obj("a", "web", 5), obj("b", "web", 6)]
    source.objects[kinds.SECRET, ""] = [obj("a", "keys", 7, data={"k": "aHVudGVy"})]
    told: list[tuple[str, str]] = []
    caches = Caches(
        source, FOLLOW, on_change=lambda kind, old, new: told.append((kind.kind, json.name(new))), pace=PACE
    )
    assert not caches.synced()
    assert caches.ailing() == ["secrets", "services"]
    async with running(caches):
        await caches.wait_synced()
        assert caches.kinds == (kinds.SERVICE, kinds.SECRET)
        assert json.version(caches.get(kinds.SERVICE, "b", "web")) == "6"
        assert [json.namespace(each) for each in caches.all(kinds.SERVICE)] == ["a", "b"]
        assert [json.namespace(each) for each in caches.by_namespace(kinds.SERVICE, "b")] == ["b"]
        assert caches.get(kinds.SECRET, "a", "keys") == {
            "apiVersion": "v1", "kind": "Secret", "metadata": obj("a", "keys", 7)["metadata"],
        }  # fmt: skip
        assert caches.healthy()
        assert caches.ailing() == []
    assert sorted(told) == [("Secret", "keys"), ("Service", "web"), ("Service", "web")]
    assert set(source.lists) == {(kinds.SERVICE, None, False), (kinds.SECRET, None, True)}


async def test_one_a_namespace_where_rights_end_there(source: Scripted) -> None:
    source.objects[kinds.SERVICE, "a"] = [obj("a", "web", 5)]
    source.objects[kinds.SERVICE, "b"] = [obj("b", "web", 6)]
    caches = Caches(source, {kinds.SERVICE: Follow()}, namespaces=["a", "b"], pace=PACE)
    assert caches.ailing() == ["services of a", "services of b"]
    async with running(caches):
        await caches.wait_synced()
        assert [json.namespace(each) for each in caches.all(kinds.SERVICE)] == ["a", "b"]
        assert json.version(caches.get(kinds.SERVICE, "b", "web")) == "6"
        assert caches.of(kinds.SERVICE, "elsewhere") is None
        assert caches.get(kinds.SERVICE, "elsewhere", "web") is None
        assert list(caches.by_namespace(kinds.SERVICE, "elsewhere")) == []
        assert await caches.at_least(kinds.SERVICE, "elsewhere", "web", "1", 0.01) is None
        assert await caches.current(kinds.SERVICE, "elsewhere", "web", "1", 0.01) is None
        caches.absorb(kinds.SERVICE, obj("b", "web", 200))
        caches.absorb(kinds.SERVICE, obj("elsewhere", "web", 200))
        assert json.version(await caches.at_least(kinds.SERVICE, "b", "web", "200", 0.01)) == "200"
        assert json.version(caches.get(kinds.SERVICE, "a", "web")) == "5"
        caches.forget(kinds.SERVICE, "b", "web", "uid-web")
        caches.forget(kinds.SERVICE, "elsewhere", "web", "uid-web")
        assert [json.namespace(each) for each in caches.all(kinds.SERVICE)] == ["a"]


async def test_a_kind_that_may_not_be_read_is_named_and_the_others_go_on(source: Scripted) -> None:
    source.forbidden.add(kinds.SECRET)
    caches = Caches(source, FOLLOW, pace=PACE)
    async with running(caches):
        await eventually(lambda: caches.ailing() == ["secrets"])
        assert not caches.synced()
        assert not caches.healthy()
        source.forbidden.clear()
        await eventually(caches.healthy)


async def test_what_a_slow_watch_has_not_told_is_read(source: Scripted) -> None:
    source.objects[kinds.SERVICE, ""] = [obj("a", "web", 5), obj("a", "old", 6)]
    informer = Informer(source, kinds.SERVICE, pace=PACE)
    async with running(informer):
        await informer.wait_synced()
        assert json.version(await informer.current("a", "web", "5", 0.01)) == "5"
        assert source.reads == 0
        source.read["web"] = obj("a", "web", 120, spec={"new": True})
        found = await informer.current("a", "web", "120", 0.01)
        assert json.value(found, "spec", "new")
        assert json.text(found, "kind") == "Service"
        assert informer.get("a", "web") == found
        assert await informer.current("a", "old", "130", 0.01) is None
        assert informer.get("a", "old") is None
        assert source.reads == 2
