"""One connection to NATS per process, with the profile that was measured to be safe.

What the defaults of the libraries would do, and why it's set otherwise here:

* nats-py gives up after 60 reconnects and then lives on, deaf: reconnect for ever, and fail the process when the
  connection is closed for good.
* FastStream raises out of nats-py's reconnect loop on errors like a refused password, which ends that loop without
  closing anything: the process would be deaf for ever. So those errors fail the process too.
* A pull from a consumer that doesn't exist is answered at once, and FastStream asks again at once: `_Patient` waits.
* Pull requests made while disconnected are all sent after the reconnect, and would be answered with that many
  messages: `_Patient` asks only while connected.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, cast

from faststream.nats import NatsBroker
from faststream.nats.broker.broker import UNRECOVERABLE_CONNECT_ERRORS
from faststream.nats.security import NatsNKey, NatsSecurity, NatsUserPassword
from faststream.nats.subscriber.usecases import PullStreamSubscriber
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error
from nats.errors import TimeoutError as NatsTimeout
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from shared.bus import accounts, content, partitions
from shared.bus.link import Link, close, seed, tls, unless
from shared.errors import Never, RetryLater
from shared.runtime.serve import Runtime
from shared.runtime.settings import BusSettings

log = logging.getLogger(__name__)

PULL_SECONDS: Final = 5.0
"""How long one pull waits at the server."""

GRACE: Final = 15.0
"""Seconds that running handlers get when the process is told to stop."""

_PAUSE: Final = 1.0
_PATIENCE: Final = 3.0
"""Seconds that a server may take to answer whether it is there."""
_ALIVE_WITHIN: Final = 60.0


class Broker(NatsBroker):
    """A broker that ends in order whether NATS is there or not, and doesn't report that as a lost connection."""

    link: Link

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        self.link.ending()
        try:
            await super().stop(exc_type, exc_val, exc_tb)
        except (Error, OSError, TimeoutError):  # it drains, which needs a connection; without one there's nothing to
            if self._connection is not None:
                await close(self._connection)

    async def answers(self) -> bool:
        """Does JetStream answer, here and now, and hold an inbox? Takes a few seconds where it doesn't."""
        if self._connection is None:
            return False
        try:
            async with asyncio.timeout(_PATIENCE):
                return await partitions.there(self._connection)
        except (RetryLater, Never, TimeoutError):
            return False


def make_broker(settings: BusSettings, service: str, on_closed: Callable[[], None], *, grace: float = GRACE) -> Broker:
    """A broker that isn't connected yet. `on_closed` is called when its connection is closed for good."""
    quiet = logging.getLogger("faststream.nats")
    quiet.setLevel(logging.ERROR)  # it repeats every failed reconnect with a stack; `Link` tells each change once
    link = Link(on_closed, fatal=UNRECOVERABLE_CONNECT_ERRORS)
    broker = Broker(
        settings.nats_url.split(","),
        security=security(
            user=settings.nats_user or service,
            password=settings.nats_password.get_secret_value(),
            seed_file=settings.nats_nkey_seed_file,
            ca_file=settings.nats_tls_ca_file,
        ),
        name=f"serinus-{service}",
        inbox_prefix=accounts.inbox(service),
        apply_types=False,  # handlers take the whole message; the injection would cost three times as much as the rest
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        ping_interval=10,  # a connection without an answer is given up after three of these
        graceful_timeout=grace,
        error_cb=link.error,
        disconnected_cb=link.lost,
        reconnected_cb=link.back,
        closed_cb=link.closed,
        logger=quiet,
    )
    broker.link = link
    return broker


def security(*, user: str, password: str, seed_file: str, ca_file: str) -> NatsSecurity | None:
    """An nkey, else user and password, else nobody; over TLS with this CA if there's one."""
    context = tls(ca_file)
    if seed_file:
        return NatsNKey.from_seed(seed(seed_file), ssl_context=context)
    if password:
        return NatsUserPassword(user, password, ssl_context=context)
    return NatsSecurity(ssl_context=context) if context else None


