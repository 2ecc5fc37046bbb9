"""Streams and consumers as plain data, and what may be changed about those that exist.

The shape is JetStream's own JSON, not a client library's classes: those drop fields that they don't know, so that
reading, changing and writing back would lose what an operator or a newer server has set.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from shared.bus import accounts
from shared.wire import subjects

Config = dict[str, JsonValue]

_SECOND: Final = 1_000_000_000
_MINUTE: Final = 60 * _SECOND
_DAY: Final = 24 * 60 * _MINUTE
_MIB: Final = 2**20

HELD: Final = "2100-01-01T00:00:00Z"
"""Until when a held durable is paused; one that somebody else has paused stays so."""

ADVISORIES: Final = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"
"""The server's word on a message that it won't deliver again. Ours bury theirs before; this is for what slips through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Durable:
    """A durable pull consumer with explicit acknowledgement. Times are in seconds."""

    stream: str
    name: str
    filter_subject: str = ""
    ack_wait: float = 30.0
    max_deliver: int = 20
    max_ack_pending: int
    asked_anew: bool = False
    """The router's sweep notices when one of these messages is missing: one that nobody understands may go."""
    held: bool = False
    """It is made to deliver nothing before somebody lets it go (`shared.bus.partitions`)."""

    def config(self) -> Config:
        config: Config = {
            "name": self.name,
            "durable_name": self.name,
            "ack_policy": "explicit",
            "deliver_policy": "all",
            "ack_wait": int(self.ack_wait * _SECOND),
            "max_deliver": self.max_deliver,
            "max_ack_pending": self.max_ack_pending,
        }
        return config | ({"filter_subject": self.filter_subject} if self.filter_subject else {})


PARTITIONS: Final = 8
"""Of a new inbox; the stream that exists knows how many it has. One message of a partition is under way at a time."""

INBOX_DELIVERIES: Final = 100
"""Of a message for the router. An API server that is away for some minutes sends none to the dead letters."""


def partition(count: int, number: int) -> Durable:
    """One message of a partition at a time: the order of a canary's messages rests on the 1.

    Short, because a dead replica's partition waits so long, and who lives extends it while the API server takes its time.
    """
    return Durable(
        stream=subjects.INBOX_STREAM,
        name=subjects.router_durable(count, number),
        filter_subject=subjects.inbox_partition(count, number),
        ack_wait=5.0,
        max_deliver=INBOX_DELIVERIES,
        max_ack_pending=1,
        asked_anew=True,
    )


_OTHERS: Final = (
    # Short, because a dead replica's tick waits so long, and who lives extends it while webhooks take their time.
    Durable(
        stream=subjects.TICK_STREAM,
        name=subjects.ANALYZER_DURABLE,
        filter_subject="serinus.tick.>",
        ack_wait=15.0,
        max_ack_pending=4096,
        asked_anew=True,
    ),
    # A look that is lost is followed by the tick, which sees the same.
    Durable(
        stream=subjects.TICK_STREAM,
        name=subjects.GLANCES_DURABLE,
        filter_subject=subjects.GLANCES,
        ack_wait=15.0,
        max_ack_pending=4096,
        asked_anew=True,
    ),
    *(
        Durable(stream=subjects.NOTICE_STREAM, name=name, max_ack_pending=256)
        for name in (subjects.EVENTS_DURABLE, subjects.ALERTS_DURABLE, subjects.WEBHOOKS_DURABLE)
    ),
)


def durables(partitions: int = PARTITIONS) -> tuple[Durable, ...]:
    """All durables, with those of so many partitions."""
    return *(partition(partitions, number) for number in range(partitions)), *_OTHERS


def durable(stream: str, name: str) -> Durable | None:
    """The durable of this name, if it is one of ours."""
    if stream == subjects.INBOX_STREAM:
        found = subjects.partition_of(name)
        return partition(*found) if found else None
    return next((each for each in _OTHERS if (each.stream, each.name) == (stream, name)), None)


