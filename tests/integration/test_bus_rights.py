"""Who may do what: every operation below, tried by every user on a real server; whatever isn't listed is refused."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from sandbox.nats import NatsServer
from shared.bus import accounts
from shared.wire import subjects
from tests.integration.bus_stage import Plain, as_user, nats_server, until

pytestmark = pytest.mark.integration

API: Final = "$JS.API."

PUBLISH: Final = {
    "a fact": "serinus.inbox.shop.web",
    "a message past the partitioning": "serinus.inbox.8.3.shop.web",
    "a due tick": "serinus.tick.shop.web",
    "a schedule": "serinus.schedule.shop.web",
    "a due look": "serinus.glance.shop.web",
    "a look's schedule": "serinus.glance-schedule.shop.web",
    "a rollout event": "serinus.rollout.v1.shop.web.started",
    "a notice": "serinus.notice.v1.shop.web",
    "a marker": "$KV.serinus-markers.x",
    "dead letter of watcher": "serinus.dead.watcher",
    "dead letter of router": "serinus.dead.router",
    "dead letter of analyzer": "serinus.dead.analyzer",
    "dead letter of notifier": "serinus.dead.notifier",
    "into the public stream's source": "serinus.sync.public.x",
    "a public consumer over the source's door": "SERINUS.API.CONSUMER.CREATE.ROLLOUT",
    "a forged advisory": "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.INBOX.router-8-0",
    "into the router's inbox": "_INBOX_router.x.y",
    "into the subscriber's inbox": "_INBOX.x.y",
    "pull from the inbox": f"{API}CONSUMER.MSG.NEXT.INBOX.router-8-0",
    "pull ticks": f"{API}CONSUMER.MSG.NEXT.TICK.analyzer",
    "pull notices": f"{API}CONSUMER.MSG.NEXT.NOTICE.notifier-alerts",
    "pull from a consumer of one's own": f"{API}CONSUMER.MSG.NEXT.PUBLIC_ROLLOUTS.mine",
    "acknowledge the inbox": "$JS.ACK.INBOX.router-8-0.1.1.1.1.0",
    "acknowledge ticks": "$JS.ACK.TICK.analyzer.1.1.1.1.0",
    "pull looks": f"{API}CONSUMER.MSG.NEXT.TICK.analyzer-glances",
    "acknowledge looks": "$JS.ACK.TICK.analyzer-glances.1.1.1.1.0",
    "acknowledge notices": "$JS.ACK.NOTICE.notifier-alerts.1.1.1.1.0",
    "read the inbox": f"{API}STREAM.MSG.GET.INBOX",
    "read notices": f"{API}STREAM.MSG.GET.NOTICE",
    "read ticks": f"{API}DIRECT.GET.TICK",
    "read rollout events": f"{API}DIRECT.GET.ROLLOUT",
    "read markers": f"{API}DIRECT.GET.KV_serinus-markers",
    "read the public stream": f"{API}DIRECT.GET.PUBLIC_ROLLOUTS",
    "create a stream": f"{API}STREAM.CREATE.MINE",
    "change a stream": f"{API}STREAM.UPDATE.INBOX",
    "purge a stream": f"{API}STREAM.PURGE.TICK",
    "delete a stream": f"{API}STREAM.DELETE.TICK",
    "delete a message": f"{API}STREAM.MSG.DELETE.ROLLOUT",
    "delete a public message": f"{API}STREAM.MSG.DELETE.PUBLIC_ROLLOUTS",
    "purge the public stream": f"{API}STREAM.PURGE.PUBLIC_ROLLOUTS",
    "delete the public stream": f"{API}STREAM.DELETE.PUBLIC_ROLLOUTS",
    "create a consumer of rollout events": f"{API}CONSUMER.CREATE.ROLLOUT.mine",
    "create a consumer of the inbox": f"{API}CONSUMER.CREATE.INBOX",
    "create a consumer of the public stream": f"{API}CONSUMER.CREATE.PUBLIC_ROLLOUTS.mine",
    "create a durable the old way": f"{API}CONSUMER.DURABLE.CREATE.INBOX.mine",
    "delete a consumer": f"{API}CONSUMER.DELETE.INBOX.router-8-0",
    "pause a consumer": f"{API}CONSUMER.PAUSE.INBOX.router-8-0",
    "unpin a consumer": f"{API}CONSUMER.UNPIN.INBOX.router-8-0",
    "list streams": f"{API}STREAM.LIST",
    "restore a stream": f"{API}STREAM.RESTORE.MINE",
    "snapshot a stream": f"{API}STREAM.SNAPSHOT.INBOX",
    "ask the system": "$SYS.REQ.SERVER.PING",
}
SUBSCRIBE: Final = {
    "hear everything": ">",
    "hear everything of ours": "serinus.>",
    "hear ticks": "serinus.tick.>",
    "hear the sourcing": "serinus.sync.>",
    "hear the API": "$JS.API.>",
    "hear advisories": "$JS.EVENT.>",
    "hear markers": "$KV.>",
    "hear watcher's inbox": "_INBOX_watcher.>",
    "hear router's inbox": "_INBOX_router.>",
    "hear analyzer's inbox": "_INBOX_analyzer.>",
    "hear notifier's inbox": "_INBOX_notifier.>",
    "hear bootstrap's inbox": "_INBOX_bootstrap.>",
    "hear the common inbox": "_INBOX.>",
}
MAY: Final = {
    "watcher": {"a fact", "dead letter of watcher", "hear watcher's inbox"},
    "router": {
        "a fact",
        "a due tick",
        "a schedule",
        "a look's schedule",
        "a rollout event",
        "a notice",
        "dead letter of router",
        "pull from the inbox",
        "acknowledge the inbox",
        "read ticks",
        "read rollout events",
        "hear router's inbox",
    },
    "analyzer": {
        "a fact",
        "a marker",
        "dead letter of analyzer",
        "pull ticks",
        "acknowledge ticks",
        "a look's schedule",
        "pull looks",
        "acknowledge looks",
        "read markers",
        "hear analyzer's inbox",
    },
    "notifier": {
        "a marker",
        "dead letter of notifier",
        "pull notices",
        "acknowledge notices",
        "read markers",
        "hear notifier's inbox",
    },
    "bootstrap": {
        "create a stream",
        "change a stream",
        "create a consumer of rollout events",
        "create a consumer of the inbox",
        "create a consumer of the public stream",
        "delete a consumer",
        "pause a consumer",
        "hear bootstrap's inbox",
    },
    "public-bootstrap": {
        "create a stream",
        "change a stream",
        "create a consumer of rollout events",
        "create a consumer of the inbox",
        "create a consumer of the public stream",
    },
    "subscriber": {
        "pull from a consumer of one's own",
        "read the public stream",
        "create a consumer of the public stream",
        "hear the common inbox",
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


async def granted(plain: Plain) -> set[str]:
    """Tries them all; the server's complaint about one is here before its answer to what was sent later."""
    found = set()
    for name, subject in PUBLISH.items():
        plain.errors.clear()
        await plain.client.publish(subject, b"?")
        await plain.synchronise()
        if not plain.errors:
            found.add(name)
    for name, subject in SUBSCRIBE.items():
        plain.errors.clear()
        subscription = await plain.client.subscribe(subject)
        await plain.synchronise()
        if not plain.errors:
            found.add(name)
            await subscription.unsubscribe()
    return found


