"""What the router relies on when it publishes, shown of the fake and of the real thing alike."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from typing import Protocol

import pytest
import pytest_asyncio

from sandbox.nats import NatsServer
from services.router.ports import Bus
from shared.runtime.clock import SystemClock
from shared.wire import subjects
from shared.wire.messages import CloudEvent, Tick
from tests.fakes.bus import FakeBus
from tests.integration.bus_messages import event, nudge, tick
from tests.integration.bus_stage import Plain, as_user, joined, nats_server

pytestmark = pytest.mark.integration

WEB = subjects.rollout("shop", "web", ">")


class Inspector(Protocol):
    """Looks behind a bus."""

    async def ids(self, stream: str) -> list[str]:
        """Of the messages in a stream, in order."""
        ...

    async def waiting(self, namespace: str, name: str) -> Tick | None:
        """The tick that waits for its time."""
        ...


class InFake:
    def __init__(self, bus: FakeBus) -> None:
        self._bus = bus

    async def ids(self, stream: str) -> list[str]:
        pairs = zip(self._bus.stored, self._bus.placed, strict=True)
        return [json.loads(message.model_dump_json())["id"] for (_, message), (place, _) in pairs if place == stream]

    async def waiting(self, namespace: str, name: str) -> Tick | None:
        return self._bus.ticks.get((namespace, name))


class InReal:
    def __init__(self, admin: Plain) -> None:
        self._admin = admin

    async def ids(self, stream: str) -> list[str]:
        state, js = await self._admin.state(stream), self._admin.client.jetstream()
        sequences = range(state["first_seq"], state["last_seq"] + 1)
        return [json.loads((await js.get_msg(stream, seq=each)).data or b"")["id"] for each in sequences]

    async def waiting(self, namespace: str, name: str) -> Tick | None:
        subject = subjects.schedule(namespace, name)
        found = await self._admin.api("STREAM.INFO.TICK", {"subjects_filter": subject})
        if not found["state"].get("subjects"):
            return None
        raw = await self._admin.client.jetstream().get_last_msg("TICK", subject)
        return Tick.model_validate_json(raw.data or b"")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest_asyncio.fixture(params=["fake", "real"])
async def both(request: pytest.FixtureRequest, server: NatsServer) -> AsyncIterator[tuple[Bus, Inspector]]:
    if request.param == "fake":
        fake = FakeBus()
        yield fake, InFake(fake)
        return
    async with as_user(server, "admin") as admin, joined(server, "router") as place:
        await admin.purge("INBOX", "TICK", "ROLLOUT", "NOTICE")
        yield place.publisher, InReal(admin)


def unique(request: pytest.FixtureRequest, number: int) -> str:
    """The real stream remembers ids over a purge."""
    return f"{request.node.name}/{number}"


async def test_an_id_is_stored_once_and_its_repeat_is_a_success(
    both: tuple[Bus, Inspector], request: pytest.FixtureRequest
) -> None:
    bus, behind = both
    subject = subjects.inbox("shop", "web")
    for number in (1, 2, 1, 2, 3):
        await bus.publish(subject, nudge(number), stream="INBOX", message_id=unique(request, number))
    assert await behind.ids("INBOX") == [nudge(number).id for number in (1, 2, 3)]


async def test_what_has_no_id_is_stored_each_time(both: tuple[Bus, Inspector]) -> None:
    bus, behind = both
    for _ in range(2):
        await bus.publish(subjects.notice("shop", "web"), nudge(), stream="NOTICE")
    assert await behind.ids("NOTICE") == [nudge().id] * 2


async def test_an_id_of_one_stream_is_free_in_another(
    both: tuple[Bus, Inspector], request: pytest.FixtureRequest
) -> None:
    bus, behind = both
    await bus.publish(subjects.inbox("shop", "web"), nudge(), stream="INBOX", message_id=unique(request, 1))
    await bus.publish(subjects.notice("shop", "web"), nudge(), stream="NOTICE", message_id=unique(request, 1))
    assert (await behind.ids("INBOX"), await behind.ids("NOTICE")) == ([nudge().id], [nudge().id])


async def test_the_last_of_a_canary_is_its_newest_of_any_type_and_nobody_elses(
    both: tuple[Bus, Inspector], request: pytest.FixtureRequest
) -> None:
    bus, _ = both
    assert await bus.last("ROLLOUT", WEB) is None
    for number, name, kind in ((1, "web", "started"), (2, "web", "advanced"), (3, "web-2", "started")):
        message, message_id = event(number, name), unique(request, number)
        await bus.publish(subjects.rollout("shop", name, kind), message, stream="ROLLOUT", message_id=message_id)
    found: tuple[Mapping[str, str], bytes] | None = await bus.last("ROLLOUT", WEB)
    assert found is not None
    assert CloudEvent.model_validate_json(found[1]) == event(2)
    assert found[0]["Nats-Msg-Id"] == unique(request, 2)
    assert await bus.last("ROLLOUT", subjects.rollout("shop", "nobody", ">")) is None


async def test_one_tick_waits_for_a_canary_and_a_newer_replaces_it(both: tuple[Bus, Inspector]) -> None:
    bus, behind = both
    due = SystemClock().now() + timedelta(minutes=5)
    for message in (tick(1, due), tick(2, due + timedelta(minutes=1)), tick(3, due)):
        await bus.schedule("shop", "web", message, message.tick.due)
    await bus.schedule("shop", "other", tick(9, due, "other"), due)
    assert await behind.waiting("shop", "web") == tick(3, due)
    assert await behind.waiting("shop", "other") == tick(9, due, "other")
    assert await behind.waiting("shop", "nobody") is None


async def test_a_tick_that_waits_can_be_seen(both: tuple[Bus, Inspector]) -> None:
    bus, _ = both
    due = SystemClock().now() + timedelta(minutes=5)
    assert await bus.last("TICK", subjects.schedule("shop", "web")) is None
    await bus.schedule("shop", "web", tick(1, due), due)
    found = await bus.last("TICK", subjects.schedule("shop", "web"))
    assert found is not None
    assert Tick.model_validate_json(found[1]) == tick(1, due)


async def test_a_tick_that_is_due_can_be_seen_until_somebody_has_judged_it(
    both: tuple[Bus, Inspector], request: pytest.FixtureRequest
) -> None:
    bus, _ = both
    if isinstance(bus, FakeBus):
        reason = "the fake has no time: whoever drives it takes a tick from `ticks` when it's due"
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    await bus.schedule("shop", "web", tick(1), tick(1).tick.due)
    found = await bus.last("TICK", subjects.tick("shop", "web"))
    assert found is not None
    assert Tick.model_validate_json(found[1]) == tick(1)
