"""Who may do what on NATS: plain data, and its rendering as the `accounts` block of a nats-server's configuration.

Two accounts. In SERINUS the four services and the bootstrap meet; in PUBLIC live those who only read. Each service may
publish its own subjects, pull from its own durables and hear its own inbox, nothing else.

* Nobody but the bootstrap may create a consumer in SERINUS: with CONSUMER.CREATE alone a user can have the server
  deliver stored messages to subjects which that user may not publish to (measured). So services use neither
  ordered consumers nor key-value watches. The same right is harmless in PUBLIC, where there is nothing to forge.
* A pull consumer's rights are three: INFO, MSG.NEXT and the ACK subjects. Wildcards stand for whole tokens only.
* A denied request looks like a timeout to the client; the server's error reaches the log through `broker`.
* Whoever may publish a schedule into TICK can have any subject of TICK published; that is the router's right anyway,
  and the analyzer, who schedules its next look, could ask nobody but itself.
* The read-only user may hear `_INBOX.>`, the default of every client; all that it could overhear there is public.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.wire import subjects

SERINUS: Final = "SERINUS"
PUBLIC: Final = "PUBLIC"
SYS: Final = "SYS"

SYNC: Final = "serinus.sync.public"
"""Where SERINUS delivers the public events to the stream in PUBLIC that sources them."""

IMPORTED_API: Final = "SERINUS.API"
"""How PUBLIC calls what it may ask of SERINUS's JetStream. Only the server itself uses it, for the sourcing."""

