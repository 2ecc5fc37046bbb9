"""Messages of a newer version: during an upgrade a newer replica takes them, after a downgrade there is none."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from pydantic import TypeAdapter

from sandbox.nats import NatsServer
from shared.bus.broker import Broker
from shared.bus.consume import consume
from shared.bus.delivery import Delivery
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import SCHEMA, Notice
from tests.integration.bus_messages import event, fact
from tests.integration.bus_stage import Plain, as_user, joined, nats_server, until
from tests.integration.test_bus_consume import Handled, outcomes, put, router, settled

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest_asyncio.fixture
async def admin(server: NatsServer) -> AsyncIterator[Plain]:
    async with as_user(server, "admin") as plain:
        await plain.purge("INBOX", "NOTICE", "DEAD")
        yield plain


async def test_a_newer_wire_schema_goes_back_for_a_newer_replica(server: NatsServer, admin: Plain) -> None:
    async def handle(_: Handled, __: Delivery) -> None:
        raise AssertionError("can't be read")

    async with joined(server, "router", router(handle)) as place:
        await put(admin, json.dumps({"kind": "unheard-of", "wire": SCHEMA + 1}).encode())
        await until(lambda: outcomes(place.runtime)["newer"])
        assert (await admin.state("INBOX"))["messages"] == 1
        assert (await admin.state("DEAD"))["messages"] == 0
        await until(lambda: outcomes(place.runtime)["newer"] > 1, "it comes again soon")


async def test_after_a_downgrade_what_is_asked_anew_anyway_is_left(server: NatsServer, admin: Plain) -> None:
    seen = []

    async def handle(message: Handled, _: Delivery) -> None:
        seen.append(message)

    async with joined(server, "router", router(handle, newer_patience=0.5)) as place:
        await put(admin, json.dumps({"kind": "unheard-of", "wire": SCHEMA + 1}).encode())
        await put(admin, fact())
        await settled(admin)
        assert seen == [fact()]
        await until(lambda: outcomes(place.runtime)["left"] == 1)
        assert (await admin.state("DEAD"))["messages"] == 0


@pytest.mark.parametrize(
    ("change", "told"), [({"wire": SCHEMA + 1, "of_the_future": 1}, True), ({"wire": SCHEMA + 1, "event": "?"}, False)]
)
async def test_after_a_downgrade_a_telling_is_told_as_far_as_it_is_understood(
    server: NatsServer, admin: Plain, change: dict[str, object], told: bool
) -> None:
    seen = []

    async def handle(message: Notice, _: Delivery) -> None:
        seen.append(message)

    def register(broker: Broker, runtime: Runtime) -> None:
        consume(
            broker, stream=subjects.NOTICE_STREAM, durable=subjects.EVENTS_DURABLE, filter_subject=subjects.NOTICES,
            decode=TypeAdapter(Notice), handler=handle, runtime=runtime, service="notifier", max_deliver=20, newer_patience=0.5,
        )  # fmt: skip

    body = json.loads(Notice(id="n1", event=event(1).data).model_dump_json()) | change
    async with joined(server, "notifier", register) as place:
        await put(admin, json.dumps(body).encode(), subjects.notice("shop", "web"))
        await until(lambda: outcomes(place.runtime)["done" if told else "dead"])
    assert [message.event.message for message in seen] == [event(1).data.message] * told