@pytest.mark.parametrize("user", MAY)
async def test_a_user_may_do_this_and_nothing_else(server: NatsServer, user: str) -> None:
    async with as_user(server, user) as plain:
        assert await granted(plain) == MAY[user]


def test_the_table_has_every_user_but_the_administrator() -> None:
    assert {user.name for user in accounts.USERS} == {*MAY, "sys"}


async def test_the_tables_operations_reach_the_server(server: NatsServer) -> None:
    """The table proves nothing if its subjects are misspelt: an administrator gets an answer from each API call."""
    quiet = ("MSG.NEXT", "DIRECT.GET", "DELETE.TICK", "PURGE", "PAUSE", "RESTORE", "SNAPSHOT", "CREATE.INBOX")
    async with as_user(server, "admin") as admin:
        for name, subject in PUBLISH.items():
            if subject.startswith(API) and not any(word in subject for word in quiet):
                answer = await admin.client.request(subject, b"?", timeout=5)
                assert "error" in json.loads(answer.data) or b"streams" in answer.data, name


async def test_a_consumer_of_the_public_stream_cant_reach_what_its_owner_cant(server: NatsServer) -> None:
    """The right to create consumers lets a user choose where the server delivers: in PUBLIC there's nothing to forge."""
    targets = [
        "serinus.inbox.shop.web",
        "serinus.tick.shop.web",
        f"{API}STREAM.DELETE.{subjects.PUBLIC_STREAM}",
        f"{API}STREAM.PURGE.{subjects.PUBLIC_STREAM}",
        "SERINUS.API.CONSUMER.CREATE.ROLLOUT",
    ]
    async with (
        as_user(server, "admin") as admin,
        as_user(server, "public-admin") as public,
        as_user(server, "subscriber", inbox="_INBOX") as stranger,
    ):
        await admin.purge("INBOX", "TICK")
        heard = []
        for target in targets[:2]:

            async def listen(message: object) -> None:
                heard.append(message)

            await admin.client.subscribe(target, cb=listen)
        await admin.synchronise()
        for number in range(3):
            await admin.client.jetstream().publish("serinus.rollout.v1.shop.web.started", str(number).encode())
        arrived = []

        async def arrive(message: object) -> None:
            arrived.append(message)

        await stranger.client.subscribe("_INBOX.last", cb=arrive)
        for target in [*targets, "_INBOX.last"]:
            config = {"deliver_subject": target, "ack_policy": "none", "headers_only": True}
            body = {"stream_name": subjects.PUBLIC_STREAM, "config": config}
            answer = await stranger.api(f"CONSUMER.CREATE.{subjects.PUBLIC_STREAM}", body)
            assert "error" not in answer
        told = (await admin.state("ROLLOUT"))["messages"]  # by the tests before, too
        await until(lambda: len(arrived) >= told)
        assert (await public.state(subjects.PUBLIC_STREAM))["messages"] == len(arrived)
        assert [(await admin.state(name))["messages"] for name in ("INBOX", "TICK")] == [0, 0]
        assert not heard
