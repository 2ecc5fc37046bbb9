"""To JetStream: everything is stored when a call returns, or RetryLater is raised (Never: too large).

A publish that ran into its timeout may be stored all the same, later. So whatever must not be there twice has an id,
and whatever has none may be there twice without harm.
"""

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from faststream.exceptions import FastStreamException
from faststream.nats import NatsBroker
from nats.errors import Error, MaxPayloadError
from nats.js.api import PubAck
from nats.js.errors import APIError, NoStreamResponseError
from pydantic import BaseModel

from shared.errors import Never, RetryLater
from shared.runtime import telemetry
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import CloudEvent, Glance, Tick

TIMEOUT: Final = 5.0
"""Seconds for the server's acknowledgement; usually it takes less than one millisecond."""

_AT_ONCE: Final = timedelta(milliseconds=50)
"""What is due sooner is published at once: the server fires a schedule in the past only after 250 ms."""

_WRONG_SEQUENCE: Final = (10071, 10164)
"""The server's codes for a lost compare-and-set."""


class LostRace(RetryLater):
    """Somebody wrote this subject first."""


class Publisher:
    """All that a process publishes."""

    def __init__(self, broker: NatsBroker, runtime: Runtime) -> None:
        self._broker = broker
        self._clock = runtime.clock

    async def publish(
        self,
        subject: str,
        message: BaseModel,
        *,
        stream: str,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Stores a message. A repeat of the same id within the stream's window is dropped by the server: success."""
        extra = {"Nats-Msg-Id": message_id} if message_id else {}
        if isinstance(message, CloudEvent):
            extra["content-type"] = "application/cloudevents+json"
        body = message.model_dump_json(exclude_none=True).encode()
        await store(self._broker, subject, body, stream=stream, headers={**extra, **(headers or {})})

    async def schedule(self, namespace: str, name: str, message: Tick, due: datetime) -> None:
        """Lets NATS deliver this tick when it's due, in place of any other that waits for this canary.

        Without a message id on purpose: the same tick may have to be armed again, with a new question or after a loss.
        """
        target = subjects.tick(namespace, name)
        if due - self._clock.now() <= _AT_ONCE:
            await self.publish(target, message, stream=subjects.TICK_STREAM)
            await self.unschedule(namespace, name)
            return
        at = due.astimezone(UTC).isoformat().replace("+00:00", "Z")
        await self.publish(
            subjects.schedule(namespace, name),
            message,
            stream=subjects.TICK_STREAM,
            headers={"Nats-Schedule": f"@at {at}", "Nats-Schedule-Target": target},
        )

    async def glance(
        self, namespace: str, name: str, message: Glance, due: datetime, *, next_one: bool = False
    ) -> None:
        """Lets NATS deliver this look when it's due, in place of any other that waits for this canary.

        The `next_one` of a look gives way to one that is there: it asks something newer, or it's this very one, stored
        by an earlier delivery. The server takes a look's schedule away when it stores the look.
        """
        at = due.astimezone(UTC).isoformat().replace("+00:00", "Z")
        headers = {"Nats-Schedule": f"@at {at}", "Nats-Schedule-Target": subjects.glance(namespace, name)}
        if next_one:
            headers["Nats-Expected-Last-Subject-Sequence"] = "0"
        with contextlib.suppress(LostRace):
            await self.publish(
                subjects.glance_schedule(namespace, name), message, stream=subjects.TICK_STREAM, headers=headers
            )

    async def unschedule(self, namespace: str, name: str) -> None:
        """Cancels the tick that waits for this canary, if one does.

        A subject of this stream holds one message, so a plain one ends the schedule; it vanishes after a second.
        """
        subject = subjects.schedule(namespace, name)
        await store(self._broker, subject, b"", stream=subjects.TICK_STREAM, headers={"Nats-TTL": "1s"})

    async def last(self, stream: str, subject_filter: str) -> tuple[Mapping[str, str], bytes] | None:
        """Headers and body of the newest message on a subject (wildcards allowed), or None when there is none."""
        return await last(self._broker, stream, subject_filter)


async def store(
    broker: NatsBroker, subject: str, body: bytes, *, stream: str, headers: Mapping[str, str]
) -> PubAck | None:
    """One message into a stream."""
    carried = telemetry.inject({"content-type": "application/json", **headers})
    try:
        return await broker.publish(
            body,
            subject,
            stream=stream,  # without it FastStream publishes into the void and says nothing
            headers=carried,
            timeout=TIMEOUT,
            correlation_id=headers.get("Nats-Msg-Id"),
        )
    except MaxPayloadError as error:
        raise Never(f"{subject}: {len(body)} bytes are more than NATS accepts in one message") from error
    except NoStreamResponseError as error:
        raise RetryLater(f"{subject}: stream {stream} isn't there") from error
    except APIError as error:
        if error.err_code in _WRONG_SEQUENCE:
            raise LostRace(f"{subject}: somebody wrote it first") from error
        raise RetryLater(f"{subject}: {error.description or error}") from error
    except (Error, FastStreamException, OSError, TimeoutError) as error:
        raise RetryLater(f"{subject}: not stored: {str(error) or type(error).__name__}") from error


async def last(broker: NatsBroker, stream: str, subject_filter: str) -> tuple[Mapping[str, str], bytes] | None:
    """The newest message on a subject. In a cluster the answer may come from a replica that is slightly behind."""
    body = json.dumps({"last_by_subj": subject_filter}).encode()
    try:
        client = await broker.connect()
        answer = await client.request(f"$JS.API.DIRECT.GET.{stream}", body, timeout=TIMEOUT)
    except (Error, FastStreamException, OSError, TimeoutError) as error:
        raise RetryLater(f"{stream}: can't read {subject_filter}: {str(error) or type(error).__name__}") from error
    headers = answer.headers or {}
    status = headers.get("Status", "")
    if status == "404":
        return None
    if status:
        raise RetryLater(f"{stream}: can't read {subject_filter}: {status} {headers.get('Description', '')}")
    return headers, answer.data
