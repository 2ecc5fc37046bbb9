"""Publishing and scheduling on a real server, as the router does it, and markers as the notifier makes them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from sandbox.nats import NatsServer
from shared.bus.broker import Broker
from shared.bus.consume import consume
from shared.bus.delivery import Delivery
from shared.bus.markers import Markers, State
from shared.bus.publish import Publisher
from shared.errors import Never, RetryLater
from shared.runtime.clock import SystemClock
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import Tick
from tests.integration.bus_messages import event, fact, tick
from tests.integration.bus_stage import DEADLINE, Anything, as_user, bootstrapped, joined, nats_server, until

pytestmark = pytest.mark.integration

now = SystemClock().now


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest_asyncio.fixture
async def router(server: NatsServer) -> AsyncIterator[Publisher]:
    async with as_user(server, "admin") as admin:
        await admin.purge("INBOX", "TICK", "ROLLOUT", "KV_serinus-markers")
    async with joined(server, "router") as place:
        yield place.publisher


@asynccontextmanager
async def analyzer(server: NatsServer) -> AsyncIterator[list[tuple[Tick, datetime]]]:
    """Takes every tick, and notes when."""
    taken: list[tuple[Tick, datetime]] = []

    async def handle(message: Tick, _: Delivery) -> None:
        taken.append((message, now()))

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
            max_deliver=5,
        )

    async with joined(server, "analyzer", register):
        yield taken


async def test_a_tick_arrives_when_it_is_due_and_not_before(server: NatsServer, router: Publisher) -> None:
    async with analyzer(server) as taken:
        due = now() + timedelta(seconds=1.5)
        await router.schedule("shop", "web", tick(1, due), due)
        await until(lambda: taken)
        ((message, at),) = taken
        assert (message, at >= due) == (tick(1, due), True)


async def nothing_waits(server: NatsServer) -> None:
    """No tick, and none whose time will come: a schedule is a message of the stream like any other."""
    async with as_user(server, "admin") as admin, asyncio.timeout(DEADLINE):
        while (await admin.state("TICK"))["messages"]:
            await asyncio.sleep(0.01)


async def test_a_tick_armed_again_replaces_the_one_that_waits(server: NatsServer, router: Publisher) -> None:
    async with analyzer(server) as taken:
        late, soon = now() + timedelta(hours=1), now() + timedelta(seconds=0.5)
        await router.schedule("shop", "web", tick(1, late), late)
        await router.schedule("shop", "web", tick(2, soon), soon)
        await until(lambda: taken)
        await nothing_waits(server)
        assert [message.tick.seq for message, _ in taken] == [2]


async def test_what_is_due_already_comes_at_once_instead_of_the_one_that_waits(
    server: NatsServer, router: Publisher
) -> None:
    async with analyzer(server) as taken:
        late = now() + timedelta(hours=1)
        await router.schedule("shop", "web", tick(1, late), late)
        await router.schedule("shop", "web", tick(2), now() - timedelta(seconds=9))
        await until(lambda: taken)
        await nothing_waits(server)
        assert [message.tick.seq for message, _ in taken] == [2]


async def test_a_cancelled_tick_never_comes(server: NatsServer, router: Publisher) -> None:
    async with analyzer(server) as taken:
        late = now() + timedelta(hours=1)
        await router.schedule("shop", "web", tick(1, late), late)
        await router.unschedule("shop", "web")
        await nothing_waits(server)
        assert taken == []


async def test_the_same_tick_may_be_armed_again_after_it_was_taken(server: NatsServer, router: Publisher) -> None:
    """No dedupe stands in the way of a tick whose verdict was lost."""
    async with analyzer(server) as taken:
        await router.schedule("shop", "web", tick(1), now())
        await until(lambda: len(taken) == 1)
        await router.schedule("shop", "web", tick(1), now())
        await until(lambda: len(taken) == 2)


async def test_a_repeat_of_an_id_is_stored_once_and_is_a_success(server: NatsServer, router: Publisher) -> None:
    subject = subjects.inbox("shop", "web.v2")
    for _ in range(3):
        await router.publish(subject, fact(), stream="INBOX", message_id="dedupe/1")
    await router.publish(subject, fact(), stream="INBOX", message_id="dedupe/2")
    async with as_user(server, "admin") as admin:
        state = await admin.api("STREAM.INFO.INBOX", {"subjects_filter": ">"})
    (stored,) = state["state"]["subjects"].items()
    partition = stored[0].removeprefix("serinus.inbox.8.").removesuffix(".shop.web_v2")
    assert (partition in map(str, range(8)), stored[1]) == (True, 2)


async def test_what_cant_be_stored_says_which_of_the_two_words(server: NatsServer, router: Publisher) -> None:
    with pytest.raises(Never, match="more than NATS accepts"):
        await router.publish("serinus.inbox.shop.web", Anything(text="x" * 2**21), stream="INBOX")
    async with as_user(server, "admin") as admin:
        assert (await admin.api("STREAM.DELETE.NOTICE"))["success"]
    with pytest.raises(RetryLater, match="stream NOTICE isn't there"):
        await router.publish("serinus.notice.v1.shop.web", Anything(), stream="NOTICE")
    await bootstrapped(server)
    await router.publish("serinus.notice.v1.shop.web", Anything(), stream="NOTICE")


async def test_the_newest_message_of_a_subject(router: Publisher) -> None:
    every = subjects.rollout("shop", "web", ">")
    assert await router.last("ROLLOUT", every) is None
    for number, kind in ((1, "started"), (2, "advanced")):
        await router.publish(
            subjects.rollout("shop", "web", kind), event(number), stream="ROLLOUT", message_id=f"l/{number}"
        )
    await router.publish(
        subjects.rollout("shop", "other", "started"), event(7, "other"), stream="ROLLOUT", message_id="l/7"
    )
    found = await router.last("ROLLOUT", every)
    assert found is not None
    assert type(event(2)).model_validate_json(found[1]) == event(2)
    assert (found[0]["Nats-Msg-Id"], found[0]["content-type"]) == ("l/2", "application/cloudevents+json")


async def test_markers_tell_new_from_unsure_from_done(server: NatsServer, router: Publisher) -> None:
    key = "uid-1:7/slack/team a.b~c%"
    async with joined(server, "notifier") as first, joined(server, "notifier") as second:
        ours, theirs = Markers(first.broker), Markers(second.broker)
        assert await ours.begin(key) == (State.NEW, "")
        assert await theirs.begin(key) == (State.UNSURE, "")
        await ours.done(key, "200 OK")
        assert await theirs.begin(key) == (State.DONE, "200 OK")
        assert await theirs.begin(key + "!") == (State.NEW, "")
        await theirs.forget(key + "!")
        assert await ours.begin(key + "!") == (State.NEW, "")
        assert await ours.begin(key + "!") == (State.UNSURE, "")


async def test_of_many_who_begin_at_once_one_is_the_first(server: NatsServer, router: Publisher) -> None:
    async with joined(server, "notifier") as place:
        found = await asyncio.gather(*(Markers(place.broker).begin("race") for _ in range(20)))
    assert sorted(state for state, _ in found) == [State.NEW] + [State.UNSURE] * 19
