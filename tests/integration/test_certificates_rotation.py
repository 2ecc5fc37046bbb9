"""`bootstrap credentials --tls` on a real nats-server: services go on through a renewal and through another CA."""

import asyncio
import base64
import io
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, redirect_stdout
from itertools import groupby
from pathlib import Path

import nats
import pytest
import pytest_asyncio

from sandbox.nats import NatsServer
from shared.bus import certificates
from shared.bus.delivery import Delivery
from shared.wire.messages import Fact
from tests.integration.bus_stage import DEADLINE, Joined, bootstrapped, joined, until
from tests.integration.test_bus_consume import Handled
from tests.integration.test_bus_outage import router
from tests.integration.test_credentials_rotation import Facts

pytestmark = pytest.mark.integration


class Mounted:
    """The command, and what it printed as the folder that pods mount; the CA's Secret as kubectl would print it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._ca = folder / "serinus-nats-tls", folder / "serinus-nats-ca.json"

    def first(self) -> None:
        self.folder.mkdir(parents=True)
        self._take()

    def step(self, *flags: str) -> None:
        self._take(*flags, str(self._ca))

    def _take(self, *arguments: str) -> None:
        with redirect_stdout(io.StringIO()) as printed:
            assert certificates.main(["--name", "127.0.0.1", *arguments]) == 0
        found = {each["metadata"]["name"]: each for each in json.loads(printed.getvalue())["items"]}
        self._ca.write_text(json.dumps(found[certificates.CA_SECRET]))
        for key, value in found[certificates.SERVER_SECRET]["data"].items():
            (self.folder / key).write_bytes(base64.b64decode(value))


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    found = Mounted(tmp_path)
    found.first()
    return found


@pytest_asyncio.fixture
async def server(tmp_path: Path, mounted: Mounted) -> AsyncIterator[NatsServer]:
    running = NatsServer(tmp_path / "nats")
    running.tls = mounted.folder
    async with running:
        await bootstrapped(running)
        yield running


async def test_a_renewal_and_another_ca_lose_no_message_and_cost_a_reconnect_each(
    server: NatsServer, mounted: Mounted
) -> None:
    handled: list[int] = []

    async def handle(message: Handled, _: Delivery) -> None:
        assert isinstance(message, Fact)
        handled.append(int(message.object.resource_version))

    facts, more = Facts(), Facts()
    async with AsyncExitStack() as old, AsyncExitStack() as new, asyncio.TaskGroup() as group:
        watcher = await old.enter_async_context(joined(server, "watcher"))
        place = await old.enter_async_context(joined(server, "router", router(handle)))
        publishing = group.create_task(facts.run(watcher.publisher))
        await facts.more()

        mounted.step()  # a renewal: the servers show another certificate of the same CA
        await server.restart()
        await facts.more()
        await outages(place, 1)

        mounted.step("--rotate")  # pods that start anew trust both
        watcher = await new.enter_async_context(joined(server, "watcher"))
        place = await new.enter_async_context(joined(server, "router", router(handle)))
        facts.enough()
        await publishing
        await old.aclose()

        mounted.step("--finish")  # the servers show a certificate of the new CA
        await server.restart()
        more.stored = facts.stored
        publishing = group.create_task(more.run(watcher.publisher))
        await more.more()
        await outages(place, 1)

        mounted.step()  # the old one is forgotten by whoever starts from now on
        await server.restart()
        await more.more()
        await outages(place, 2)
        async with joined(server, "analyzer"):
            pass
        more.enough()
        await publishing
        await until(lambda: bool(handled) and handled[-1] == more.stored)
    assert [number for number, _ in groupby(handled)] == list(range(1, more.stored + 1))


async def outages(place: Joined, number: int) -> None:
    """So many by now. Whoever publishes may have been back sooner than this one."""
    await until(lambda: place.broker.link.outages >= number)
    assert place.broker.link.outages == number


async def test_whoever_trusts_another_ca_doesnt_come_in(server: NatsServer, tmp_path: Path) -> None:
    other = Mounted(tmp_path / "other")
    other.first()
    trust = ssl.create_default_context(cafile=other.folder / "ca.crt")
    with pytest.raises(ssl.SSLCertVerificationError):
        await nats.connect(server.url, **server.login("router") | {"tls": trust}, allow_reconnect=False)


async def test_whoever_is_shut_out_by_another_ca_can_still_stop(server: NatsServer, tmp_path: Path) -> None:
    async with asyncio.timeout(DEADLINE), joined(server, "watcher") as place:
        other = Mounted(tmp_path / "other")
        other.first()
        server.tls = other.folder
        await server.restart()
        await until(place.broker.link.down.is_set)
