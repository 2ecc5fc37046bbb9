"""How a Kubernetes API server lists and watches: pages, selectors, streams, and the past that it forgets."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from sandbox.controlplane.api import Api, ApiError, Json
from shared.errors import Conflict
from shared.kube import door, errors, kinds
from tests.contract.conftest import Where
from tests.contract.test_apiserver_conformance import at, deployment, maps, widget
from tests.unit.kube.conftest import Access


async def fill(api: Api, namespace: str, count: int = 5) -> None:
    for number in range(count):
        labels = {"parity": "even" if number % 2 == 0 else "odd", f"only-{number}": ""}
        await api.create(maps(namespace), {"metadata": {"name": f"map-{number}", "labels": labels}})


def names(found: Json) -> list[str]:
    listed = [str(each["metadata"]["name"]) for each in found["items"]]
    return [each for each in listed if each != "kube-root-ca.crt"]  # a real cluster's own


async def watched(api: Api, path: str, version: str, count: int, **query: str) -> list[Json]:
    """The next events, bookmarks left out."""
    found: list[Json] = []
    async with asyncio.timeout(90), aclosing(_watch(api, path, version, **query)) as events:
        async for event in events:
            if event["type"] != "BOOKMARK":
                found.append(event)
            if len(found) == count:
                break
    return found


async def _watch(api: Api, path: str, version: str, **query: str) -> AsyncGenerator[Json, None]:
    async for event in api.watch(path, version, **query):
        yield event


def told(events: list[Json]) -> list[tuple[str, str]]:
    return [(each["type"], each["object"]["metadata"]["name"]) for each in events]


@pytest.fixture
async def cluster(where: Where, tmp_path: Path) -> AsyncIterator[door.Cluster]:
    """The services' own door."""
    token = tmp_path / "token"
    token.write_text(where.token + "\n")
    access = Access(where.url, kube_token_file=str(token), kube_ca_file=str(where.ca_file or ""))
    opened = await door.connect(access, field_manager="tester")
    yield opened
    await opened.close()


async def test_pages_show_the_moment_of_the_first_one(api: Api, namespace: str) -> None:
    await fill(api, namespace)
    path, seen = maps(namespace), []
    page = await api.get(path, limit="2")
    version = page["metadata"]["resourceVersion"]
    await api.create(path, {"metadata": {"name": "map-9"}})
    await api.delete(maps(namespace, "map-4"))

    seen += names(page)
    while token := page["metadata"].get("continue"):
        page = await api.get(path, limit="2", **{"continue": token})
        assert page["metadata"]["resourceVersion"] == version
        seen += names(page)

    assert seen == [f"map-{number}" for number in range(5)]


async def test_a_page_says_how_many_are_left(api: Api, namespace: str) -> None:
    await fill(api, namespace)
    whole = await api.get(maps(namespace))

    page = await api.get(maps(namespace), limit="2")

    assert page["metadata"]["remainingItemCount"] == len(whole["items"]) - 2


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("parity=even", [0, 2, 4]),
        ("parity!=even", [1, 3]),
        ("parity in (odd, none)", [1, 3]),
        ("parity,parity notin (odd)", [0, 2, 4]),
        ("only-3", [3]),
        ("parity=even,!only-2", [0, 4]),
    ],
)
async def test_labels_select(api: Api, namespace: str, selector: str, expected: list[int]) -> None:
    await fill(api, namespace)

    found = await api.get(maps(namespace), labelSelector=selector)

    assert names(found) == [f"map-{number}" for number in expected]


@pytest.mark.parametrize(
    ("selector", "expected"), [("metadata.name=map-2", [2]), ("metadata.name!=map-2", [0, 1, 3, 4])]
)
async def test_fields_select(api: Api, namespace: str, selector: str, expected: list[int]) -> None:
    await fill(api, namespace)

    found = await api.get(maps(namespace), fieldSelector=selector)

    assert names(found) == [f"map-{number}" for number in expected]


async def test_events_are_found_by_what_they_are_about(api: Api, namespace: str) -> None:
    """As `kubectl describe` asks for them."""
    path = f"/api/v1/namespaces/{namespace}/events"
    for number, name in enumerate(("one", "two", "one")):
        about = {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "namespace": namespace,
            "name": name,
            "uid": name,
        }
        words = {"type": "Normal", "reason": "Synced", "message": "hello", "count": 1}
        await api.create(path, {"metadata": {"name": f"{name}.{number}"}, "involvedObject": about, **words})

    about_one = f"involvedObject.name=one,involvedObject.namespace={namespace},involvedObject.kind=Canary,type=Normal"
    found = await api.get(path, fieldSelector=f"{about_one},involvedObject.uid=one")

    assert names(found) == ["one.0", "one.2"]


@pytest.mark.parametrize("query", [{"labelSelector": "a in"}, {"fieldSelector": "spec.nothing=1"}])
async def test_a_bad_selector_is_refused(api: Api, namespace: str, query: dict[str, str]) -> None:
    with pytest.raises(ApiError) as refused:
        await api.get(maps(namespace), **query)

    assert refused.value.status == 400


async def test_a_list_of_built_in_objects_names_their_kind_once(api: Api, namespace: str, widgets: str) -> None:
    await fill(api, namespace, 1)
    await api.create(at(widgets, namespace), widget(widgets))

    built_in, custom = await api.get(maps(namespace)), await api.get(at(widgets, namespace))

    assert (built_in["kind"], custom["kind"]) == ("ConfigMapList", "WidgetList")
    assert "kind" not in built_in["items"][0]
    assert custom["items"][0]["kind"] == "Widget"


