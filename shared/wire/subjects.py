"""Names of streams, subjects, consumers and buckets; nobody else spells them.

A Kubernetes name may hold dots, a NATS token may not, and a Kubernetes name never holds an underscore: so a dot
becomes an underscore in a token, without collision and reversibly.
"""

import re
from typing import Final

INBOX_STREAM: Final = "INBOX"
TICK_STREAM: Final = "TICK"
ROLLOUT_STREAM: Final = "ROLLOUT"
NOTICE_STREAM: Final = "NOTICE"
DEAD_STREAM: Final = "DEAD"
PUBLIC_STREAM: Final = "PUBLIC_ROLLOUTS"
MARKER_BUCKET: Final = "serinus-markers"

ANALYZER_DURABLE: Final = "analyzer"
GLANCES_DURABLE: Final = "analyzer-glances"
EVENTS_DURABLE: Final = "notifier-events"
ALERTS_DURABLE: Final = "notifier-alerts"
WEBHOOKS_DURABLE: Final = "notifier-webhooks"

INBOX_PUBLISHED: Final = "serinus.inbox.*.*"
TICKS: Final = "serinus.tick.*.*"
SCHEDULES: Final = "serinus.schedule.*.*"
GLANCES: Final = "serinus.glance.*.*"
GLANCE_SCHEDULES: Final = "serinus.glance-schedule.*.*"
ROLLOUTS: Final = "serinus.rollout.v1.*.*.*"
NOTICES: Final = "serinus.notice.v1.*.*"
DEAD: Final = "serinus.dead.>"


def token(name: str) -> str:
    """A Kubernetes name as one NATS subject token."""
    return name.replace(".", "_")


def inbox(namespace: str, canary: str) -> str:
    """Where facts and verdicts of one canary are published; the stream adds the partition."""
    return f"serinus.inbox.{token(namespace)}.{token(canary)}"


def inbox_partition(count: int, partition: int) -> str:
    """The filter of one partition's durable. The count is part of the subject: with another one, a canary's messages
    would lie in another partition beside those of before."""
    return f"serinus.inbox.{count}.{partition}.>"


def router_durable(count: int, partition: int) -> str:
    """One partition of so many."""
    return f"router-{count}-{partition}"


def partition_of(durable: str) -> tuple[int, int] | None:
    """What `router_durable` was given for this name; None for any other durable."""
    found = re.fullmatch(r"router-([1-9]\d*)-(\d+)", durable)
    return (int(found[1]), int(found[2])) if found else None


def partitioning(count: int) -> str:
    """What the inbox's stream makes of a published subject."""
    return f"serinus.inbox.{count}.{{{{partition({count},1,2)}}}}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}"


def partitions(partitioning: str) -> int:
    """The count that such a transform is for; 0 when it is none of ours."""
    found = re.match(r"serinus\.inbox\.([1-9]\d*)\.\{\{partition\(\1,1,2\)\}\}\.", partitioning)
    return int(found[1]) if found else 0


def tick(namespace: str, canary: str) -> str:
    """Where a due tick appears."""
    return f"serinus.tick.{token(namespace)}.{token(canary)}"


def schedule(namespace: str, canary: str) -> str:
    """Where a tick waits for its due time, held by the server."""
    return f"serinus.schedule.{token(namespace)}.{token(canary)}"


def glance(namespace: str, canary: str) -> str:
    """Where a look between two ticks appears when its time has come."""
    return f"serinus.glance.{token(namespace)}.{token(canary)}"


def glance_schedule(namespace: str, canary: str) -> str:
    """Where it waits for that, held by the server."""
    return f"serinus.glance-schedule.{token(namespace)}.{token(canary)}"


def rollout(namespace: str, canary: str, event_type: str) -> str:
    """The public subject of one rollout event."""
    return f"serinus.rollout.v1.{token(namespace)}.{token(canary)}.{event_type}"


def notice(namespace: str, canary: str) -> str:
    """Where the notifier's instructions for one event are published."""
    return f"serinus.notice.v1.{token(namespace)}.{token(canary)}"


def dead(service: str) -> str:
    """Dead letters of one service."""
    return f"serinus.dead.{service}"
