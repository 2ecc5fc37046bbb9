"""The informer against an API server that does everything an API server and its proxies were ever seen doing."""

import asyncio
import json as encoding
import logging
from typing import Any

import pytest
from aiohttp import web

from shared.kube import door, informer, kinds
from shared.kube.errors import Forbidden, Gone
from shared.kube.pace import Pace
from tests.unit.kube import moody as fake
from tests.unit.kube.conftest import following
from tests.unit.kube.moody import Moody, eventually

HTML = b"<html><head><title>502 Bad Gateway</title></head>\n<body>nginx</body>\n</html>\n"


async def test_lists_then_watches(moody: Moody, cluster: door.Cluster) -> None:
    await moody.put("a")
    async with following(cluster) as followed:
        await followed.informer.wait_synced()
        assert followed.told() == ["+a"]
        await moody.put("b")
        await moody.put("a", spec={"replicas": 2})
        await moody.remove("b")
        await eventually(lambda: len(followed.changes) == 4)
        assert followed.told() == ["+a", "+b", "~a", "-b"]
        assert followed.informer.healthy()
        assert (moody.counted(watch=False), moody.counted(watch=True)) == (1, 1)


async def test_objects_say_what_they_are_and_nothing_about_fields(moody: Moody, cluster: door.Cluster) -> None:
    await moody.put("a")
    async with following(cluster) as followed:
        await followed.informer.wait_synced()
        found = followed.informer.get("test", "a")
        assert found is not None
        assert (found["apiVersion"], found["kind"]) == ("apps/v1", "Deployment")
        assert "managedFields" not in found["metadata"]


async def test_lists_in_pages(moody: Moody, cluster: door.Cluster) -> None:
    moody.page = 2
    for name in "abcde":
        await moody.put(name)
    async with following(cluster) as followed:
        await followed.informer.wait_synced()
        assert followed.names() == set("abcde")
        assert moody.counted(watch=False) == 3


async def test_a_picture_that_expires_between_pages_is_taken_again_at_once(moody: Moody, cluster: door.Cluster) -> None:
    moody.page = 2
    for name in "abcde":
        await moody.put(name)

    async def first(request: Any) -> Any:
        moody.list_moods.append(fake.answers(lambda: fake.status(410, "continue token expired", "Expired")))
        return moody._list(request)

    moody.list_moods.append(first)
    async with following(cluster) as followed:
        await followed.informer.wait_synced()
        assert followed.names() == set("abcde")
        assert sorted(followed.told()) == ["+a", "+b", "+c", "+d", "+e"]
        assert "limit" not in moody.requests[2].query


async def test_dropped_stream_resumes_without_a_list(moody: Moody, cluster: door.Cluster) -> None:
    async with following(cluster) as followed:
        await moody.put("a")
        await eventually(lambda: followed.names() == {"a"})
        moody.drop()
        await moody.put("b")
        await eventually(lambda: followed.names() == {"a", "b"})
        assert followed.told() == ["+a", "+b"]
        assert moody.counted(watch=False) == 1


async def test_410_lists_once_and_tells_the_difference(moody: Moody, cluster: door.Cluster) -> None:
    for name in "abc":
        await moody.put(name)
    async with following(cluster) as followed:
        await eventually(lambda: moody.counted(watch=True) == 1)
        moody.watch_moods.append(fake.answers(lambda: fake.status(503, "hold on")))  # so that the changes go unseen
        moody.drop()
        await moody.remove("a")
        await moody.put("b", spec={"replicas": 3})
        await moody.put("d")
        moody.compact()
        await eventually(lambda: followed.names() == {"b", "c", "d"})
        assert followed.told() == ["+a", "+b", "+c", "~b", "+d", "-a"]
        gone, _ = followed.changes[-1]
        assert gone is not None
        assert gone["metadata"]["resourceVersion"] == str(moody.version)  # where it's known to be gone
        assert moody.counted(watch=False) == 2


