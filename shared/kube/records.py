"""Kubernetes Events as objects: what a first telling looks like, and what a repetition changes. Pure.

One Event stands for one text of one Canary. Its name follows from that text, so that whoever tells it finds the same
one; its annotation lists the events that are counted in it, so that a redelivered one changes nothing.

`kubectl describe` sorts by the last timestamp, which has whole seconds, and leaves equal ones in the order of their
names: so names begin with the place that a type of event has in a rollout's story. Its sort keeps that order only because the
list of a plain rollout is sorted already.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import Final

from shared.kube import json, kinds
from shared.kube.json import Json
from shared.wire.messages import EventType, RolloutEvent

COUNTED: Final = "serinus.dev/seq"
"""Annotation: numbers of the counted events, ascending."""

KEPT: Final = 100
"""So many are remembered. What is older than all of them counts as counted: redeliveries don't come that late."""

COMPONENT: Final = "flagger"
REASON: Final = "Synced"
"""People filter on both."""

_LONGEST_NAME: Final = 253

_STORY: Final[tuple[tuple[EventType, str], ...]] = (
    (EventType.REFUSED, ""),
    (EventType.SUSPENDED, ""),
    (EventType.HOOK, ""),
    (EventType.WARNING, ""),
    (EventType.PENDING, ""),
    (EventType.INITIALIZED, ""),
    (EventType.GATE, ""),
    (EventType.REVISION, ""),
    (EventType.RESTARTED, ""),
    (EventType.PENDING, "canary "),
    (EventType.STARTED, ""),
    (EventType.HOOK, "Pre-rollout "),
    (EventType.HALTED, ""),
    (EventType.HOLD, ""),
    (EventType.GATE, "Confirm-traffic-increase "),
    (EventType.ADVANCED, ""),
    (EventType.GATE, "Confirm-promotion "),
    (EventType.WAITING, ""),
    (EventType.COPYING, ""),
    (EventType.ROUTED, ""),
    (EventType.HOOK, "Rollback check "),
    (EventType.ROLLING_BACK, ""),
    (EventType.FAILED, ""),
    (EventType.HOOK, "Post-rollout "),
    (EventType.PROMOTED, ""),
    (EventType.TERMINATING, ""),
    (EventType.TERMINATED, ""),
)
"""Types, and for some how their text begins: hooks, gates and waiting occur at several places of a rollout."""

_STEPS: Final = (EventType.ADVANCED, EventType.ROUTED)


def name(event: RolloutEvent) -> str:
    """The same for the same text of the same Canary object."""
    identity = "\n".join((event.canary.uid, event.event_type, event.message))
    suffix = f".{_place(event):02x}{_step(event):02x}{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return event.canary.name[: _LONGEST_NAME - len(suffix)].rstrip(".-") + suffix


def first(event: RolloutEvent) -> Json:
    """The Event as it is created."""
    canary = event.canary
    return {
        "apiVersion": kinds.EVENT.api_version,
        "kind": kinds.EVENT.kind,
        "metadata": {
            "name": name(event),
            "namespace": canary.namespace,
            "annotations": {COUNTED: str(event.seq)},
        },
        "involvedObject": {
            "apiVersion": kinds.CANARY.api_version,
            "kind": kinds.CANARY.kind,
            "namespace": canary.namespace,
            "name": canary.name,
            "uid": canary.uid,
        },
        "reason": REASON,
        "message": event.message,
        "type": event.event_type,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
        "firstTimestamp": _time(event.at),
        "lastTimestamp": _time(event.at),
        "count": 1,
    }


def repeat(found: Json, event: RolloutEvent) -> Json | None:
    """The patch that counts a repetition, bound to the version that was found; None: it's counted already."""
    counted = _counted(found)
    if event.seq in counted or (len(counted) >= KEPT and event.seq < counted[0]):
        return None
    numbers = sorted((*counted, event.seq))[-KEPT:]
    at = _time(event.at)
    return {
        "metadata": {
            "resourceVersion": json.version(found),
            "annotations": {COUNTED: ",".join(map(str, numbers))},
        },
        "count": json.number(found, "count", default=1) + 1,
        "firstTimestamp": min(at, json.text(found, "firstTimestamp") or at),
        "lastTimestamp": max(at, json.text(found, "lastTimestamp")),
    }


def _place(event: RolloutEvent) -> int:
    """The most exact entry that fits."""
    fitting = [
        (len(beginning), place)
        for place, (kind, beginning) in enumerate(_STORY)
        if kind is event.type and event.message.startswith(beginning)
    ]
    return max(fitting)[1]


def _step(event: RolloutEvent) -> int:
    """The weight or iteration that ends an advance's text. From the text, since only that makes the name."""
    found = re.search(r"\b(\d{1,3})(/\d+)?$", event.message) if event.type in _STEPS else None
    return min(int(found[1]), 0xFF) if found else 0


def _counted(found: Json) -> list[int]:
    """Numbers in ascending order; somebody else's scribbling isn't one."""
    listed = json.value(found, "metadata", "annotations", COUNTED)
    parts = listed.split(",") if isinstance(listed, str) else []
    return sorted(int(each) for each in parts if each.isascii() and each.isdigit())


def _time(at: datetime) -> str:
    """As Kubernetes writes it; such texts sort as their times do."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