def streams(replicas: int, partitions: int = PARTITIONS) -> tuple[Config, ...]:
    """All streams of the account SERINUS. Sizes are reserved: together they need 1.5 GiB of every server's disk."""
    inbox: Config = {
        "name": subjects.INBOX_STREAM,
        "description": "Facts, verdicts and nudges for the router, partitioned by canary.",
        "subjects": [subjects.INBOX_PUBLISHED],
        "retention": "workqueue",
        "discard": "new",  # a full inbox refuses, so that the watcher keeps what it has; dropping would lose it
        "max_bytes": 256 * _MIB,
        "max_age": _DAY,
        "duplicate_window": 5 * _MINUTE,
        "subject_transform": {
            "src": subjects.INBOX_PUBLISHED,
            "dest": subjects.partitioning(partitions),
        },
    }
    tick: Config = {
        "name": subjects.TICK_STREAM,
        "description": "Ticks that wait for their time, and those that are due; looks between them likewise.",
        "subjects": [subjects.TICKS, subjects.SCHEDULES, subjects.GLANCES, subjects.GLANCE_SCHEDULES],
        "retention": "workqueue",
        "max_msgs_per_subject": 1,  # a newer tick of a canary replaces the older one
        # It can't refuse new ones instead, which isn't allowed beside schedules (measured: 10052). It drops the oldest, whose
        # canary the router's sweep finds. Room for ten thousand canaries, each with a question of a dozen kilobytes.
        "max_bytes": 128 * _MIB,
        "max_age": 0,  # any other would delete waiting ticks
        "allow_msg_schedules": True,
        "allow_msg_ttl": True,
        "allow_direct": True,
        "duplicate_window": _SECOND // 10,  # the shortest: the same tick may be armed twice, and neither has an id
    }
    rollout: Config = {
        "name": subjects.ROLLOUT_STREAM,
        "description": "Rollout events, public: CloudEvents 1.0.",
        "subjects": [subjects.ROLLOUTS],
        "max_bytes": 512 * _MIB,
        "max_age": 30 * _DAY,
        "allow_direct": True,
        "duplicate_window": 5 * _MINUTE,
    }
    notice: Config = {
        "name": subjects.NOTICE_STREAM,
        "description": "What the notifier has to do about each event.",
        "subjects": [subjects.NOTICES],
        "max_bytes": 128 * _MIB,
        "max_age": 7 * _DAY,
        "duplicate_window": 5 * _MINUTE,
    }
    dead: Config = {
        "name": subjects.DEAD_STREAM,
        "description": "Messages that were given up, each with its reason.",
        "subjects": [subjects.DEAD, ADVISORIES],
        "max_bytes": 128 * _MIB,
        "max_age": 14 * _DAY,
        "duplicate_window": 5 * _MINUTE,
    }
    # A key-value bucket as its specification has it, but it drops old notes when full instead of refusing new ones.
    # No limit_marker_ttl: with it an expired note reads as a live one (facts of the server, measured).
    markers: Config = {
        "name": f"KV_{subjects.MARKER_BUCKET}",
        "description": "Which HTTP effects were begun and done.",
        "subjects": [f"$KV.{subjects.MARKER_BUCKET}.>"],
        "max_msgs_per_subject": 1,
        "max_bytes": 64 * _MIB,
        "max_age": _DAY,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
        "deny_delete": True,
    }
    return tuple(_complete(each, replicas) for each in (inbox, tick, rollout, notice, dead, markers))


def public_streams(replicas: int) -> tuple[Config, ...]:
    """All streams of the account PUBLIC."""
    public: Config = {
        "name": subjects.PUBLIC_STREAM,
        "description": "Rollout events for everybody: CloudEvents 1.0, from the first on.",
        "max_bytes": 256 * _MIB,
        "max_age": 7 * _DAY,
        "max_consumers": 50,
        "allow_direct": True,
        "consumer_limits": {"inactive_threshold": 5 * _MINUTE},
        "sources": [
            {
                "name": subjects.ROLLOUT_STREAM,
                "external": {"api": accounts.IMPORTED_API, "deliver": accounts.SYNC},
            }
        ],
    }
    return (_complete(public, replicas),)


def _complete(config: Config, replicas: int) -> Config:
    common: Config = {"retention": "limits", "storage": "file", "discard": "old", "num_replicas": replicas}
    return common | config


Rule = Callable[[JsonValue, JsonValue], JsonValue]
"""(there, wanted) → what it should become."""


def _larger(unlimited: int) -> Rule:
    def rule(there: JsonValue, wanted: JsonValue) -> JsonValue:
        if unlimited in (there, wanted):
            return unlimited
        return max(int(there), int(wanted)) if isinstance(there, int) and isinstance(wanted, int) else wanted

    return rule


def _either(there: JsonValue, wanted: JsonValue) -> JsonValue:
    return bool(there) or bool(wanted)


def _union(there: JsonValue, wanted: JsonValue) -> JsonValue:
    there, wanted = (each if isinstance(each, list) else [] for each in (there, wanted))
    return [*there, *(each for each in wanted if each not in there)]


def _wanted(there: JsonValue, wanted: JsonValue) -> JsonValue:
    return wanted


def _strictest(there: JsonValue, wanted: JsonValue) -> JsonValue:
    """Of max_ack_pending: 1 is for order and must be; any other number is for throughput and may be larger."""
    return 1 if wanted == 1 else _larger(-1)(there, wanted)


_STREAM_RULES: Final[Mapping[str, Rule]] = {
    "description": _wanted,
    "subjects": _union,
    "max_bytes": _larger(-1),
    "max_age": _larger(0),
    "duplicate_window": _larger(-1),
    "num_replicas": _larger(-1),
    "discard": _wanted,
    "allow_direct": _either,
    "allow_msg_ttl": _either,
    "allow_msg_schedules": _either,
}
_DURABLE_RULES: Final[Mapping[str, Rule]] = {
    "ack_wait": _larger(-1),
    "max_deliver": _larger(-1),
    "max_ack_pending": _strictest,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What becomes of something that exists: its new configuration, what that changes, and what is left different."""

    config: Config
    changed: tuple[str, ...]
    different: tuple[str, ...]


def merge_stream(there: Config, wanted: Config) -> Merged:
    """Only what loses nothing. Pure; the bootstrap acts on it."""
    return _merge(there, wanted, _STREAM_RULES)


def merge_durable(there: Config, wanted: Config) -> Merged:
    """Only what loses nothing, and `max_ack_pending` 1. Pure; the bootstrap acts on it."""
    return _merge(there, wanted, _DURABLE_RULES)


def _merge(there: Config, wanted: Config, rules: Mapping[str, Rule]) -> Merged:
    config, changed, different = dict(there), [], []
    for name, value in wanted.items():
        before = there.get(name)
        after = rules[name](before, value) if name in rules else before
        if after != before:
            config[name] = after
            changed.append(f"{name}: {before} → {after}")
        elif name not in rules and before != value:
            different.append(f"{name} is {before}, not {value}")
    return Merged(config=config, changed=tuple(changed), different=tuple(different))
