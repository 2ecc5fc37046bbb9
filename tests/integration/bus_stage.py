"""What the tests of the bus share: a runtime, connections as any user, and an administrator who may break things."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import nats
from nats.aio.client import Client
from pydantic import BaseModel, SecretStr

from sandbox.nats import NatsServer
from shared.bus import accounts, bootstrap
from shared.bus import broker as bus
from shared.bus.publish import Publisher
from shared.bus.settings import BootstrapSettings
from shared.runtime import telemetry
from shared.runtime.clock import SystemClock
from shared.runtime.health import Health
from shared.runtime.metrics import Metrics
from shared.runtime.serve import Runtime
from shared.runtime.settings import BusSettings

ADMINS: Final = (
    accounts.User(name="admin", account=accounts.SERINUS, publish=None, subscribe=None),
    accounts.User(name="public-admin", account=accounts.PUBLIC, publish=None, subscribe=None),
)
DEADLINE: Final = 120.0
"""Seconds of patience, which only a failure costs: a busy machine takes over twenty of them for the start of a process."""

T = TypeVar("T")


@contextmanager
def nats_server(directory: Path, *, secured: bool = True, ready: bool = True) -> Iterator[NatsServer]:
    """A server for a whole module, whose tests have event loops of their own; bootstrapped if `ready`."""
    server = NatsServer(directory, more=ADMINS, secured=secured)
    with asyncio.Runner() as runner:
        runner.run(server.start())
        try:
            if ready:
                runner.run(bootstrapped(server))
            yield server
        finally:
            runner.run(server.stop())


def make_runtime(stack: AsyncExitStack, service: str = "router") -> Runtime:
    clock = SystemClock()
    return Runtime(
        service=service,
        clock=clock,
        metrics=Metrics(service),
        health=Health(clock),
        tracer=telemetry.tracer(service),
        stack=stack,
    )


async def bootstrapped(server: NatsServer) -> None:
    """Runs the bootstrap once, in this process."""
    async with AsyncExitStack() as stack:
        runtime = make_runtime(stack, "bootstrap")
        await bootstrap.app(bootstrap_settings(server), runtime, watch=False)
        assert not runtime.failure, runtime.failure


def bootstrap_settings(server: NatsServer, **more: Any) -> BootstrapSettings:
    public = SecretStr(server.credentials["public-bootstrap"])
    own = bus_settings(server, "bootstrap").model_dump(exclude_unset=True)
    return BootstrapSettings(**{**own, "nats_public_password": public, **more})


def bus_settings(server: NatsServer, user: str) -> BusSettings:
    password = SecretStr(server.credentials[user])
    ca_file = str(server.tls / "ca.crt") if server.tls else ""
    return BusSettings(nats_url=server.url, nats_password=password, nats_tls_ca_file=ca_file)


@dataclass(slots=True)
class Joined:
    """One service's place on the bus."""

    broker: bus.Broker
    runtime: Runtime
    publisher: Publisher


@asynccontextmanager
async def joined(
    server: NatsServer,
    service: str,
    register: Callable[[bus.Broker, Runtime], None] = lambda *_: None,
    *,
    grace: float = bus.GRACE,
    inbox: Callable[[bus.Broker, Runtime, frozenset[int]], None] | None = None,
) -> AsyncIterator[Joined]:
    """On the bus as this service; `register` adds its consumers first, `inbox` those of the inbox's partitions."""
    async with AsyncExitStack() as stack:
        runtime = make_runtime(stack, service)
        broker = bus.make_broker(bus_settings(server, service), service, lambda: runtime.fail("closed"), grace=grace)
        register(broker, runtime)
        await bus.connect(broker, runtime, partial(inbox, broker, runtime) if inbox else None)
        try:
            yield Joined(broker, runtime, Publisher(broker, runtime))
        finally:
            runtime.stop.set()


@asynccontextmanager
async def as_user(server: NatsServer, user: str, *, inbox: str = "") -> AsyncIterator["Plain"]:
    """A plain connection of nats-py, with what the server complains about."""
    errors: list[str] = []

    async def complained(error: Exception) -> None:
        errors.append(str(error))

    client = await nats.connect(
        server.url,
        user=user,
        password=server.credentials[user],
        inbox_prefix=inbox or accounts.inbox(user),
        error_cb=complained,
    )
    try:
        yield Plain(client, errors)
    finally:
        await client.close()


@dataclass(slots=True)
class Plain:
    """nats-py's client and the server's complaints."""

    client: Client
    errors: list[str]

    async def api(self, subject: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call of JetStream's API."""
        data = json.dumps(body).encode() if body else b""
        answer = await self.client.request(f"$JS.API.{subject}", data, timeout=DEADLINE)
        found: dict[str, Any] = json.loads(answer.data)
        return found

    async def synchronise(self) -> None:
        """Everything sent before has been answered. Twice: nats-py's first ping overtakes what it still buffers."""
        await self.client.flush()
        await self.client.flush()

    async def config(self, kind: str, name: str) -> dict[str, Any]:
        """`config("STREAM", "TICK")`, `config("CONSUMER", "TICK.analyzer")`."""
        found: dict[str, Any] = (await self.api(f"{kind}.INFO.{name}"))["config"]
        return found

    async def state(self, stream: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api(f"STREAM.INFO.{stream}"))["state"]
        return found

    async def purge(self, *streams: str) -> None:
        for stream in streams:
            assert (await self.api(f"STREAM.PURGE.{stream}"))["success"]


async def until(ask: Callable[[], T], what: str = "it never happened", *, within: float = DEADLINE) -> T:
    """Polls until the answer is true, within the deadline."""
    async with asyncio.timeout(within):
        while not (found := ask()):
            await asyncio.sleep(0.01)
    return found


@asynccontextmanager
async def process(module: str, *arguments: str, env: Mapping[str, str]) -> AsyncIterator["Child"]:
    """One of our programs as a child, started from the checkout."""
    async with collected(sys.executable, "-m", module, *arguments, env=env) as child:
        yield child


@asynccontextmanager
async def collected(
    *argv: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncIterator["Child"]:
    """A program as a child, whose lines are collected; killed if it still runs at the end."""
    child = await asyncio.create_subprocess_exec(
        *argv,
        env={"PATH": os.environ["PATH"], **(env or {})},
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    lines: list[str] = []
    assert child.stdout is not None
    reading = asyncio.create_task(_read(child.stdout, lines))
    try:
        yield Child(child, lines, reading)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        await reading


async def _read(stream: asyncio.StreamReader, lines: list[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode().rstrip("\n"))


@dataclass(slots=True)
class Child:
    """A running program and what it has said."""

    process: asyncio.subprocess.Process
    lines: list[str]
    reading: asyncio.Task[None]

    async def ended(self) -> int:
        async with asyncio.timeout(DEADLINE):
            code = await self.process.wait()
            await self.reading
        return code

    @property
    def messages(self) -> list[str]:
        """Of JSON log lines; a line that isn't one fails."""
        return [str(json.loads(line)["msg"]) for line in self.lines]

    async def said(self, text: str) -> None:
        await until(lambda: any(text in line for line in list(self.lines)))


class Anything(BaseModel):
    """A body that no model of ours would make."""

    text: str = "x"
