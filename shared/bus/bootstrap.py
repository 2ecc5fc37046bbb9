"""`python -m shared.bus.bootstrap [--watch]`: creates streams and consumers, and changes them only where nothing is lost.

`… bootstrap credentials` (shared.bus.credentials) and `… bootstrap account` (shared.bus.tenancy) prepare the NATS itself;
`… bootstrap repartition N` (shared.bus.partitions) changes the number of the inbox's partitions.

Idempotent. Without --watch it ends with code 0 when everything is there and with 1 when the server refuses something;
with it, it goes on looking, so that a lost disk heals untouched, and is ready (`/readyz`) while everything is there.
It has a NATS user of its own in each account; the services can create nothing.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Final, NoReturn

import nats
from nats.aio.client import Client
from nats.errors import Error

from shared.bus import accounts, link, partitions, streams
from shared.bus.content import Account, TooOld
from shared.bus.partitions import Inbox
from shared.bus.settings import BootstrapSettings
from shared.errors import Never, RetryLater
from shared.runtime import serve
from shared.runtime.serve import Runtime

log = logging.getLogger(__name__)

SERVICE: Final = "bootstrap"

COMPONENT: Final = "streams"

_SOON: Final = 1.0
"""Seconds between two looks while something is missing."""


async def app(settings: BootstrapSettings, runtime: Runtime, *, watch: bool = False, change_to: int = 0) -> None:
    """Waits for NATS as long as it takes; then everything is there, or the process fails with one sentence.

    `change_to`: the number of partitions that the inbox shall have first.
    """
    runtime.health.component(COMPONENT)
    again = asyncio.Event()
    if change_to:
        settings = settings.model_copy(update={"inbox_partitions": 0})
    inbox, *others = await _accounts(settings, runtime, again.set)
    bootstrap = Bootstrap([inbox, *others], runtime)
    if watch:
        runtime.spawn("watch", bootstrap.keep(again, settings.bootstrap_interval))
        return
    try:
        if change_to:
            await _begun(inbox, change_to)
        await bootstrap.once()
    except Never as error:
        runtime.fail(str(error))
    else:
        log.info("all streams and consumers are there")
        runtime.stop.set()


async def _begun(inbox: Inbox, count: int) -> None:
    while True:
        try:
            await inbox.change(count)
            return
        except RetryLater as error:
            log.warning("%s", error)
        await asyncio.sleep(_SOON)


class Bootstrap:
    """Looks at the accounts until everything is there, or for ever."""

    def __init__(self, found: Sequence[Inbox | Account], runtime: Runtime) -> None:
        self._accounts = found
        self._runtime = runtime
        self._told: set[str] = set()

    async def once(self) -> None:
        """Returns when everything is there. Raises Never when the server refuses something."""
        while True:
            waiting, refused = await self._look()
            if refused:
                raise Never("; ".join(refused))
            if not waiting:
                return
            await asyncio.sleep(_SOON)

    async def keep(self, again: asyncio.Event, interval: float) -> None:
        """Looks every `interval`, and anew whenever `again` is set: a connection is lost, whose answer never comes, or
        is back, perhaps to a server with an empty disk."""
        while not self._runtime.stop.is_set():
            again.clear()
            try:
                look = await link.unless(again, self._look())
            except TooOld as error:
                self._runtime.fail(str(error))
                return
            if look is None:
                continue
            problems = [each for some in look for each in some]
            self._runtime.health.set(COMPONENT, not problems, "; ".join(problems))
            with suppress(TimeoutError):
                await asyncio.wait_for(again.wait(), min(interval, _SOON) if problems else interval)

    async def _look(self) -> tuple[list[str], list[str]]:
        """What isn't there yet, and what is refused. Each text is told once until all is well again. Raises TooOld."""
        waiting: list[str] = []
        refused: list[str] = []
        for account in self._accounts:
            try:
                look = await account.ensure()
            except RetryLater as error:
                waiting.append(str(error))
                continue
            for change in look.changes:
                log.info("%s", change)
            waiting += look.waiting
            refused += look.refused
        self._tell(waiting, refused)
        return waiting, refused

    def _tell(self, waiting: Sequence[str], refused: Sequence[str]) -> None:
        problems = {*waiting, *refused}
        for text in problems - self._told:
            log.warning("not everything is there: %s", text)
        if self._told and not problems:
            log.info("everything is there again")
        self._told = self._told | problems if problems else set()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Login:
    """As whom to connect: an nkey, else user and password, else nobody."""

    user: str
    password: str
    seed_file: str
    inbox: str