async def test_a_watch_tells_everything_since_its_version(api: Api, namespace: str) -> None:
    path, one = maps(namespace), maps(namespace, "one")
    version = (await api.get(path))["metadata"]["resourceVersion"]
    await api.create(path, {"metadata": {"name": "one"}})
    await api.patch(one, {"data": {"a": "1"}})
    await api.create("/api/v1/namespaces/default/configmaps", {"metadata": {"name": namespace}})
    await api.delete(f"/api/v1/namespaces/default/configmaps/{namespace}")
    await api.delete(one)

    events = await watched(api, path, version, 3, fieldSelector="metadata.name=one")

    assert told(events) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
    versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(version)
    assert events[2]["object"]["data"] == {"a": "1"}
    assert {each["object"]["kind"] for each in events} == {"ConfigMap"}


async def test_a_watch_tells_what_happens_while_it_runs(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace)
    version = (await api.get(path))["metadata"]["resourceVersion"]
    watching = asyncio.create_task(watched(api, path, version, 2))

    await api.create(path, widget(widgets))
    await api.patch(at(widgets, namespace, "one") + "/status", {"status": {"phase": "Ready"}})

    assert told(await watching) == [("ADDED", "one"), ("MODIFIED", "one")]


async def test_a_watch_without_a_version_begins_with_what_is_there(api: Api, namespace: str) -> None:
    await fill(api, namespace, 2)

    events = await watched(api, maps(namespace), "", 2, labelSelector="parity")

    assert sorted(told(events)) == [("ADDED", "map-0"), ("ADDED", "map-1")]


async def test_an_object_leaves_and_enters_a_watch_by_its_labels(api: Api, namespace: str) -> None:
    path, one = maps(namespace), maps(namespace, "one")
    version = (await api.get(path))["metadata"]["resourceVersion"]
    await api.create(path, {"metadata": {"name": "one", "labels": {"in": "yes"}}})
    await api.patch(one, {"metadata": {"labels": {"in": "no"}}})
    await api.patch(one, {"data": {"unseen": "1"}})
    last = await api.patch(one, {"metadata": {"labels": {"in": "yes"}}})

    events = await watched(api, path, version, 3, labelSelector="in=yes")

    assert told(events) == [("ADDED", "one"), ("DELETED", "one"), ("ADDED", "one")]
    assert events[2]["object"]["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"]


async def test_a_watch_ends_in_time_and_says_where_it_was(api: Api, namespace: str) -> None:
    path = maps(namespace)
    version = (await api.get(path))["metadata"]["resourceVersion"]

    async with asyncio.timeout(90):
        events = [event async for event in api.watch(path, version, timeoutSeconds="3")]

    assert {event["type"] for event in events} <= {"BOOKMARK", "ADDED"}  # a real cluster may add its own map
    # A busy server may end the stream before its bookmark.
    assert all(int(event["object"]["metadata"]["resourceVersion"]) >= int(version) for event in events)
    assert all(event["object"]["kind"] == "ConfigMap" for event in events)


async def test_a_watch_that_asks_for_the_present_says_when_it_is_told(api: Api, namespace: str) -> None:
    await fill(api, namespace, 2)

    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "labelSelector": "parity"}
    async with asyncio.timeout(90), aclosing(_watch(api, maps(namespace), "", **query)) as stream:
        events = [await anext(stream) for _ in range(3)]

    assert sorted(told(events[:2])) == [("ADDED", "map-0"), ("ADDED", "map-1")]
    assert events[2]["type"] == "BOOKMARK"
    assert events[2]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


async def test_a_version_of_long_ago_is_gone(api: Api, where: Where, namespace: str, widgets: str) -> None:
    version = "1"  # long before a real server knew of widgets
    if where.emulator:
        version = (await api.get(at(widgets, namespace)))["metadata"]["resourceVersion"]
        where.emulator.forget()

    with pytest.raises(ApiError) as gone:
        await watched(api, at(widgets, namespace), version, 1)

    assert gone.value.status == 410


async def test_the_services_door_works(cluster: door.Cluster, api: Api, namespace: str) -> None:
    """What the services rest on, through their own client."""
    body = deployment("one")
    body["metadata"] |= {"namespace": namespace, "labels": {"for": "door"}}
    made = await cluster.create(kinds.DEPLOYMENT, body)
    with pytest.raises(errors.AlreadyExists):
        await cluster.create(kinds.DEPLOYMENT, body)
    patched = await cluster.patch(kinds.DEPLOYMENT, namespace, "one", {"spec": {"replicas": None}})
    with pytest.raises(Conflict):
        await cluster.patch(kinds.DEPLOYMENT, namespace, "one", {"metadata": {**made["metadata"], "labels": {}}})
    found, version = await cluster.list(kinds.DEPLOYMENT, namespace, "for=door", metadata_only=True)
    async with aclosing(cluster.watch(kinds.DEPLOYMENT, namespace, version, 60, metadata_only=True)) as events:
        assert await anext(events) == {}
        await cluster.delete(kinds.DEPLOYMENT, namespace, "one", uid=str(made["metadata"]["uid"]))
        async for event in events:
            if event["type"] == "DELETED":
                break

    assert patched["spec"]["replicas"] == 1
    assert [each["metadata"]["name"] for each in found] == ["one"]
    assert "spec" not in found[0]
    assert (event["type"], event["object"]["kind"]) == ("DELETED", "PartialObjectMetadata")
    assert await cluster.get(kinds.DEPLOYMENT, namespace, "one") is None
    made_by = [each["manager"] for each in made["metadata"]["managedFields"]]
    assert made_by == ["tester"]
