"""What becomes of a message after its handler, on a real server; `shared/bus/consume.py` opens with the table."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from sandbox.nats import NatsServer
from shared.bus.broker import Broker
from shared.bus.consume import consume
from shared.bus.delivery import Delivery
from shared.bus.streams import PARTITIONS
from shared.errors import Never, RetryLater
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import SCHEMA, DeadLetter, Fact, Inbound, Nudge, Tick, Verdict
from tests.integration.bus_messages import fact, tick
from tests.integration.bus_stage import DEADLINE, Plain, as_user, joined, nats_server, until

pytestmark = pytest.mark.integration

Handled = Fact | Verdict | Nudge
INBOUND: TypeAdapter[Handled] = TypeAdapter(Inbound)
SUBJECT = subjects.inbox("shop", "web")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest_asyncio.fixture
async def admin(server: NatsServer) -> AsyncIterator[Plain]:
    async with as_user(server, "admin") as plain:
        await plain.purge("INBOX", "TICK", "DEAD")
        yield plain


def router(
    handle: Callable[[Handled, Delivery], Awaitable[None]],
    max_deliver: int = 20,
    longest_delay: float = 30.0,
    **more: Any,
) -> Callable[[Broker, Runtime], None]:
    """Registers a handler on all partitions, as the router does."""

    def register(broker: Broker, runtime: Runtime) -> None:
        for partition in range(PARTITIONS):
            consume(
                broker,
                stream=subjects.INBOX_STREAM,
                durable=subjects.router_durable(PARTITIONS, partition),
                filter_subject=subjects.inbox_partition(PARTITIONS, partition),
                decode=INBOUND,
                handler=handle,
                runtime=runtime,
                service="router",
                max_deliver=max_deliver,
                longest_delay=longest_delay,
                **more,
            )

    return register


async def put(admin: Plain, body: Any, subject: str = SUBJECT, **headers: str) -> int:
    data = body if isinstance(body, bytes) else body.model_dump_json().encode()
    return (await admin.client.jetstream().publish(subject, data, headers=headers or None)).seq


async def settled(admin: Plain, stream: str = "INBOX") -> None:
    async with asyncio.timeout(DEADLINE):
        while (await admin.state(stream))["messages"]:
            await asyncio.sleep(0.01)


async def letters(admin: Plain, wanted: int = 1) -> list[DeadLetter]:
    async with asyncio.timeout(DEADLINE):
        while (state := await admin.state("DEAD"))["messages"] < wanted:
            await asyncio.sleep(0.01)
    found = []
    for sequence in range(state["first_seq"], state["last_seq"] + 1):
        raw = await admin.client.jetstream().get_msg("DEAD", seq=sequence)
        assert raw.subject == "serinus.dead.router"
        found.append(DeadLetter.model_validate_json(raw.data or b""))
    return found


def outcomes(runtime: Runtime) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in runtime.metrics.render().decode().splitlines():
        if line.startswith("serinus_messages_total{"):
            labels, value = line.rsplit(" ", 1)
            found[labels.split('outcome="')[1].split('"')[0]] += int(float(value))
    return found


async def ends(runtime: Runtime, number: int) -> Counter[str]:
    """How this many deliveries ended. The server knows of an acknowledgement before the process counts it."""
    await until(lambda: outcomes(runtime).total() >= number)
    return outcomes(runtime)


async def test_a_handled_message_is_gone(server: NatsServer, admin: Plain) -> None:
    seen: list[tuple[Handled, int, str]] = []

    async def handle(message: Handled, delivery: Delivery) -> None:
        seen.append((message, delivery.attempts, delivery.headers["x-test"]))

    async with joined(server, "router", router(handle)) as place:
        await put(admin, fact(), **{"x-test": "header"})
        await settled(admin)
        assert seen == [(fact(), 1, "header")]
        assert await ends(place.runtime, 1) == {"done": 1}


async def test_retry_later_comes_back_after_a_delay_that_doubles_and_nobody_overtakes(
    server: NatsServer, admin: Plain
) -> None:
    loop = asyncio.get_running_loop()
    seen: list[tuple[str, float]] = []

    async def handle(message: Handled, delivery: Delivery) -> None:
        seen.append((message.id, loop.time()))
        if message.id == fact(1).id and delivery.attempts < 4:
            raise RetryLater("not yet", delay=0.1)

    async with joined(server, "router", router(handle)) as place:
        await put(admin, fact(1))
        await put(admin, fact(2))
        await settled(admin)
        assert [each for each, _ in seen] == [fact(1).id] * 4 + [fact(2).id]
        gaps = [after - before for (_, before), (_, after) in pairwise(seen[:4])]
        assert all(gap >= least * 0.95 for gap, least in zip(gaps, (0.1, 0.2, 0.4), strict=True)), gaps
        assert await ends(place.runtime, 5) == {"retry": 3, "done": 2}


async def test_never_is_a_dead_letter_with_everything_one_needs_to_know(server: NatsServer, admin: Plain) -> None:
    async def handle(_: Handled, __: Delivery) -> None:
        raise Never("the schema forbids it")

    async with joined(server, "router", router(handle)) as place:
        sequence = await put(admin, fact(), **{"Nats-Msg-Id": "f1"})
        (letter,) = await letters(admin)
        await settled(admin)
        assert letter.reason == "refused: the schema forbids it"
        assert (letter.service, letter.stream, letter.stream_seq, letter.deliveries) == ("router", "INBOX", sequence, 1)
        assert letter.subject.endswith(".shop.web")
        assert letter.headers["Nats-Msg-Id"] == "f1"
        assert Fact.model_validate_json(letter.body) == fact()
        assert await ends(place.runtime, 1) == {"dead": 1}
        assert b'serinus_dead_letters_total{reason="refused",service="router"} 1.0' in place.runtime.metrics.render()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "undecodable"),
        (b"\xff\xfe not text", "undecodable"),
        (b'{"kind": "fact"', "undecodable"),
        (b'{"kind": "something", "id": "1"}', "undecodable"),
        (b'{"kind": "nudge", "id": "1"}', "undecodable"),
        (b"[" * 5000, "undecodable"),
        (b'{"kind": "fact", "id": "1", "wire": %d}' % (SCHEMA - 2), "schema"),
    ],
)
async def test_what_cant_be_read_is_a_dead_letter_and_blocks_nobody(
    server: NatsServer, admin: Plain, body: bytes, reason: str
) -> None:
    seen = []

    async def handle(message: Handled, _: Delivery) -> None:
        seen.append(message)

    async with joined(server, "router", router(handle)):
        await put(admin, body)
        await put(admin, fact())
        (letter,) = await letters(admin)
        await settled(admin)
        assert letter.reason.startswith(f"{reason}: ")
        assert letter.body == body.decode(errors="replace")
        assert seen == [fact()]


async def test_out_of_attempts_is_a_dead_letter(server: NatsServer, admin: Plain) -> None:
    attempts = []

    async def handle(_: Handled, delivery: Delivery) -> None:
        attempts.append(delivery.attempts)
        raise RetryLater("the API server is away", delay=0.01)

    async with joined(server, "router", router(handle, max_deliver=4)):
        await put(admin, fact())
        (letter,) = await letters(admin)
        await settled(admin)
        assert attempts == [1, 2, 3]
        assert letter.reason == "exhausted: attempt 3: the API server is away"


async def test_what_ended_each_attempt_without_a_word_is_buried_unseen(server: NatsServer, admin: Plain) -> None:
    """As a message would that kills its process: the deliveries are used up by somebody who never answers."""
    seen = []

    async def handle(message: Handled, _: Delivery) -> None:
        seen.append(message)

    await put(admin, fact())
    pulled = [await pull(admin) for _ in range(2)]
    for each in pulled:
        assert each is not None
    async with joined(server, "router", router(handle, max_deliver=3)):
        (letter,) = await letters(admin)
        await settled(admin)
        assert letter.reason == "exhausted: 2 attempts ended without a word"
        assert not seen


async def pull(admin: Plain) -> object:
    """Takes the one message of the inbox, wherever it is, and puts it back."""
    subject = next(iter((await admin.api("STREAM.INFO.INBOX", {"subjects_filter": ">"}))["state"]["subjects"]))
    durable = subjects.router_durable(PARTITIONS, int(subject.split(".")[3]))
    (message,) = await (await admin.client.jetstream().pull_subscribe_bind(durable, stream="INBOX")).fetch(1)
    await message.nak()
    return message


async def test_a_fault_of_ours_is_tried_again(
    server: NatsServer, admin: Plain, caplog: pytest.LogCaptureFixture
) -> None:
    async def handle(_: Handled, delivery: Delivery) -> None:
        if delivery.attempts == 1:
            raise ZeroDivisionError("a fault")

    async with joined(server, "router", router(handle)) as place:
        await put(admin, fact())
        await settled(admin)
        assert await ends(place.runtime, 2) == {"failed": 1, "done": 1}
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_a_fault_of_ours_that_lasts_is_given_up(server: NatsServer, admin: Plain) -> None:
    async def handle(_: Handled, __: Delivery) -> None:
        raise ZeroDivisionError("a fault")

    async with joined(server, "router", router(handle, max_deliver=100, longest_delay=0.01)) as place:
        await put(admin, fact())
        await settled(admin)
        assert await ends(place.runtime, 10) == {"failed": 9, "dead": 1}
    (letter,) = await letters(admin)
    assert letter.reason == "failed: ZeroDivisionError: a fault"


async def test_a_handler_that_is_cut_off_at_shutdown_leaves_its_message_to_another(
    server: NatsServer, admin: Plain
) -> None:
    stuck = asyncio.Event()
    attempts = []

    async def hang(_: Handled, __: Delivery) -> None:
        stuck.set()
        await asyncio.Event().wait()

    async def handle(_: Handled, delivery: Delivery) -> None:
        attempts.append(delivery.attempts)

    async with joined(server, "router", router(hang), grace=0.1):
        await put(admin, fact())
        await stuck.wait()
    async with joined(server, "router", router(handle)):
        await settled(admin)
        assert attempts == [2]


async def test_a_handler_at_work_may_finish_at_shutdown(server: NatsServer, admin: Plain) -> None:
    begun, finish = asyncio.Event(), asyncio.Event()

    async def handle(_: Handled, __: Delivery) -> None:
        begun.set()
        await finish.wait()

    async def live() -> None:
        async with joined(server, "router", router(handle)):
            await begun.wait()

    living = asyncio.create_task(live())
    await put(admin, fact())
    await begun.wait()
    finish.set()
    await living
    assert (await admin.state("INBOX"))["messages"] == 0


async def test_two_replicas_have_one_message_of_a_canary_under_way_and_keep_the_order(
    server: NatsServer, admin: Plain
) -> None:
    under_way: set[str] = set()
    handled: defaultdict[str, list[int]] = defaultdict(list)
    takers: Counter[int] = Counter()
    both = asyncio.Event()

    def replica(number: int) -> Callable[[Broker, Runtime], None]:
        async def handle(message: Handled, delivery: Delivery) -> None:
            await both.wait()  # else the first may have done it all before the second is there
            name = message.canary.name
            assert name not in under_way
            under_way.add(name)
            try:
                await asyncio.sleep(0.002)
                assert isinstance(message, Fact)
                version = int(message.object.resource_version)
                if version % 3 == 0 and delivery.attempts == 1:
                    raise RetryLater("once", delay=0.0)
                handled[name].append(version)
                takers[number] += 1
            finally:
                under_way.discard(name)

        return router(handle)

    names, versions = [f"app-{number}" for number in range(10)], range(1, 13)
    for version in versions:
        for name in names:
            await put(admin, fact(version, name), subjects.inbox("shop", name))
    async with joined(server, "router", replica(1)) as one, joined(server, "router", replica(2)) as two:
        both.set()
        await settled(admin)
        assert outcomes(one.runtime)["failed"] + outcomes(two.runtime)["failed"] == 0
    assert handled == {name: list(versions) for name in names}
    assert set(takers) == {1, 2}


async def test_workers_handle_side_by_side(server: NatsServer, admin: Plain) -> None:
    meeting = asyncio.Barrier(4)

    async def handle(_: Tick, __: Delivery) -> None:
        await meeting.wait()

    def register(broker: Broker, runtime: Runtime) -> None:
        consume(
            broker,
            stream=subjects.TICK_STREAM,
            durable=subjects.ANALYZER_DURABLE,
            filter_subject=subjects.TICKS,
            decode=TypeAdapter(Tick),
            handler=handle,
            runtime=runtime,
            service="analyzer",
            workers=4,
            max_deliver=5,
        )

    async with joined(server, "analyzer", register):
        for number in range(4):
            await put(admin, tick(1, name=f"app-{number}"), subjects.tick("shop", f"app-{number}"))
        await settled(admin, "TICK")


async def test_a_handler_that_takes_longer_than_the_server_waits_is_alone_with_its_message(
    server: NatsServer, admin: Plain
) -> None:
    attempts = []
    config = {"durable_name": "slow", "name": "slow", "ack_policy": "explicit", "ack_wait": 9_000_000_000}
    made = await admin.api("CONSUMER.CREATE.NOTICE.slow", {"stream_name": "NOTICE", "config": config})
    assert "error" not in made

    async def handle(_: Handled, delivery: Delivery) -> None:
        attempts.append(delivery.attempts)
        await asyncio.sleep(10.0)  # signs of life come every 3 s, so a machine may stand still for 6

    def register(broker: Broker, runtime: Runtime) -> None:
        consume(
            broker,
            stream=subjects.NOTICE_STREAM,
            durable="slow",
            filter_subject=subjects.NOTICES,
            decode=INBOUND,
            handler=handle,
            runtime=runtime,
            service="admin",
            workers=2,
            max_deliver=20,
            ack_wait=9.0,
        )

    async with joined(server, "admin", register) as place:
        await put(admin, fact(), subjects.notice("shop", "web"))
        await until(lambda: outcomes(place.runtime)["done"])
        assert attempts == [1]