async def _accounts(
    settings: BootstrapSettings, runtime: Runtime, on_change: Callable[[], None]
) -> tuple[Inbox, *tuple[Account, ...]]:
    replicas = settings.nats_replicas
    login = _Login(
        user=settings.nats_user or SERVICE,
        password=settings.nats_password.get_secret_value(),
        seed_file=settings.nats_nkey_seed_file,
        inbox=accounts.inbox(SERVICE),
    )
    client = await _connect(settings, login, runtime, on_change)
    inbox = Inbox(client, replicas, settings.inbox_partitions)
    login = _Login(
        user=settings.nats_public_user,
        password=settings.nats_public_password.get_secret_value(),
        seed_file=settings.nats_public_nkey_seed_file,
        inbox=accounts.inbox("public-bootstrap"),
    )
    if not (login.password or login.seed_file):
        log.info("no public stream: there are no credentials for the account that outsiders read from")
        return (inbox,)
    client = await _connect(settings, login, runtime, on_change)
    return inbox, Account(client, streams.public_streams(replicas))


async def _connect(
    settings: BootstrapSettings, login: _Login, runtime: Runtime, on_change: Callable[[], None]
) -> Client:
    """Waits for NATS as long as it takes; what keeps it waiting is told once."""
    voice = link.Link(
        partial(runtime.fail, f"NATS doesn't let {login.user} in, or the connection is closed"), on_change
    )
    named = bool(login.password) and not login.seed_file
    client = await nats.connect(
        settings.nats_url.split(","),
        name=f"serinus-{SERVICE}",
        user=login.user if named else None,
        password=login.password if named else None,
        nkeys_seed_str=link.seed(login.seed_file) if login.seed_file else None,
        tls=link.tls(settings.nats_tls_ca_file),
        inbox_prefix=login.inbox,
        max_reconnect_attempts=-1,
        reconnect_time_wait=1,
        ping_interval=10,
        error_cb=voice.error,
        disconnected_cb=voice.lost,
        reconnected_cb=voice.back,
        closed_cb=voice.closed,
    )
    runtime.stack.push_async_callback(_leave, client, voice)
    return client


async def _leave(client: Client, voice: link.Link) -> None:
    voice.ending()
    with suppress(Error, OSError, TimeoutError):
        await link.close(client)


_PREPARE: Final[Mapping[str, str]] = {"credentials": "shared.bus.credentials", "account": "shared.bus.tenancy"}
"""Commands that ask no server, and what has their `main`. What makes keys is read by who makes some, not at each start."""

_REPARTITION: Final = (
    "New messages wait in the new partitions until the router has worked off those of before; its replicas start anew "
    "by themselves. Ends when it is done; interrupted, the bootstrap that runs ends it."
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    given = sys.argv[1:] if arguments is None else arguments
    if given and given[0] in _PREPARE:
        sys.exit(import_module(_PREPARE[given[0]]).main(given[1:]))
    parser = argparse.ArgumentParser(
        prog="python -m shared.bus.bootstrap",
        description="Creates Serinus's streams. "
        "`credentials` makes nkeys, `account` says what a NATS of your own must give: each has a --help.",
    )
    parser.add_argument("--watch", action="store_true", help="go on, and heal what gets lost")
    parser.set_defaults(partitions=0)
    change = parser.add_subparsers(title="commands").add_parser(
        "repartition", help="change the number of the inbox's partitions", description=_REPARTITION
    )
    change.add_argument("partitions", type=_count, help="the new number")
    chosen = parser.parse_args(given)
    watch = chosen.watch and not chosen.partitions
    serve.main(SERVICE, BootstrapSettings, partial(app, watch=watch, change_to=chosen.partitions), http=watch)


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= partitions.MOST:
        raise argparse.ArgumentTypeError(f"from 1 to {partitions.MOST}")
    return count


if __name__ == "__main__":
    main()
