"""Somebody else subscribes: the example as users run it, and what the same account is refused."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import NotFoundError

from sandbox.nats import NatsServer
from shared.bus.publish import Publisher
from shared.wire import subjects
from shared.wire.messages import EventType
from tests.integration.bus_messages import event
from tests.integration.bus_stage import DEADLINE, Child, as_user, collected, joined, nats_server, until

pytestmark = pytest.mark.integration

EXAMPLE: Final = Path(__file__).parent.parent.parent / "examples" / "subscribe.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@asynccontextmanager
async def example(server: NatsServer, *arguments: str) -> AsyncIterator[Child]:
    """Run outside the checkout, with nothing of ours in reach."""
    url = server.url.replace("nats://", f"nats://subscriber:{server.credentials['subscriber']}@")
    async with collected(sys.executable, "-P", str(EXAMPLE), url, *arguments, cwd=Path("/")) as child:
        yield child


async def publish(router: Publisher, seq: int, name: str = "web", kind: EventType = EventType.ADVANCED) -> None:
    message = event(seq, name, kind)
    subject = subjects.rollout("shop", name, kind)
    await router.publish(subject, message, stream=subjects.ROLLOUT_STREAM, message_id=message.id)


async def test_the_example_replays_from_the_first_event_and_follows_live(server: NatsServer) -> None:
    async with joined(server, "router") as place:
        await publish(place.publisher, 1, kind=EventType.STARTED)
        await publish(place.publisher, 2)
        async with example(server) as first:
            await until(lambda: len(first.lines) == 2)
            await publish(place.publisher, 3)
            await publish(place.publisher, 1, "other", EventType.STARTED)
            await until(lambda: len(first.lines) == 4)
            async with example(server, "shop", "web") as late:
                await until(lambda: len(late.lines) == 3)
                assert late.lines == [line for line in first.lines if "web.shop" in line]
        assert [line.split(maxsplit=1)[1] for line in first.lines] == [
            "#1 started 10% Advance web.shop canary weight 10",
            "#2 advanced 20% Advance web.shop canary weight 20",
            "#3 advanced 30% Advance web.shop canary weight 30",
            "#1 started 10% Advance other.shop canary weight 10",
        ]


async def test_the_example_outlives_a_kill_of_the_server_and_misses_nothing(server: NatsServer) -> None:
    async with joined(server, "router") as place:
        await publish(place.publisher, 1, "third")
        async with example(server, "shop", "third") as child:
            await until(lambda: len(told(child)) == 1)
            server.kill()
            await server.start()
            await until(lambda: "nats" not in place.runtime.health.missing())
            await publish(place.publisher, 2, "third")
            await until(lambda: len(told(child)) == 2)
            assert [line.split()[1] for line in told(child)] == ["#1", "#2"]


def told(child: Child) -> list[str]:
    """Without nats-py's complaints about the connection."""
    return [line for line in list(child.lines) if "Advance" in line]


def test_the_example_is_fifteen_lines_of_nats_py_alone() -> None:
    text = EXAMPLE.read_text()
    code = [line for line in text.splitlines()[1:] if line.strip()]
    assert len(code) <= 15
    imported = [line for line in code if line.startswith(("import", "from"))]
    assert imported == ["import asyncio", "import json", "import sys", "import nats"]


Operation = Callable[[JetStreamContext], Awaitable[Any]]
REFUSED: Final[dict[str, Operation]] = {
    "publish a fact": lambda js: js.publish("serinus.inbox.shop.web", b"x"),
    "publish a tick": lambda js: js.publish("serinus.tick.shop.web", b"x"),
    "forge a rollout event": lambda js: js.publish("serinus.rollout.v1.shop.web.promoted", b"x"),
    "forge a notice": lambda js: js.publish("serinus.notice.v1.shop.web", b"x"),
    "purge the public stream": lambda js: js.purge_stream(subjects.PUBLIC_STREAM),
    "delete the public stream": lambda js: js.delete_stream(subjects.PUBLIC_STREAM),
    "change it": lambda js: js.update_stream(StreamConfig(name=subjects.PUBLIC_STREAM, max_msgs=1)),
    "create a stream": lambda js: js.add_stream(StreamConfig(name="MINE", subjects=["mine.>"])),
    "delete somebody's consumer": lambda js: js.delete_consumer(subjects.PUBLIC_STREAM, "somebody"),
    "read the inbox": lambda js: js.get_msg(subjects.INBOX_STREAM, seq=1),
    "read notices": lambda js: js.get_msg(subjects.NOTICE_STREAM, seq=1),
    "look at the inbox": lambda js: js.stream_info(subjects.INBOX_STREAM),
    "consume the inbox": lambda js: js.add_consumer(subjects.INBOX_STREAM, ConsumerConfig(name="mine")),
    "consume notices": lambda js: js.add_consumer(subjects.NOTICE_STREAM, ConsumerConfig(name="mine")),
    "consume rollout events inside": lambda js: js.add_consumer(subjects.ROLLOUT_STREAM, ConsumerConfig(name="mine")),
    "create a bucket": lambda js: js.create_key_value(bucket="mine"),
}


async def test_the_same_account_is_refused_everything_else(server: NatsServer) -> None:
    async with as_user(server, "admin") as admin, as_user(server, "public-admin") as public:
        async with joined(server, "router") as place:
            await publish(place.publisher, 9)
        await still(admin, public)
        before = await picture(admin), await picture(public)
        async with as_user(server, "subscriber", inbox="_INBOX") as stranger:
            js = stranger.client.jetstream(timeout=0.15)
            for name, operation in REFUSED.items():
                stranger.errors.clear()
                with pytest.raises((Error, NotFoundError)):
                    await operation(js)
                await stranger.synchronise()
                assert any("permissions violation" in each for each in stranger.errors), name
            for other in ("_INBOX_router.>", "_INBOX_public-bootstrap.>", "serinus.>", ">"):
                stranger.errors.clear()
                await stranger.client.subscribe(other)
                await stranger.synchronise()
                assert any("permissions violation for subscription" in each for each in stranger.errors), other
        assert (await picture(admin), await picture(public)) == before


async def still(admin: Any, public: Any) -> None:
    """The public stream has all that its source has; the server copies a moment later."""
    async with asyncio.timeout(DEADLINE):
        while True:
            source, copy = await admin.state(subjects.ROLLOUT_STREAM), await public.state(subjects.PUBLIC_STREAM)
            if copy["messages"] == source["messages"]:
                return
            await asyncio.sleep(0.01)


async def picture(admin: Any) -> dict[str, Any]:
    """Every stream with all it holds; what is read stays as it was."""
    found = (await admin.api("STREAM.LIST"))["streams"]
    return {each["config"]["name"]: (each["config"], each["state"]) for each in found}
