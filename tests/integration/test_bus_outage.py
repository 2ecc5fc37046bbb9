"""The bus goes away, loses its memory or holds its breath; nobody spins, and everything goes on by itself."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox.nats import NatsServer
from shared.bus.broker import Broker
from shared.bus.consume import consume
from shared.bus.delivery import Delivery
from shared.bus.streams import PARTITIONS
from shared.errors import RetryLater
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import Fact
from tests.integration.bus_messages import fact
from tests.integration.bus_stage import ADMINS, as_user, bootstrapped, joined, process, until
from tests.integration.test_bus_consume import INBOUND, Handled

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path / "nats", more=ADMINS) as running:
        await bootstrapped(running)
        yield running


def router(handle: Callable[[Handled, Delivery], Awaitable[None]]) -> Callable[[Broker, Runtime], None]:
    """One partition is enough here."""
    number = partition()

    def register(broker: Broker, runtime: Runtime) -> None:
        consume(
            broker,
            stream=subjects.INBOX_STREAM,
            durable=subjects.router_durable(PARTITIONS, number),
            filter_subject=subjects.inbox_partition(PARTITIONS, number),
            decode=INBOUND,
            handler=handle,
            runtime=runtime,
            service="router",
            max_deliver=20,
        )

    return register


def partition() -> int:
    """Of shop/web: FNV-1a over its two tokens, as nats-server has it."""
    found = 2166136261
    for byte in b"shopweb":
        found = (found ^ byte) * 16777619 % 2**32
    return found % PARTITIONS


async def test_after_a_kill_of_the_server_in_the_middle_everything_is_handled_in_order(server: NatsServer) -> None:
    handled: list[int] = []
    middle = asyncio.Event()

    async def handle(message: Handled, _: Delivery) -> None:
        assert isinstance(message, Fact)
        version = int(message.object.resource_version)
        if version == 10 and not middle.is_set():
            middle.set()
            await asyncio.sleep(0.2)  # is under way while the server dies, and acknowledges into the void
        if version not in handled:
            handled.append(version)

    async with joined(server, "router", router(handle)) as place:
        for version in range(1, 21):
            await place.publisher.publish(
                subjects.inbox("shop", "web"), fact(version), stream="INBOX", message_id=fact(version).id
            )
        await middle.wait()
        server.kill()
        await until(lambda: "nats" in place.runtime.health.missing())
        await server.start()
        await until(lambda: len(handled) == 20)
        await until(lambda: "nats" not in place.runtime.health.missing())
        assert handled == list(range(1, 21))
        assert not place.runtime.failure


async def test_a_consumer_deleted_underneath_is_missed_quietly_and_taken_up_again(server: NatsServer) -> None:
    handled: list[str] = []

    async def handle(message: Handled, _: Delivery) -> None:
        handled.append(message.id)

    async with joined(server, "router", router(handle)) as place, as_user(server, "admin") as admin:
        client = await place.broker.connect()
        assert (await admin.api(f"CONSUMER.DELETE.INBOX.router-8-{partition()}"))["success"]
        await until(lambda: "doesn't answer" in place.runtime.health.missing().get("nats", ""))
        before, begun = client.stats["out_msgs"], asyncio.get_running_loop().time()
        await until(lambda: client.stats["out_msgs"] >= before + 3)
        assert asyncio.get_running_loop().time() - begun > 1.5, "asks once a second"
        await bootstrapped(server)
        await place.publisher.publish(subjects.inbox("shop", "web"), fact(), stream="INBOX")
        await until(lambda: handled == [fact().id])
        await until(lambda: "nats" not in place.runtime.health.missing())


async def test_a_wiped_disk_and_a_bootstrap_are_enough_to_go_on(server: NatsServer) -> None:
    handled: list[str] = []

    async def handle(message: Handled, _: Delivery) -> None:
        handled.append(message.id)

    async with joined(server, "router", router(handle)) as place:
        server.kill()
        server.wipe()
        await server.start()
        await until(lambda: "doesn't answer" in place.runtime.health.missing().get("nats", ""))
        with pytest.raises(RetryLater, match="stream INBOX isn't there"):
            await place.publisher.publish(subjects.inbox("shop", "web"), fact(1), stream="INBOX")
        await bootstrapped(server)
        await place.publisher.publish(subjects.inbox("shop", "web"), fact(2), stream="INBOX")
        await until(lambda: handled == [fact(2).id])


async def test_a_publication_without_an_answer_may_be_repeated(server: NatsServer) -> None:
    """The server holds its breath: the first attempt is given up, is stored all the same, and its repeat isn't."""
    async with joined(server, "watcher") as place:
        subject, message = subjects.inbox("shop", "web"), fact()
        server.signal(signal.SIGSTOP)
        with pytest.raises(RetryLater, match="not stored: "):
            await place.publisher.publish(subject, message, stream="INBOX", message_id=message.id)
        server.signal(signal.SIGCONT)
        await place.publisher.publish(subject, message, stream="INBOX", message_id=message.id)
    async with as_user(server, "admin") as admin:
        assert (await admin.state("INBOX"))["last_seq"] == 1


async def test_a_service_waits_for_the_bootstrap(server: NatsServer) -> None:
    handled: list[str] = []

    async def handle(message: Handled, _: Delivery) -> None:
        handled.append(message.id)

    async with as_user(server, "admin") as admin:
        assert (await admin.api("STREAM.DELETE.INBOX"))["success"]

    async def live() -> None:
        async with joined(server, "router", router(handle)) as place:
            await place.publisher.publish(subjects.inbox("shop", "web"), fact(), stream="INBOX")
            await until(lambda: handled)

    living = asyncio.create_task(live())
    await bootstrapped(server)
    await living
    assert handled == [fact().id]


async def test_a_refused_password_ends_the_process_with_one_sentence(server: NatsServer) -> None:
    env = {**server.env("router"), "SERINUS_NATS_PASSWORD": "another"}
    async with process("tests.integration.bus_process", env=env) as child:
        assert await child.ended() == 1
    assert child.messages == [
        "NATS: Error: nats: 'Authorization Violation'",
        "failed: the connection to NATS is closed",
        "stopped",
    ]
    assert not [line for line in child.lines if "Traceback" in line]


async def test_waiting_for_nats_is_one_line_and_ends_when_told(tmp_path: Path) -> None:
    env = NatsServer(tmp_path).env("router")
    async with process("tests.integration.bus_process", env=env) as child:
        await child.said("Connect call failed")
        child.process.terminate()
        assert await child.ended() == 0
    assert child.messages[1:] == ["told to stop by SIGTERM", "stopped"]


async def test_a_service_ends_in_order_while_the_server_is_away(server: NatsServer) -> None:
    async def handle(_: Handled, __: Delivery) -> None: ...

    async with joined(server, "router", router(handle)) as place:
        server.kill()
        await until(lambda: "nats" in place.runtime.health.missing())
    assert not place.runtime.failure
