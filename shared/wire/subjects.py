"""Names of streams, subjects, consumers and buckets; nobody else spells them.

A Kubernetes name may hold dots, a NATS token may not, and a Kubernetes name never holds an underscore: so a dot
becomes an underscore in a token, without collision and reversibly.
"""

from typing import Final

PARTITIONS: Final = 8
"""Partitions of the inbox. One message of a partition is under way at a time (facts: `max_ack_pending=1`)."""

INBOX_STREAM: Final = "INBOX"
TICK_STREAM: Final = "TICK"
ROLLOUT_STREAM: Final = "ROLLOUT"
NOTICE_STREAM: Final = "NOTICE"
DEAD_STREAM: Final = "DEAD"
PUBLIC_STREAM: Final = "PUBLIC_ROLLOUTS"
MARKER_BUCKET: Final = "serinus-markers"

ANALYZER_DURABLE: Final = "analyzer"
EVENTS_DURABLE: Final = "notifier-events"
ALERTS_DURABLE: Final = "notifier-alerts"
WEBHOOKS_DURABLE: Final = "notifier-webhooks"

INBOX_PUBLISHED: Final = "serinus.inbox.*.*"
TICKS: Final = "serinus.tick.*.*"
SCHEDULES: Final = "serinus.schedule.*.*"
ROLLOUTS: Final = "serinus.rollout.v1.*.*.*"
NOTICES: Final = "serinus.notice.v1.*.*"
DEAD: Final = "serinus.dead.>"


def token(name: str) -> str:
    """A Kubernetes name as one NATS subject token."""
    return name.replace(".", "_")


def inbox(namespace: str, canary: str) -> str:
    """Where facts and verdicts of one canary are published; the stream adds the partition."""
    return f"serinus.inbox.{token(namespace)}.{token(canary)}"


def inbox_partition(partition: int) -> str:
    """The filter of one partition's durable."""
    return f"serinus.inbox.{partition}.>"


def router_durable(partition: int) -> str:
    return f"router-{partition}"


def tick(namespace: str, canary: str) -> str:
    """Where a due tick appears."""
    return f"serinus.tick.{token(namespace)}.{token(canary)}"


def schedule(namespace: str, canary: str) -> str:
    """Where a tick waits for its due time, held by the server."""
    return f"serinus.schedule.{token(namespace)}.{token(canary)}"


def rollout(namespace: str, canary: str, event_type: str) -> str:
    """The public subject of one rollout event."""
    return f"serinus.rollout.v1.{token(namespace)}.{token(canary)}.{event_type}"


def notice(namespace: str, canary: str) -> str:
    """Where the notifier's instructions for one event are published."""
    return f"serinus.notice.v1.{token(namespace)}.{token(canary)}"


def dead(service: str) -> str:
    """Dead letters of one service."""
    return f"serinus.dead.{service}"