async def connect(broker: Broker, runtime: Runtime, register: Callable[[frozenset[int]], None] | None = None) -> None:
    """Connects and starts the broker's consumers, waiting for NATS and for the bootstrap as long as it takes.

    Registers the health component `nats`, and the broker's end on the runtime's exit stack. Call it after every
    `consume`, as the last act of a composition; consumers of the inbox are added by `register`, which gets the numbers
    of its partitions. When these change, the process ends in order, to be started anew.
    """
    pulls: list[_Patient] = []
    runtime.health.component("nats")
    runtime.stack.push_async_callback(broker.stop)
    try:
        client = await broker.connect()
        content.check(client)
    except content.TooOld as error:
        runtime.fail(str(error))
        return
    except Error as error:  # FastStream's way of saying that asking again would be in vain
        runtime.fail(f"NATS refuses the connection: {error}")
        return
    if register is not None:
        register(counts := await partitions.wait(client))
        runtime.spawn("watch of the partitions", partitions.changed(client, counts, runtime.stop.set))
    subscribers = [each for each in broker.subscribers if isinstance(each, PullStreamSubscriber)]
    for durable in {(each.stream.name, str(each.config.durable_name)) for each in subscribers}:
        await _exists(client.jetstream(), *durable)
    await broker.start()
    for subscriber in subscribers:
        name = str(subscriber.config.durable_name)
        beat = runtime.health.heartbeat(name, _ALIVE_WITHIN)
        subscription = cast("JetStreamContext.PullSubscription", subscriber.subscription)
        pull = _Patient(subscription, client, broker.link, name, beat)
        subscriber.subscription = cast("JetStreamContext.PullSubscription", pull)
        pulls.append(pull)
    runtime.health.probe("nats", lambda: _trouble(client, pulls))
    log.info("connected to NATS at %s", client.connected_url.netloc if client.connected_url else "?")


def _trouble(client: Client, pulls: list["_Patient"]) -> str:
    if not client.is_connected:
        return "not connected"
    return "; ".join(sorted({pull.trouble for pull in pulls if pull.trouble}))


async def _exists(stream: JetStreamContext, name: str, durable: str) -> None:
    """Waits for a durable: FastStream would try to create a missing one, which a service may not."""
    told = False
    while True:
        try:
            await stream.consumer_info(name, durable)
            return
        except (NotFoundError, Error, APIError) as error:
            if not told:
                log.warning(
                    "waiting for consumer %s of stream %s, which the bootstrap creates: %s", durable, name, error
                )
                told = True
        await asyncio.sleep(_PAUSE)


class _Patient:
    """A pull subscription as FastStream's loop uses it, which doesn't let that loop spin or ask in vain."""

    def __init__(
        self,
        inner: "JetStreamContext.PullSubscription",
        client: Client,
        link: Link,
        name: str,
        beat: Callable[[], None],
    ) -> None:
        self.trouble = ""
        self._inner = inner
        self._client = client
        self._link = link
        self._name = name
        self._beat = beat
        self.unsubscribe: Callable[[], Awaitable[None]] = inner.unsubscribe

    async def fetch(self, batch: int = 1, timeout: float = PULL_SECONDS) -> list[Msg]:
        """Raises a timeout when there's nothing, as the inner one does, but never much earlier than after a second."""
        self._beat()
        while not self._client.is_connected:
            await asyncio.sleep(0.2)
            self._beat()
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            messages = await self._pull(batch, timeout)
        except (NatsTimeout, APIError, Error) as error:
            if loop.time() - began < timeout / 2:
                self._stumbled(error)
                await asyncio.sleep(_PAUSE)
            else:
                self.trouble = ""
            raise NatsTimeout from error
        self.trouble = ""
        return messages

    async def _pull(self, batch: int, timeout: float) -> list[Msg]:
        """Gives up at once when the connection is lost: the server has forgotten this pull then."""
        found = await unless(self._link.down, self._inner.fetch(batch=batch, timeout=timeout))
        if found is None:
            raise NatsTimeout
        return found

    def _stumbled(self, error: Exception) -> None:
        if not self.trouble and self._client.is_connected:
            self.trouble = f"consumer {self._name} doesn't answer"
            log.warning("%s: %s", self.trouble, str(error) or type(error).__name__)
