"""From a durable consumer to a handler, and what becomes of the message afterwards.

| the handler | the message |
| --- | --- |
| returns | is acknowledged, and the server has said so |
| raises RetryLater | goes back for its delay, doubled with each attempt |
| raises Never | goes to the dead letters |
| raises anything else: a fault of ours | goes back likewise, with a stack in the log; to the dead letters the tenth time |
| is cancelled, because its time at shutdown is over | goes back at once |
| wasn't called: undecodable, or of a schema older than the previous one | goes to the dead letters |
| wasn't called: of a newer schema, or with words of one | goes back for a newer replica, for ten seconds or a minute |
| the same, and no newer replica came: a downgrade | what is asked anew anyway is dropped; what isn't, is read as far as we understand it |

The server would silently keep a message that it has delivered `max_deliver` times. So what would go back on the last
attempt but one is buried instead, and a message seen on the last attempt is buried unseen: its handler ended without a
word each time before, so it's probably what kills it.

Acknowledgements wait for the server's answer. One that got lost with its connection would block a partition for
`ack_wait`; waiting costs a fifth of a millisecond.

Workers are as many subscribers, each of which pulls one message and handles it before the next. FastStream's own
`max_workers` would prefetch, and prefetched messages use up their `ack_wait` in memory.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from nats.aio.msg import Msg
from nats.errors import Error
from opentelemetry.trace import SpanKind
from pydantic import TypeAdapter, ValidationError

from shared.bus import accounts, decoding, letters, publish, streams
from shared.bus.broker import PULL_SECONDS
from shared.bus.delivery import Delivered, Delivery
from shared.errors import Never, RetryLater
from shared.runtime import logs, telemetry
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import Message

log = logging.getLogger(__name__)

M = TypeVar("M", bound=Message)

MOST_FAILURES: Final = 10
"""Attempts at a message that a fault of ours stands against; others may wait behind it."""

NEWER_PATIENCE: Final = 60.0
"""Seconds that a message of a newer wire schema waits for a newer replica; a rolling update takes about as long."""

ASKED_ANEW_PATIENCE: Final = 10.0
"""The same for what is asked anew anyway: after a downgrade, rollouts wait behind it, and their deadlines don't."""


def consume(
    broker: NatsBroker,
    *,
    stream: str,
    durable: str,
    filter_subject: str,
    decode: TypeAdapter[M],
    handler: Callable[[M, Delivery], Awaitable[None]],
    runtime: Runtime,
    service: str,
    workers: int = 1,
    max_deliver: int,
    longest_delay: float = 30.0,
    ack_wait: float = 30.0,
    newer_patience: float | None = None,
) -> None:
    """Registers a consumer, which starts with `broker.connect`. `max_deliver` and `ack_wait` are the durable's;
    `longest_delay` bounds how long a message goes back for, seconds all."""
    known = streams.durable(stream, durable)
    asked_anew = known is not None and known.asked_anew
    consumer = _Consumer(
        broker=broker,
        runtime=runtime,
        service=service,
        stream=stream,
        durable=durable,
        decode=decode,
        handler=handler,
        max_deliver=max_deliver,
        ack_wait=known.ack_wait if known else ack_wait,
        longest_delay=longest_delay,
        asked_anew=asked_anew,
        newer_patience=newer_patience or (ASKED_ANEW_PATIENCE if asked_anew else NEWER_PATIENCE),
    )
    for number in range(workers):
        subscriber = broker.subscriber(
            filter_subject,
            durable=durable,
            stream=JStream(stream, declare=False),
            pull_sub=PullSub(1, timeout=PULL_SECONDS),
            ack_policy=AckPolicy.MANUAL,
            inbox_prefix=accounts.inbox(service).encode() + b".",  # pull subscribers ignore the broker's
            decoder=_whole,
            title=f"{stream} {durable}",
            include_in_schema=number == 0,
        )

        @subscriber
        async def on_message(message: NatsMessage) -> None:
            await consumer.on_message(message.raw_message)


async def _whole(message: NatsMessage) -> NatsMessage:
    return message


