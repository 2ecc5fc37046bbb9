"""Another number of partitions, while facts come in and routers work them off: nothing is lost, and each canary's order
stays."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox.nats import NatsServer
from services.router import handlers
from shared.bus import bootstrap, partitions
from shared.bus.broker import Broker
from shared.runtime import tasks
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import CanaryRef, Fact, Nudge, Verdict
from tests.integration.bus_messages import fact
from tests.integration.bus_stage import ADMINS, as_user, bootstrap_settings, bootstrapped, joined, process, until

pytestmark = pytest.mark.integration

BOOTSTRAP = "shared.bus.bootstrap"
CANARIES = tuple(f"web{number}" for number in range(12))


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with NatsServer(tmp_path / "nats", more=ADMINS) as running:
        await bootstrapped(running)
        yield running


class Work:
    """Stands for the reconciler of all replicas: notes what of which canary was handled, one at a time."""

    def __init__(self) -> None:
        self.handled: defaultdict[str, list[int]] = defaultdict(list)
        self.busy: set[str] = set()
        self.free = asyncio.Event()
        self.free.set()

    async def handle(self, received: Fact | Verdict | Nudge) -> None:
        assert isinstance(received, Fact)
        name = received.canary.name
        assert name not in self.busy, "two messages of one canary at once"
        self.busy.add(name)
        try:
            await self.free.wait()
            await asyncio.sleep(0.002)
            number = int(received.object.resource_version)
            if number not in self.handled[name]:  # a replica that ended may have handled it before
                self.handled[name].append(number)
        finally:
            self.busy.discard(name)

    async def look_up(self, ref: CanaryRef) -> None:
        """There is nothing to know here."""

    async def refresh(self, ref: CanaryRef) -> None:
        raise AssertionError(ref)


async def passed() -> None:
    """Writing is always possible here."""


async def replica(server: NatsServer, work: Work, lives: list[frozenset[int]]) -> None:
    """A router that starts anew as often as it ends itself."""

    def register(broker: Broker, runtime: Runtime, counts: frozenset[int]) -> None:
        lives.append(counts)
        handlers.register(broker, work, runtime, passed, counts)

    while True:
        async with joined(server, "router", inbox=register, grace=0.5) as place:
            await place.runtime.stop.wait()


class Facts:
    """Publishes of all canaries in turn until told to stop."""

    def __init__(self) -> None:
        self.stored = 0

    async def run(self, server: NatsServer) -> None:
        async with joined(server, "watcher") as place:
            while True:
                number = self.stored + 1
                for name in CANARIES:
                    message = fact(number, name)
                    subject = subjects.inbox("shop", name)
                    await place.publisher.publish(subject, message, stream="INBOX", message_id=message.id)
                self.stored = number
                await asyncio.sleep(0.05)


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Until the block ends."""
    going = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        await tasks.ended(*going)


async def test_the_number_changes_under_load_and_nothing_is_lost_or_overtaken(server: NatsServer) -> None:
    work, facts = Work(), Facts()
    lives: list[frozenset[int]] = []
    async with running(replica(server, work, lives), replica(server, work, lives)):
        async with running(facts.run(server)):
            await until(lambda: facts.stored > 5 and lives.count(frozenset({8})) == 2)
            work.free.clear()  # so that something is left in the partitions of before
            async with process(BOOTSTRAP, "repartition", "16", env=server.env("bootstrap")) as child:
                await child.said("from now on messages go to 16 partitions")
                await child.said("are left to work off before the 16 new ones begin")
                stored = facts.stored
                await until(lambda: facts.stored > stored + 5, "who publishes notices nothing")
                await until(lambda: lives.count(frozenset({8, 16})) == 2, "routers in the middle of it serve both")
                work.free.set()
                assert await child.ended() == 0
            await until(lambda: lives.count(frozenset({16})) == 2, within=40.0)
        await until(lambda: all(len(work.handled[name]) >= facts.stored for name in CANARIES), within=40.0)
    for name in CANARIES:
        assert work.handled[name][: facts.stored] == list(range(1, facts.stored + 1)), name
    assert len(lives) == 6
    async with as_user(server, "admin") as admin:
        names = (await admin.api("CONSUMER.NAMES.INBOX"))["consumers"]
        assert sorted(names) == sorted(subjects.router_durable(16, number) for number in range(16))
        assert {(await admin.api(f"CONSUMER.INFO.INBOX.{name}")).get("paused", False) for name in names} == {False}


async def test_what_the_command_left_undone_the_bootstrap_that_runs_ends(server: NatsServer) -> None:
    work = Work()
    lives: list[frozenset[int]] = []
    async with joined(server, "watcher") as place:
        await place.publisher.publish(subjects.inbox("shop", "web1"), fact(1, "web1"), stream="INBOX")
        async with process(BOOTSTRAP, "repartition", "3", env=server.env("bootstrap")) as child:
            await child.said("messages of 8 partitions are left")
            child.process.kill()
            await child.process.wait()
        await place.publisher.publish(subjects.inbox("shop", "web1"), fact(2, "web1"), stream="INBOX")
    async with process(BOOTSTRAP, "repartition", "5", env=server.env("bootstrap")) as child:
        assert await child.ended() == 1
        assert "failed: a change from 8 partitions to 3 is under way: let it end first" in child.messages
    async with running(replica(server, work, lives)):
        await until(lambda: work.handled["web1"] == [1])
        await bootstrapped(server)
        await until(lambda: work.handled["web1"] == [1, 2])
        await until(lambda: lives[-1] == frozenset({3}), within=40.0)


@pytest.mark.parametrize("arguments", [("repartition", "8"), ()])
async def test_the_number_that_is_there_is_no_change(server: NatsServer, arguments: tuple[str, ...]) -> None:
    env = {**server.env("bootstrap"), "SERINUS_INBOX_PARTITIONS": "8"}
    async with process(BOOTSTRAP, *arguments, env=env) as child:
        assert await child.ended() == 0
    assert child.messages == ["all streams and consumers are there", "stopped"]


async def test_a_setting_with_another_number_is_refused_in_one_sentence(server: NatsServer) -> None:
    env = {**server.env("bootstrap"), "SERINUS_INBOX_PARTITIONS": "16"}
    async with process(BOOTSTRAP, env=env) as child:
        assert await child.ended() == 1
    assert child.messages[-2:] == [
        "failed: the inbox has 8 partitions and SERINUS_INBOX_PARTITIONS says 16: "
        "run `python -m shared.bus.bootstrap repartition 16`, or take the setting out",
        "stopped",
    ]


async def test_a_new_inbox_has_as_many_as_the_setting_says(tmp_path: Path) -> None:
    async with NatsServer(tmp_path / "fresh", more=ADMINS) as server:
        async with process(BOOTSTRAP, env={**server.env("bootstrap"), "SERINUS_INBOX_PARTITIONS": "3"}) as child:
            assert await child.ended() == 0
        async with joined(server, "router") as place:
            assert await partitions.served(await place.broker.connect()) == {3}
        assert bootstrap_settings(server).inbox_partitions == 0
        await bootstrapped(server)
        async with joined(server, "router") as place:
            assert await partitions.served(await place.broker.connect()) == {3}


@pytest.mark.parametrize("number", ["0", "257", "many"])
def test_a_number_that_cant_be_is_named(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bootstrap.main(["repartition", number])
    assert "argument partitions" in capsys.readouterr().err
