"""What one NATS account should hold, and making it so: compare, create, and change only where nothing is lost.

It speaks JetStream's own JSON: the client library's classes drop fields that they don't know.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, cast

from nats.aio.client import Client
from nats.errors import Error
from pydantic import JsonValue

from shared.bus import streams
from shared.bus.streams import Config, Durable, Merged
from shared.errors import Never, RetryLater

log = logging.getLogger(__name__)

OLDEST: Final = (2, 14)
"""The first nats-server whose schedules were measured to be right."""

API_LEVEL: Final = 2
"""JetStream's own number for "has message schedules"; a cluster offers its oldest member's."""

TIMEOUT: Final = 5.0
"""Seconds for one answer. A request that isn't permitted gets none."""

_NOT_FOUND: Final = (10059, 10014)


class TooOld(Never):
    """This server can't hold our streams at all."""


def check(client: Client) -> None:
    """Raises TooOld when the server that we are connected to can't hold our streams, going by its version."""
    version = client.connected_server_version
    if (version.major, version.minor) < OLDEST:
        text = f"{version.major}.{version.minor}.{version.patch}"
        raise TooOld(f"nats-server {text} is older than {OLDEST[0]}.{OLDEST[1]}, which Serinus needs")


async def fit(client: Client) -> None:
    """Raises TooOld when the server, or one of its cluster, can't hold our streams; RetryLater when it doesn't answer."""
    check(client)
    answer = await ask(client, "INFO")
    api = answer.get("api")
    level = api.get("level", 0) if isinstance(api, dict) else 0
    if not isinstance(level, int) or level < API_LEVEL:
        raise TooOld(f"JetStream's API level {level} has no message schedules, which Serinus needs: {API_LEVEL}")


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an account did and what it couldn't do. Nothing in `waiting` and `refused`: all is there."""

    changes: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@dataclass(slots=True)
class Account:
    """One account's wanted content and the connection to it."""

    client: Client
    streams: Sequence[Config]
    durables: Sequence[Durable] = ()
    told: set[str] = field(default_factory=set)

    async def ensure(self) -> Look:
        """Makes it so, as far as it goes: one that is refused doesn't keep the others from being there.

        Raises TooOld, or RetryLater when JetStream isn't there.
        """
        await fit(self.client)
        apis: list[_Api] = [_StreamApi(self.client, each) for each in self.streams]
        apis += [_DurableApi(self.client, each) for each in self.durables]
        look = Look()
        for api in apis:
            try:
                change = await self._ensure(api)
            except RetryLater as error:
                look = replace(look, waiting=(*look.waiting, str(error)))
            except Never as error:
                look = replace(look, refused=(*look.refused, str(error)))
            else:
                look = replace(look, changes=(*look.changes, *change))
        return look

    async def _ensure(self, api: "_Api") -> list[str]:
        there = await api.read()
        if there is None:
            await api.create()
            return [f"created {api.title}"]
        merged = api.merge(there)
        for each in merged.different:
            if (text := f"{api.title} is left as it is: {each}") not in self.told:
                self.told.add(text)
                log.warning("%s", text)
        if not merged.changed:
            return []
        await api.update(merged.config)
        return [f"changed {api.title}: {'; '.join(merged.changed)}"]


class _Api(Protocol):
    """What streams and consumers have in common."""

    title: str

    async def read(self) -> Config | None: ...
    async def create(self) -> None: ...
    async def update(self, config: Config) -> None: ...
    def merge(self, there: Config) -> Merged: ...


class _StreamApi:
    def __init__(self, client: Client, config: Config) -> None:
        self._client = client
        self._config = config
        self._name = str(config["name"])
        self.title = f"stream {self._name}"

    async def read(self) -> Config | None:
        return await _config(self._client, f"STREAM.INFO.{self._name}")

    async def create(self) -> None:
        await ask(self._client, f"STREAM.CREATE.{self._name}", self._config)

    async def update(self, config: Config) -> None:
        await ask(self._client, f"STREAM.UPDATE.{self._name}", config)

    def merge(self, there: Config) -> Merged:
        return streams.merge_stream(there, self._config)


class _DurableApi:
    def __init__(self, client: Client, durable: Durable) -> None:
        self._client = client
        self._durable = durable
        self.title = f"consumer {durable.name} of stream {durable.stream}"

    async def read(self) -> Config | None:
        return await _config(self._client, f"CONSUMER.INFO.{self._durable.stream}.{self._durable.name}")

    async def create(self) -> None:
        pause: Config = {"pause_until": streams.HELD} if self._durable.held else {}
        await self._write(self._durable.config() | pause, "create")

    async def update(self, config: Config) -> None:
        await self._write(config, "update")

    def merge(self, there: Config) -> Merged:
        return streams.merge_durable(there, self._durable.config())

    async def _write(self, config: Config, action: str) -> None:
        subject = f"CONSUMER.CREATE.{self._durable.stream}.{self._durable.name}"
        if self._durable.filter_subject:
            subject += f".{self._durable.filter_subject}"
        await ask(self._client, subject, {"stream_name": self._durable.stream, "config": config, "action": action})


async def _config(client: Client, subject: str) -> Config | None:
    answer = await ask_if_there(client, subject)
    if not answer:
        return None
    config = answer.get("config")
    return config if isinstance(config, dict) else {}


class _Missing(Never):
    pass


async def stream(client: Client, name: str) -> Config | None:
    """The configuration of a stream, if it is there. Raises RetryLater, or Never."""
    return await _config(client, f"STREAM.INFO.{name}")


async def change_stream(client: Client, name: str, **change: JsonValue) -> None:
    """Changes these fields of a stream that is there."""
    await ask(client, f"STREAM.UPDATE.{name}", (await stream(client, name) or {}) | change)


async def held(client: Client, stream: str, durable: str) -> bool:
    """Was this durable made to wait, and does it still?"""
    config = await _config(client, f"CONSUMER.INFO.{stream}.{durable}")
    return config is not None and config.get("pause_until") == streams.HELD


async def unfinished(client: Client, stream: str, durable: str) -> int:
    """Messages that this durable has yet to deliver, or that nobody has acknowledged."""
    answer = await ask_if_there(client, f"CONSUMER.INFO.{stream}.{durable}")
    return sum(int(str(answer.get(each, 0))) for each in ("num_pending", "num_ack_pending"))


async def ask_if_there(client: Client, subject: str) -> Config:
    """Empty where there is no such stream or consumer."""
    try:
        return await ask(client, subject)
    except _Missing:
        return {}


async def ask(client: Client, subject: str, body: Mapping[str, JsonValue] | None = None) -> Config:
    """One question to JetStream. Raises RetryLater, or Never with the server's words."""
    if not client.is_connected:  # it would be buffered, and answered long after we have stopped waiting
        raise RetryLater("not connected to NATS")
    try:
        message = await client.request(
            f"$JS.API.{subject}", json.dumps(body).encode() if body else b"", timeout=TIMEOUT
        )
    except (Error, OSError, TimeoutError) as error:
        raise RetryLater(f"JetStream doesn't answer {subject}: {str(error) or type(error).__name__}") from error
    answer = cast("Config", json.loads(message.data))
    problem = answer.get("error")
    if not isinstance(problem, dict):
        return answer
    text = f"{subject}: {problem.get('description')}"
    if problem.get("err_code") in _NOT_FOUND:
        raise _Missing(text)
    raise RetryLater(text) if problem.get("code") == 503 else Never(text)
