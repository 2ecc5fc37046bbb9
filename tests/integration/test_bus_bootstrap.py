"""The bootstrap as a process, against real servers: what it makes, heals, changes, leaves, and says when it can't."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.nats import NatsServer
from sandbox.ports import free_port
from shared.bus import streams
from shared.wire import subjects
from tests.integration.bus_stage import ADMINS, Child, as_user, bootstrapped, process, until
from tests.integration.old_nats import old_nats

pytestmark = pytest.mark.integration

BOOTSTRAP = "shared.bus.bootstrap"
WANTED = [str(each["name"]) for each in streams.streams(1)]
DAY = 24 * 3600 * 10**9


@pytest.fixture
def server(tmp_path: Path) -> NatsServer:
    return NatsServer(tmp_path / "nats", more=ADMINS)


async def times_of_creation(server: NatsServer) -> dict[str, str]:
    found = {}
    async with as_user(server, "admin") as admin:
        for name in WANTED:
            found[name] = (await admin.api(f"STREAM.INFO.{name}"))["created"]
        for each in streams.durables():
            found[each.name] = (await admin.api(f"CONSUMER.INFO.{each.stream}.{each.name}"))["created"]
    async with as_user(server, "public-admin") as admin:
        found[subjects.PUBLIC_STREAM] = (await admin.api(f"STREAM.INFO.{subjects.PUBLIC_STREAM}"))["created"]
    return found


async def run_once(env: dict[str, str]) -> tuple[int, list[str]]:
    async with process(BOOTSTRAP, env=env) as child:
        return await child.ended(), child.messages


async def test_the_second_run_changes_nothing(server: NatsServer) -> None:
    async with server:
        code, said = await run_once(server.env("bootstrap"))
        assert code == 0
        assert {each for each in said if each.startswith("created")} == {
            *(f"created stream {name}" for name in [*WANTED, subjects.PUBLIC_STREAM]),
            *(f"created consumer {each.name} of stream {each.stream}" for each in streams.durables()),
        }
        before = await times_of_creation(server)
        code, said = await run_once(server.env("bootstrap"))
        assert (code, said) == (0, ["all streams and consumers are there", "stopped"])
        assert await times_of_creation(server) == before


async def test_a_deleted_stream_and_a_deleted_consumer_come_back_and_the_rest_stays(server: NatsServer) -> None:
    async with server:
        await bootstrapped(server)
        before = await times_of_creation(server)
        async with as_user(server, "admin") as admin:
            await admin.client.jetstream().publish("serinus.inbox.shop.web", b"kept")
            assert (await admin.api("STREAM.DELETE.NOTICE"))["success"]
            assert (await admin.api("CONSUMER.DELETE.INBOX.router-8-3"))["success"]
            await bootstrapped(server)
            after = await times_of_creation(server)
            changed = {name for name in before if before[name] != after[name]}
            assert changed == {
                "NOTICE",
                "router-8-3",
                *(each.name for each in streams.durables() if each.stream == "NOTICE"),
            }
            assert (await admin.state("INBOX"))["messages"] == 1


async def test_it_changes_only_what_loses_nothing(server: NatsServer) -> None:
    async with server:
        await bootstrapped(server)
        async with as_user(server, "admin") as admin:
            await edit(admin, "NOTICE", max_age=60 * DAY, max_bytes=10_000_000, description="edited", max_msg_size=5000)
            await edit(admin, "INBOX", subjects=["serinus.inbox.*.*", "somebody.else"], duplicate_window=10**9)
            await edit(admin, "DEAD", max_msgs=123)
            code, said = await run_once(server.env("bootstrap"))
            assert code == 0
            assert [each for each in said if each.startswith("changed")] == [
                "changed stream INBOX: duplicate_window: 1000000000 → 300000000000",
                "changed stream NOTICE: description: edited → What the notifier has to do about each event.; "
                "max_bytes: 10000000 → 134217728",
            ]
            notice = await admin.config("STREAM", "NOTICE")
            assert (notice["max_age"], notice["max_msg_size"]) == (60 * DAY, 5000)
            assert (await admin.config("STREAM", "INBOX"))["subjects"] == ["serinus.inbox.*.*", "somebody.else"]
            assert (await admin.config("STREAM", "DEAD"))["max_msgs"] == 123


async def edit(admin: Any, stream: str, **change: Any) -> None:
    answer = await admin.api(f"STREAM.UPDATE.{stream}", {**await admin.config("STREAM", stream), **change})
    assert "error" not in answer, answer


async def test_what_cant_be_changed_is_left_and_said(server: NatsServer) -> None:
    async with server, as_user(server, "admin") as admin:
        own = {"name": "DEAD", "subjects": ["serinus.dead.>"], "storage": "memory", "retention": "limits"}
        assert "error" not in await admin.api("STREAM.CREATE.DEAD", own)
        await admin.client.jetstream().publish("serinus.dead.router", b"kept")
        code, said = await run_once(server.env("bootstrap"))
        assert code == 0
        assert "stream DEAD is left as it is: storage is memory, not file" in said
        found = await admin.config("STREAM", "DEAD")
        assert (found["storage"], len(found["subjects"])) == ("memory", 2)
        assert (await admin.state("DEAD"))["messages"] == 1


async def test_what_the_server_refuses_is_one_sentence_and_the_rest_is_there(server: NatsServer) -> None:
    async with server, as_user(server, "admin") as admin:
        await admin.api("STREAM.CREATE.OTHERS", {"name": "OTHERS", "subjects": ["serinus.tick.>"]})
        code, said = await run_once(server.env("bootstrap"))
        assert code == 1
        (failed,) = [each for each in said if each.startswith("failed: ")]
        assert "STREAM.CREATE.TICK: subjects overlap with an existing stream" in failed
        names = {each["config"]["name"] for each in (await admin.api("STREAM.LIST"))["streams"]}
        assert names == {*WANTED, "OTHERS"} - {"TICK"}


async def test_watching_heals_a_lost_disk_untouched_and_says_what_is_ready(server: NatsServer) -> None:
    port = free_port()
    env = {**server.env("bootstrap"), "SERINUS_HTTP_HOST": "127.0.0.1", "SERINUS_HTTP_PORT": str(port)}
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http,
        process(BOOTSTRAP, "--watch", env=env) as child,
    ):
        await child.said("Connect call failed")
        assert await ready(http) == 503
        async with server:
            await reaches(http, 200)
            before = await times_of_creation(server)
            server.kill()
            await reaches(http, 503)
            server.wipe()
            await server.start()
            await child.said("everything is there again")
            await reaches(http, 200)
            after = await times_of_creation(server)
            assert not {name for name in before if before[name] == after[name]}
            await stopped(child)
    assert not [line for line in child.lines if '"stack"' in line]


async def ready(http: aiohttp.ClientSession) -> int:
    async with http.get("/readyz") as answer:
        return answer.status


async def reaches(http: aiohttp.ClientSession, status: int) -> None:
    async with asyncio.timeout(40):
        while await ready(http) != status:
            await asyncio.sleep(0.02)


async def stopped(child: Child) -> None:
    child.process.terminate()
    assert await child.ended() == 0
    assert "the connection to NATS is lost" not in child.messages[-2:]


async def test_waiting_for_nats_is_one_line_however_long_it_takes() -> None:
    attempts = []

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(writer)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as nobody:
        port = nobody.sockets[0].getsockname()[1]
        async with process(BOOTSTRAP, env={"SERINUS_NATS_URL": f"nats://127.0.0.1:{port}"}) as child:
            await until(lambda: len(attempts) > 2)
            await stopped(child)
    assert len([each for each in child.messages if each.startswith("NATS: ")]) == 1


async def test_once_waits_for_a_server_that_comes_later(server: NatsServer) -> None:
    async with process(BOOTSTRAP, env=server.env("bootstrap")) as child:
        await child.said("Connect call failed")
        async with server:
            assert await child.ended() == 0
    assert "all streams and consumers are there" in child.messages


@pytest.mark.parametrize(
    ("version", "level", "sentence"),
    [
        ("2.10.7", 0, "nats-server 2.10.7 is older than 2.14, which Serinus needs"),
        ("2.14.0", 1, "JetStream's API level 1 has no message schedules, which Serinus needs: 2"),
    ],
)
@pytest.mark.parametrize("watch", [(), ("--watch",)])
async def test_a_server_too_old_is_one_clear_sentence(
    version: str, level: int, sentence: str, watch: tuple[str, ...]
) -> None:
    async with old_nats(version, level) as url:
        env = {"SERINUS_NATS_URL": url, "SERINUS_HTTP_PORT": str(free_port())}
        async with process(BOOTSTRAP, *watch, env=env) as child:
            assert await child.ended() == 1
    said = [each for each in child.messages if not each.startswith(("no public stream", "listening on"))]
    assert said == [f"failed: {sentence}", "stopped"]
    assert not [line for line in child.lines if "Traceback" in line]


async def test_a_refused_password_ends_it(server: NatsServer) -> None:
    async with server:
        code, said = await run_once({**server.env("bootstrap"), "SERINUS_NATS_PASSWORD": "another"})
    assert code == 1
    assert "failed: NATS doesn't let bootstrap in, or the connection is closed" in said


async def test_without_accounts_there_is_no_public_stream_and_it_says_so_once(tmp_path: Path) -> None:
    async with NatsServer(tmp_path, secured=False, more=ADMINS) as server:
        code, said = await run_once(server.env("bootstrap"))
        assert code == 0
        assert len([each for each in said if each.startswith("no public stream")]) == 1
        async with as_user(server, "admin") as anybody:
            names = {each["config"]["name"] for each in (await anybody.api("STREAM.LIST"))["streams"]}
        assert names == set(WANTED)


async def test_a_denied_request_is_a_complaint_of_the_server_in_the_log(server: NatsServer) -> None:
    async with server, process(BOOTSTRAP, env=server.env("watcher")) as child:
        await until(lambda: any("permissions violation" in line for line in list(child.lines)))
        await stopped(child)