async def test_410_inside_the_stream(moody: Moody, cluster: door.Cluster) -> None:
    expired = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old", "reason": "Expired"}}
    moody.watch_moods.append(fake.streams(moody, encoding.dumps(expired).encode() + b"\n"))
    await moody.put("a")
    async with following(cluster) as followed:
        await eventually(lambda: moody.counted(watch=True) == 2)
        assert moody.counted(watch=False) == 2
        assert followed.told() == ["+a"]


async def test_410_for_ever_is_no_storm(moody: Moody, cluster: door.Cluster) -> None:
    for _ in range(1000):
        moody.watch_moods.append(fake.answers(lambda: fake.status(410, "too old", "Expired")))
    async with following(cluster, Pace(first=0.05, most=0.2)):
        await asyncio.sleep(0.6)
    assert moody.counted(watch=False) < 10


async def test_empty_streams_are_no_storm(moody: Moody, cluster: door.Cluster) -> None:
    for _ in range(1000):
        moody.watch_moods.append(fake.streams(moody))
    async with following(cluster, Pace(first=0.05, most=0.2)):
        await asyncio.sleep(0.6)
    assert moody.counted(watch=True) < 10


@pytest.mark.parametrize(
    "mood",
    [
        pytest.param(lambda m: fake.streams(m, HTML), id="HTML with status 200"),
        pytest.param(lambda m: fake.answers(lambda: web.Response(status=502, body=HTML)), id="HTML with status 502"),
        pytest.param(lambda m: fake.answers(lambda: fake.status(500, "etcdserver: leader changed")), id="500"),
        pytest.param(lambda m: fake.answers(lambda: fake.status(401, "Unauthorized")), id="401"),
        pytest.param(
            lambda m: fake.streams(m, b'{"type":"ADDED","object":{"metadata":{"na'), id="torn, closed in order"
        ),
        pytest.param(lambda m: fake.streams(m, b'{"type":"ADDED","obj', abort=True), id="torn, cut"),
        pytest.param(lambda m: fake.streams(m, b"[1, 2]\n"), id="no object"),
        pytest.param(lambda m: fake.streams(m, b'{"a": 1}\n'), id="no event"),
        pytest.param(lambda m: fake.streams(m, b"\n\n"), id="empty lines"),
    ],
)
async def test_nonsense_is_survived_and_nothing_is_lost(mood: Any, moody: Moody, cluster: door.Cluster) -> None:
    moody.watch_moods += [mood(moody), mood(moody)]
    await moody.put("a")
    async with following(cluster) as followed:
        await eventually(lambda: moody.counted(watch=True) == 2)
        await moody.put("b")
        await eventually(lambda: followed.names() == {"a", "b"})
        assert followed.told() == ["+a", "+b"]
        assert moody.counted(watch=False) == 1


@pytest.mark.parametrize("body", [HTML, b"{}", b"null", b'{"kind": "DeploymentList", "items": []', b""])
async def test_a_list_that_is_none_deletes_nothing(body: bytes, moody: Moody, cluster: door.Cluster) -> None:
    await moody.put("a")
    async with following(cluster) as followed:
        await eventually(lambda: moody.counted(watch=True) == 1)
        moody.compact()
        moody.version += 1
        moody.compact()
        moody.list_moods.append(fake.answers(lambda: web.Response(status=200, body=body)))
        moody.drop()
        await eventually(lambda: moody.counted(watch=False) == 3)
        assert followed.told() == ["+a"]


async def test_lines_longer_than_4_mib(moody: Moody, cluster: door.Cluster) -> None:
    async with following(cluster) as followed:
        await moody.put("a", spec={"filling": "x" * (6 << 20)})
        await eventually(lambda: followed.names() == {"a"})
        assert moody.counted(watch=False) == 1


