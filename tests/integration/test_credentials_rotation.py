"""nkeys on a real nats-server: everybody comes with his own, and a rotation loses no message and no order."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from itertools import groupby
from pathlib import Path

import nats
import pytest
import pytest_asyncio

from shared.bus import accounts, bootstrap
from shared.bus.delivery import Delivery
from shared.bus.publish import Publisher
from shared.bus.settings import BootstrapSettings
from shared.errors import RetryLater
from shared.wire import subjects
from shared.wire.messages import Fact
from tests.integration.bus_messages import fact
from tests.integration.bus_stage import Child, Plain, make_runtime, process, until
from tests.integration.credentials_stage import Seeds, Server, keyed
from tests.integration.test_bus_consume import Handled
from tests.integration.test_bus_outage import router
from tests.integration.test_bus_rights import MAY, granted

pytestmark = pytest.mark.integration


@pytest.fixture
def seeds(tmp_path: Path) -> Seeds:
    return Seeds(tmp_path)


@pytest_asyncio.fixture
async def server(tmp_path: Path, seeds: Seeds) -> AsyncIterator[Server]:
    await seeds.command()
    running = Server(tmp_path, "include ./accounts.conf")
    await running.start()
    await bootstrapped(running, seeds)
    yield running
    await running.stop()


async def bootstrapped(server: Server, seeds: Seeds) -> None:
    """Both of the bootstrap's users, by nkey."""
    async with AsyncExitStack() as stack:
        runtime = make_runtime(stack, "bootstrap")
        settings = BootstrapSettings(
            nats_url=server.url,
            nats_nkey_seed_file=seeds.of("bootstrap"),
            nats_public_nkey_seed_file=seeds.of("public-bootstrap"),
        )
        await bootstrap.app(settings, runtime, watch=False)
        assert not runtime.failure, runtime.failure


class Facts:
    """Publishes facts one after the other until told to stop; each until it is stored, as the watcher's outbox does."""

    def __init__(self) -> None:
        self.stored = 0
        self._enough = asyncio.Event()

    async def run(self, publisher: Publisher) -> None:
        while not self._enough.is_set():
            number = self.stored + 1
            try:
                await publisher.publish(
                    subjects.inbox("shop", "web"), fact(number), stream="INBOX", message_id=fact(number).id
                )
            except RetryLater:
                await asyncio.sleep(0.05)
                continue
            self.stored = number
            await asyncio.sleep(0.005)

    async def more(self, count: int = 20) -> None:
        """Returns when that many more are stored."""
        goal = self.stored + count
        await until(lambda: self.stored >= goal, "nothing is stored any more")

    def enough(self) -> None:
        self._enough.set()


async def test_a_rotation_loses_no_message_and_no_order(server: Server, seeds: Seeds) -> None:
    handled: list[int] = []

    async def handle(message: Handled, _: Delivery) -> None:
        assert isinstance(message, Fact)
        handled.append(int(message.object.resource_version))

    facts = Facts()
    async with AsyncExitStack() as old, AsyncExitStack() as new, asyncio.TaskGroup() as group:
        watcher = await old.enter_async_context(keyed(server, seeds.of("watcher"), "watcher"))
        await old.enter_async_context(keyed(server, seeds.of("router"), "router", router(handle)))
        publishing = group.create_task(facts.run(watcher.publisher))
        await facts.more()

        await seeds.command("--rotate")  # the Secrets are new at once; who runs keeps what it has read
        await facts.more()
        await server.restart()  # both keys from now on
        await facts.more()
        await bootstrapped(server, seeds)
        again = await new.enter_async_context(keyed(server, seeds.of("router"), "router", router(handle)))
        await facts.more()
        facts.enough()
        await publishing
        await until(lambda: handled[-1:] == [facts.stored])
        await old.aclose()  # the last of the old pods

        await seeds.command("--finish")
        await server.restart()
        await until(lambda: again.broker.link.outages == 1)
        watcher = await new.enter_async_context(keyed(server, seeds.of("watcher"), "watcher"))
        more = Facts()
        more.stored = facts.stored
        publishing = group.create_task(more.run(watcher.publisher))
        await more.more()
        more.enough()
        await publishing
        await until(lambda: handled[-1:] == [more.stored])
    # A server that ends may take an acknowledgement along; its message then comes once more, before any later one.
    assert [number for number, _ in groupby(handled)] == list(range(1, more.stored + 1))


async def test_an_old_key_is_refused_once_the_rotation_is_finished(
    server: Server, seeds: Seeds, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    shutil.copy(seeds.of("router"), kept)
    await seeds.command("--rotate")
    await server.restart()
    for key in (str(kept), seeds.of("router")):
        async with router_process(server, key) as child:
            await child.said("connected to NATS at")
    await seeds.command("--finish")
    await server.restart()
    async with router_process(server, str(kept)) as child:
        assert await child.ended() == 1
    assert [text for text in child.messages if "Authorization Violation" in text]
    async with router_process(server, seeds.of("router")) as child:
        await child.said("connected to NATS at")


def router_process(server: Server, seed_file: str) -> AbstractAsyncContextManager[Child]:
    env = {"SERINUS_NATS_URL": server.url, "SERINUS_NATS_NKEY_SEED_FILE": seed_file}
    return process("tests.integration.bus_process", env=env)


@pytest.mark.parametrize("user", ["analyzer", "subscriber"])
async def test_a_key_gives_the_rights_of_its_user_and_no_others(server: Server, seeds: Seeds, user: str) -> None:
    errors: list[str] = []

    async def complained(error: Exception) -> None:
        errors.append(str(error))

    client = await nats.connect(
        server.url, nkeys_seed=seeds.of(user), inbox_prefix=accounts.inbox(user), error_cb=complained
    )
    try:
        assert await granted(Plain(client, errors)) == MAY[user]
    finally:
        await client.close()


@pytest.mark.parametrize("module", ["shared.bus.bootstrap", "tests.integration.bus_process"])
async def test_a_seed_that_isnt_mounted_is_named_in_one_line(module: str) -> None:
    async with process(module, env={"SERINUS_NATS_NKEY_SEED_FILE": "/nowhere/seed"}) as child:
        assert await child.ended() == 1
    assert [text for text in child.messages if "no nkey seed for NATS" in text and "/nowhere/seed" in text]