_KV: Final = f"KV_{subjects.MARKER_BUCKET}"
_MARKERS: Final = (
    f"$KV.{subjects.MARKER_BUCKET}.>",
    f"$JS.API.DIRECT.GET.{_KV}",
    f"$JS.API.DIRECT.GET.{_KV}.>",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user. None: no restriction (the system account's administrator)."""

    name: str
    account: str
    publish: tuple[str, ...] | None
    subscribe: tuple[str, ...] | None


def inbox(user: str) -> str:
    """The prefix of a user's own inbox subjects; clients must be told to use it."""
    return f"_INBOX_{user}"


def _pull(stream: str, durable: str) -> tuple[str, ...]:
    """Pulling from a durable that exists. The second ACK form is the one that newer servers may switch to."""
    return (
        f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
        f"$JS.ACK.{stream}.{durable}.>",
        f"$JS.ACK.*.*.{stream}.{durable}.>",
    )


def _direct(stream: str) -> tuple[str, ...]:
    return f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.DIRECT.GET.{stream}.>"


def _service(name: str, *publish: str) -> User:
    return User(
        name=name,
        account=SERINUS,
        publish=(*publish, subjects.dead(name)),
        subscribe=(f"{inbox(name)}.>",),
    )


def _bootstrap(name: str, account: str, *more: str) -> User:
    """May look, create and change, but neither delete nor purge a stream."""
    api = (
        "INFO",
        "STREAM.INFO.*",
        "STREAM.CREATE.*",
        "STREAM.UPDATE.*",
        "CONSUMER.INFO.*.*",
        "CONSUMER.CREATE.>",
        *more,
    )
    return User(
        name=name,
        account=account,
        publish=tuple(f"$JS.API.{each}" for each in api),
        subscribe=(f"{inbox(name)}.>",),
    )


_NOTIFIER: Final = tuple(
    right
    for durable in (subjects.EVENTS_DURABLE, subjects.ALERTS_DURABLE, subjects.WEBHOOKS_DURABLE)
    for right in _pull(subjects.NOTICE_STREAM, durable)
)

_REPARTITION: Final = (
    f"NAMES.{subjects.INBOX_STREAM}", f"PAUSE.{subjects.INBOX_STREAM}.*", f"DELETE.{subjects.INBOX_STREAM}.*",
)  # fmt: skip

USERS: Final[tuple[User, ...]] = (
    # Another number of partitions means other durables, which wait until those of before have nothing left.
    _bootstrap("bootstrap", SERINUS, *(f"CONSUMER.{each}" for each in _REPARTITION)),
    _service("watcher", subjects.INBOX_PUBLISHED),
    _service(
        "router",
        subjects.INBOX_PUBLISHED,
        subjects.TICKS,
        subjects.SCHEDULES,
        subjects.GLANCE_SCHEDULES,
        subjects.ROLLOUTS,
        subjects.NOTICES,
        # How many partitions there are is seen by their durables, and all durables of the inbox are the router's.
        f"$JS.API.CONSUMER.NAMES.{subjects.INBOX_STREAM}",
        *_pull(subjects.INBOX_STREAM, "*"),
        *_direct(subjects.ROLLOUT_STREAM),
        *_direct(subjects.TICK_STREAM),
    ),
    _service(
        "analyzer",
        subjects.INBOX_PUBLISHED,
        subjects.GLANCE_SCHEDULES,
        *_pull(subjects.TICK_STREAM, subjects.ANALYZER_DURABLE),
        *_pull(subjects.TICK_STREAM, subjects.GLANCES_DURABLE),
        *_MARKERS,
    ),
    _service("notifier", *_NOTIFIER, *_MARKERS),
    _bootstrap("public-bootstrap", PUBLIC),
    User(
        name="subscriber",
        account=PUBLIC,
        publish=(
            "$JS.API.INFO",
            "$JS.API.STREAM.NAMES",
            f"$JS.API.STREAM.INFO.{subjects.PUBLIC_STREAM}",
            f"$JS.API.CONSUMER.CREATE.{subjects.PUBLIC_STREAM}",
            f"$JS.API.CONSUMER.CREATE.{subjects.PUBLIC_STREAM}.>",
            *_pull(subjects.PUBLIC_STREAM, "*"),
            f"$JS.FC.{subjects.PUBLIC_STREAM}.>",
            *_direct(subjects.PUBLIC_STREAM),
        ),
        subscribe=("_INBOX.>", f"{inbox('subscriber')}.>"),
    ),
    User(name="sys", account=SYS, publish=None, subscribe=None),
)

_CREATE: Final = f"$JS.API.CONSUMER.CREATE.{subjects.ROLLOUT_STREAM}"
_EXPORTS: Final = (
    # Both forms: with the second alone nothing is sourced, and no error says so.
    f'{{ service: "{_CREATE}", accounts: [{PUBLIC}] }}',
    f'{{ service: "{_CREATE}.>", accounts: [{PUBLIC}] }}',
    f'{{ service: "$JS.FC.>", accounts: [{PUBLIC}] }}',
    f'{{ stream: "{SYNC}.>", accounts: [{PUBLIC}] }}',
)
_IMPORTED_CREATE: Final = f"{IMPORTED_API}.CONSUMER.CREATE.{subjects.ROLLOUT_STREAM}"
_IMPORTS: Final = (
    f'{{ service: {{ account: {SERINUS}, subject: "{_CREATE}" }}, to: "{_IMPORTED_CREATE}" }}',
    f'{{ service: {{ account: {SERINUS}, subject: "{_CREATE}.>" }}, to: "{_IMPORTED_CREATE}.>" }}',
    f'{{ service: {{ account: {SERINUS}, subject: "$JS.FC.>" }} }}',
    f'{{ stream: {{ account: {SERINUS}, subject: "{SYNC}.>" }} }}',
)


def variable(user: str) -> str:
    """The environment variable with a user's password: nats-server reads it, and the Secret has it as a key."""
    return "NATS_PASSWORD_" + user.upper().replace("-", "_")


def render(
    passwords: Mapping[str, str] | None = None,
    nkeys: Mapping[str, Sequence[str]] | None = None,
    *,
    more: Sequence[User] = (),
    system: bool = True,
) -> str:
    """The `accounts` block. Each user needs a password or public nkeys. `more` are the installation's own users.

    A password of the form `$NAME` stays unquoted: nats-server reads that environment variable. A user with several
    nkeys may come with any of them. Without `system` it's a block for a server that has a system account of its own.
    """
    users = tuple(user for user in (*USERS, *more) if system or user.account != SYS)
    keys = {user.name: _credentials(user.name, passwords or {}, nkeys or {}) for user in users}
    return "\n".join(
        (
            "accounts {",
            *_account(SERINUS, users, keys, exports=_EXPORTS),
            *_account(PUBLIC, users, keys, imports=_IMPORTS),
            *(_account(SYS, users, keys, jetstream=False) if system else ()),
            "}",
            *((f"system_account: {SYS}",) if system else ()),
            "",
        )
    )


def public_keys(rendered: str) -> dict[str, tuple[str, ...]]:
    """The nkeys that such a block holds, by user, the oldest first."""
    found: dict[str, tuple[str, ...]] = {}
    for key, user in re.findall(r'^ *\{ nkey: "(U[A-Z2-7]{55})" # ([\w-]+)$', rendered, re.MULTILINE):
        found[user] = (*found.get(user, ()), key)
    return found


def _credentials(name: str, passwords: Mapping[str, str], nkeys: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if name in nkeys:
        # The server knows no name for these; the comment is for people and for `public_keys`.
        return tuple(f'nkey: "{key}" # {name}' for key in nkeys[name])
    if name not in passwords:
        raise ValueError(f"user {name} has neither a password nor an nkey")
    password = passwords[name]
    if re.fullmatch(r"\$[A-Z_][A-Z0-9_]*", password):
        return (f"user: {name}, password: {password}",)
    if re.search(r'["\\\n]', password):
        raise ValueError(f"the password of user {name} can't be quoted")
    return (f'user: {name}, password: "{password}"',)


def _account(
    name: str,
    users: Sequence[User],
    keys: Mapping[str, Sequence[str]],
    *,
    exports: Sequence[str] = (),
    imports: Sequence[str] = (),
    jetstream: bool = True,
) -> list[str]:
    lines = [f"  {name} {{"]
    lines += ["    jetstream: enabled"] if jetstream else []
    for word, entries in (("exports", exports), ("imports", imports)):
        lines += [f"    {word}: [", *(f"      {entry}" for entry in entries), "    ]"] if entries else []
    lines.append("    users: [")
    for user in users:
        for credential in keys[user.name] if user.account == name else ():
            lines += [f"      {{ {credential}", *_permissions(user), "      }"]
    return [*lines, "    ]", "  }"]


def _permissions(user: User) -> list[str]:
    if user.publish is None or user.subscribe is None:
        return []
    return [
        "        permissions: {",
        "          publish: { allow: [",
        *(f'            "{each}"' for each in user.publish),
        "          ] }",
        "          subscribe: { allow: [" + ", ".join(f'"{each}"' for each in user.subscribe) + "] }",
        "        }",
    ]