async def test_many_events_in_one_chunk_and_one_event_in_many(moody: Moody, cluster: door.Cluster) -> None:
    lines = b"".join(
        encoding.dumps(
            {
                "type": "ADDED",
                "object": {
                    "metadata": {"namespace": "test", "name": name, "uid": name, "resourceVersion": str(200 + at)}
                },
            }
        ).encode()
        + b"\n"
        for at, name in enumerate("abc")
    )
    moody.version = 199
    moody.watch_moods.append(fake.streams(moody, lines[:10], lines[10:30], lines[30:]))
    async with following(cluster) as followed:
        await eventually(lambda: followed.told() == ["+a", "+b", "+c"])


async def test_429_waits_as_told(moody: Moody, cluster: door.Cluster) -> None:
    busy = fake.answers(lambda: fake.status(429, "too many requests", **{"Retry-After": "2"}))
    moody.list_moods.append(busy)
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with following(cluster) as followed:
        await followed.informer.wait_synced()
    assert loop.time() - begin > 1.9


async def test_api_restart_with_another_past(moody: Moody, cluster: door.Cluster) -> None:
    """Restored from a backup: versions start over, and an object of the same name is another one."""
    await moody.put("a")
    await moody.put("b")
    async with following(cluster) as followed:
        await eventually(lambda: followed.names() == {"a", "b"})
        await moody.stop()
        await eventually(lambda: not followed.informer.healthy())
        moody.objects.clear()
        moody.history.clear()
        moody.version = 10
        await moody.put("a", uid="another")
        await moody.put("c")
        moody.watch_moods.append(fake.answers(lambda: fake.status(410, "too old", "Expired")))
        await moody.start()
        await eventually(lambda: followed.names() == {"a", "c"})
        await moody.put("d")
        await eventually(lambda: followed.names() == {"a", "c", "d"})
        assert followed.told() == ["+a", "+b", "~a", "+c", "-b", "+d"]
        assert followed.informer.healthy()


async def test_a_server_that_goes_back_in_time_is_listed_again(moody: Moody, cluster: door.Cluster) -> None:
    await moody.put("a")
    async with following(cluster) as followed:
        await eventually(lambda: followed.names() == {"a"} and moody.counted(watch=True) == 1)
        moody.objects.clear()
        moody.version = 20
        moody.history.clear()
        moody.history.append((0, {}))  # what the open stream has told already counts as told
        await moody.put("b")
        moody.history[-1] = (10**9, moody.history[-1][1])
        await eventually(lambda: followed.names() == {"b"})
        assert sorted(followed.told()) == ["+a", "+b", "-a"]