@dataclass(frozen=True, slots=True, kw_only=True)
class _Consumer(Generic[M]):
    broker: NatsBroker
    runtime: Runtime
    service: str
    stream: str
    durable: str
    decode: TypeAdapter[M]
    handler: Callable[[M, Delivery], Awaitable[None]]
    max_deliver: int
    ack_wait: float
    longest_delay: float
    asked_anew: bool
    newer_patience: float

    async def on_message(self, raw: Msg) -> None:
        """Never raises, except when it's cancelled."""
        clock, metrics = self.runtime.clock, self.runtime.metrics
        began = clock.monotonic()
        delivery = Delivered(raw)
        try:
            outcome = await self._settle(delivery)
        except (Error, OSError) as error:  # the answer didn't get through: the message comes again by itself
            log.warning(
                "%s %s: lost its answer: %s", self.stream, delivery.sequence, str(error) or type(error).__name__
            )
            outcome = "retry"
        metrics.inc("serinus_messages_total", service=self.service, stream=self.stream, outcome=outcome)
        metrics.observe("serinus_message_seconds", clock.monotonic() - began, service=self.service, stream=self.stream)

    async def _settle(self, delivery: Delivered) -> str:
        try:
            message = decoding.decoded(self.decode, delivery.raw.data)
        except decoding.NewerSchema as error:
            if self._newer_may_come(delivery):
                return await self._put_back(delivery, self.newer_patience / self._turns, "newer", str(error))
            if self.asked_anew:
                return await self._drop(delivery, str(error))
            try:
                message = self.decode.validate_json(delivery.raw.data)
            except ValidationError:
                return await self._bury(delivery, "newer", str(error))
        except decoding.OldSchema as error:
            return await self._bury(delivery, "schema", str(error))
        except ValidationError as error:
            return await self._bury(delivery, "undecodable", str(error))
        canary = decoding.canary(message)
        name = f"{canary.name}.{canary.namespace}" if canary else ""
        attributes: dict[str, Any] = {
            "messaging.system": "nats",
            "messaging.destination.name": self.stream,
            "messaging.message.id": message.id,
            "serinus.canary": name,
            "serinus.attempt": delivery.attempts,
        }
        context = telemetry.extract(delivery.headers)
        with (
            logs.bound(canary=name, cause=message.id),
            self.runtime.tracer.start_as_current_span(
                f"{self.service} {self.stream}", context, SpanKind.CONSUMER, attributes
            ),
        ):
            return await self._handle(message, delivery)

    async def _handle(self, message: M, delivery: Delivered) -> str:
        if delivery.attempts >= self.max_deliver:
            return await self._bury(delivery, "exhausted", f"{delivery.attempts - 1} attempts ended without a word")
        try:
            async with self._extending(delivery):
                await self.handler(message, delivery)
        except RetryLater as error:
            return await self._again(delivery, error.delay, "retry", str(error))
        except Never as error:
            return await self._bury(delivery, "refused", str(error))
        except asyncio.CancelledError:
            with suppress(Error, OSError):
                await delivery.raw.nak()
            raise
        except Exception as error:  # the message loop is the one place for it: put back, and given up the tenth time
            log.exception("the handler failed")
            if delivery.attempts >= MOST_FAILURES:
                return await self._bury(delivery, "failed", f"{type(error).__name__}: {error}")
            return await self._again(delivery, 1.0, "failed", f"{type(error).__name__}: {error}")
        await delivery.acknowledge()
        return "done"

    @property
    def _turns(self) -> int:
        """Deliveries that a message waits for a newer replica; the others are that replica's own."""
        return self.max_deliver // 3

    def _newer_may_come(self, delivery: Delivered) -> bool:
        waited = (self.runtime.clock.now() - delivery.stored).total_seconds()
        return delivery.attempts == 1 or (delivery.attempts <= self._turns and waited < self.newer_patience)

    async def _drop(self, delivery: Delivered, why: str) -> str:
        log.warning("%s message %s is left: no newer replica came for it: %s", self.stream, delivery.sequence, why)
        await delivery.acknowledge()
        return "left"

    async def _again(self, delivery: Delivered, delay: float, outcome: str, why: str) -> str:
        if delivery.attempts >= self.max_deliver - 1:
            return await self._bury(delivery, "exhausted", f"attempt {delivery.attempts}: {why}")
        return await self._put_back(delivery, backoff(delay, delivery.attempts, self.longest_delay), outcome, why)

    async def _put_back(self, delivery: Delivered, delay: float, outcome: str, why: str) -> str:
        level = logging.INFO if delivery.attempts > 1 or outcome != "retry" else logging.DEBUG
        log.log(level, "back to %s for %.2f s after attempt %s: %s", self.stream, delay, delivery.attempts, why)
        await delivery.raw.nak(delay)
        return outcome

    async def _bury(self, delivery: Delivered, reason: str, why: str) -> str:
        """Dead letter first, acknowledgement after: rather two letters than none (the second has the same id)."""
        letter = letters.letter(self.service, f"{reason}: {why}", self.stream, delivery)
        while True:
            try:
                await publish.Publisher(self.broker, self.runtime).publish(
                    subjects.dead(self.service),
                    letter,
                    stream=subjects.DEAD_STREAM,
                    message_id=f"{self.stream}/{self.durable}/{delivery.sequence}",
                )
                break
            except RetryLater as error:
                log.warning("a dead letter can't be stored: %s", error)
                if delivery.attempts < self.max_deliver:
                    await delivery.raw.nak(1.0)
                    return "retry"
                await delivery.extend()  # after this attempt there's no other
                await asyncio.sleep(1.0)
        log.error("given up %s message %s on %s: %s", self.stream, delivery.sequence, delivery.subject, letter.reason)
        self.runtime.metrics.inc("serinus_dead_letters_total", service=self.service, reason=reason)
        await delivery.acknowledge()
        return "dead"

    @asynccontextmanager
    async def _extending(self, delivery: Delivered) -> AsyncIterator[None]:
        """Tells the server every third of `ack_wait` that the handler is still at work."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(self.ack_wait / 3)
                self.runtime.health.beat(self.durable)
                with suppress(Error, OSError):
                    await delivery.extend()

        keeping = asyncio.create_task(keep())
        try:
            yield
        finally:
            keeping.cancel()


def backoff(delay: float, attempts: int, longest: float) -> float:
    """The proposed delay, doubled with each attempt. A proposal of nothing is taken at its word once."""
    if delay <= 0:
        delay = 0.0 if attempts <= 1 else 0.05
    return min(longest, delay * 2.0 ** min(attempts - 1, 30))