async def test_a_kind_that_is_not_served_is_awaited_with_one_log_line(
    moody: Moody, cluster: door.Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shared.kube")
    moody.served = False
    async with following(cluster) as followed:
        await eventually(lambda: moody.counted(watch=False) > 4)
        assert not followed.informer.healthy()
        assert len(_said(caplog)) == 1
        moody.served = True
        await moody.put("a")
        await eventually(lambda: followed.names() == {"a"})
        assert followed.informer.healthy()
        assert _said(caplog) == ["WARNING", "INFO"]


async def test_a_kind_that_needn_t_be_served_has_no_objects_until_it_is(
    moody: Moody, cluster: door.Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shared.kube")
    moody.served = False
    async with following(cluster, absent=(Gone,)) as followed:
        await followed.informer.wait_synced()
        assert (followed.names(), followed.informer.healthy(), followed.informer.known()) == (set(), True, False)
        moody.served = True
        await moody.put("a")
        await eventually(lambda: followed.names() == {"a"})
        assert followed.informer.healthy()
        assert followed.informer.known()
        assert _said(caplog) == [], "it is no fault"


async def test_what_may_not_be_seen_is_unknown_until_it_may(moody: Moody, cluster: door.Cluster) -> None:
    """Not the same as nothing."""
    moody.list_moods.append(fake.answers(lambda: fake.status(403, "no rights")))
    async with following(cluster, absent=(Gone, Forbidden)) as followed:
        await followed.informer.wait_synced()
        assert (followed.informer.known(), followed.informer.healthy()) == (False, True)
        await eventually(followed.informer.known)
        assert (followed.names(), followed.informer.healthy()) == (set(), True)


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records if record.name.startswith("shared.kube")]


async def test_absorbed_answers_are_there_at_once_and_told_once(moody: Moody, cluster: door.Cluster) -> None:
    async with following(cluster) as followed:
        await eventually(lambda: moody.counted(watch=True) == 1)
        moody.watch_moods.append(fake.answers(lambda: fake.status(503, "hold on")))
        moody.drop()
        created = await moody.put("a")
        before = encoding.dumps(created)
        followed.informer.absorb(created)
        assert followed.told() == ["+a"]
        assert encoding.dumps(created) == before
        await moody.put("b")
        await eventually(lambda: followed.names() == {"a", "b"})
        assert followed.told() == ["+a", "+b"]


async def test_waiting_for_a_version(moody: Moody, cluster: door.Cluster) -> None:
    async with following(cluster) as followed:
        await eventually(lambda: moody.counted(watch=True) == 1)
        waiting = asyncio.create_task(followed.informer.at_least("test", "a", "101", 30.0))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await moody.put("a")
        found = await waiting
        assert found is not None
        assert found["metadata"]["resourceVersion"] == "101"


async def test_waiting_for_a_deletion(moody: Moody, cluster: door.Cluster) -> None:
    await moody.put("a")
    async with following(cluster) as followed:
        await eventually(lambda: moody.counted(watch=True) == 1)
        waiting = asyncio.create_task(followed.informer.at_least("test", "a", "102", 30.0))
        await moody.remove("a")
        assert await waiting is None
        assert not followed.informer.behind("test", "a", "102")


async def test_a_wait_that_is_in_vain_says_so(moody: Moody, cluster: door.Cluster) -> None:
    await moody.put("a")
    async with following(cluster) as followed:
        await followed.informer.wait_synced()
        found = await followed.informer.at_least("test", "a", "999", 0.05)
        assert found is not None
        assert followed.informer.behind("test", "a", "999")
        assert not followed.informer._waiting


async def test_a_silent_watch_is_asked_for_60_to_120_seconds(moody: Moody, cluster: door.Cluster) -> None:
    for chance, seconds in ((0.0, "60"), (1.0, "120")):
        async with following(cluster, chance=lambda chance=chance: chance):
            await eventually(lambda: moody.counted(watch=True) > 0)
            assert moody.requests[-1].query["timeoutSeconds"] == seconds
            assert moody.requests[-1].query["allowWatchBookmarks"] == "true"
        moody.requests.clear()


async def test_metadata_only_holds_no_content_even_if_the_server_sends_it(moody: Moody, cluster: door.Cluster) -> None:
    await moody.put("a", data={"password": "aHVudGVyMg=="})
    async with following(cluster, metadata_only=True) as followed:
        await followed.informer.wait_synced()
        await moody.put("b", data={"password": "aHVudGVyMg=="})
        await eventually(lambda: followed.names() == {"a", "b"})
        assert "aHVudGVyMg" not in str(list(followed.informer.all()))
        assert "as=PartialObjectMetadataList" in moody.requests[0].headers["Accept"]
        assert "as=PartialObjectMetadata;" in moody.requests[1].headers["Accept"]


def test_back_off_is_jittered_and_bounded() -> None:
    low = informer.Informer(None, kinds.DEPLOYMENT, chance=lambda: 0.0)  # type: ignore[arg-type]  # asks nobody
    high = informer.Informer(None, kinds.DEPLOYMENT, chance=lambda: 1.0)  # type: ignore[arg-type]
    waits = [(low._back_off(), high._back_off()) for _ in range(30)]
    assert waits[0] == (0.1, 0.2)
    assert waits[1] == (0.2, 0.4)
    assert waits[-1] == (5.0, 10.0)
