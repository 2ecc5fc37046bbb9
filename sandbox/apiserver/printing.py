"""Table answers, which is what kubectl prints: the columns of built-in kinds, and those that a CRD declares."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sandbox.apiserver.kinds import Column, Json, Resource

_STEP: Final = re.compile(
    r"""\.(?P<name>(?:[^.\[\\]|\\.)+)|\[(?P<all>\*|)\]|\[(?P<index>-?\d+)\]|\['(?P<quoted>[^']+)'\]"""
    r"""|\[\?\(@\.(?P<key>[\w.-]+)\s*==\s*['"](?P<value>[^'"]*)['"]\)\]"""
)


def find(obj: Json, path: str) -> list[Any]:
    """What a printer column's JSONPath finds: names, indexes, `[*]` and filters by one equal text."""
    found: list[Any] = [obj]
    for step in _STEP.finditer(path):
        found = [each for here in found for each in _follow(here, step)]
    return found


def _follow(here: Any, step: "re.Match[str]") -> Iterable[Any]:
    name = step["quoted"] or (step["name"] or "").replace("\\.", ".")
    if name:
        return [here[name]] if isinstance(here, dict) and name in here else []
    if not isinstance(here, list):
        return []
    if step["index"]:
        index = int(step["index"])
        return here[index : index + 1 or None]
    if step["key"]:
        return [each for each in here if isinstance(each, dict) and each.get(step["key"]) == step["value"]]
    return here


def declared(raw: Sequence[Json]) -> tuple[Column, ...]:
    """The columns of a CRD's `additionalPrinterColumns`."""
    return tuple(
        Column(
            name=each["name"],
            cell=_cell(each["jsonPath"], each["type"]),
            type=each["type"],
            priority=each.get("priority", 0),
            format=each.get("format", ""),
            description=each.get("description", ""),
        )
        for each in raw
    )


def _cell(path: str, kind: str) -> Any:
    def cell(obj: Json) -> Any:
        found = find(obj, path)
        if not found or found[0] is None:
            return None
        value = found[0]
        if kind == "date":
            return age(str(value))
        if kind == "string":
            return value if isinstance(value, str) else _shown(value)
        return value

    return cell


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(f'"{each}"' if isinstance(each, str) else _shown(each) for each in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def table(resource: Resource, objects: Sequence[Json], include: str, version: str, more: Json | None = None) -> Json:
    """`include`: how much of each object its row carries (None, Metadata, Object)."""
    columns = (_NAME, *(resource.columns or BUILT_IN.get(resource.kind, (AGE,))))
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version, **(more or {})},
        "columnDefinitions": [
            {
                "name": each.name,
                "type": each.type,
                "format": each.format,
                "description": each.description,
                "priority": each.priority,
            }
            for each in columns
        ],
        "rows": [_row(columns, obj, include) for obj in objects],
    }


def _row(columns: Sequence[Column], obj: Json, include: str) -> Json:
    row: Json = {"cells": [each.cell(obj) for each in columns]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        head = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
        row["object"] = {**head, "metadata": obj["metadata"]}
    return row


def age(timestamp: str, now: datetime | None = None) -> str:
    """How long ago, as kubectl writes it: 5s, 3m20s, 2h, 4d."""
    try:
        since = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    except ValueError:
        return "<unknown>"
    seconds = max(0, int(((now or datetime.now(UTC)) - since).total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    return f"{hours}h" if hours < 48 else f"{days}d"


def _of(obj: Json, path: str, default: Any = "") -> Any:
    found = find(obj, path)
    return found[0] if found and found[0] is not None else default


def _pod_status(pod: Json) -> str:
    return "Terminating" if "deletionTimestamp" in pod["metadata"] else str(_of(pod, ".status.phase"))


def _ready(pod: Json) -> str:
    found = find(pod, ".status.containerStatuses[*]")
    return f"{sum(bool(each.get('ready')) for each in found)}/{len(find(pod, '.spec.containers[*]'))}"


def _ports(service: Json) -> str:
    return (
        ",".join(f"{each['port']}/{each.get('protocol', 'TCP')}" for each in find(service, ".spec.ports[*]"))
        or "<none>"
    )


_NAME: Final = Column(name="Name", cell=lambda obj: obj["metadata"]["name"], format="name")
AGE: Final = Column(name="Age", cell=lambda obj: age(_of(obj, ".metadata.creationTimestamp")))
BUILT_IN: Final[dict[str, tuple[Column, ...]]] = {
    "Deployment": (
        Column(name="Ready", cell=lambda o: f"{_of(o, '.status.readyReplicas', 0)}/{_of(o, '.spec.replicas', 0)}"),
        Column(name="Up-to-date", cell=lambda o: _of(o, ".status.updatedReplicas", 0), type="integer"),
        Column(name="Available", cell=lambda o: _of(o, ".status.availableReplicas", 0), type="integer"),
        AGE,
        Column(name="Images", cell=lambda o: ",".join(find(o, ".spec.template.spec.containers[*].image")), priority=1),
    ),
    "ReplicaSet": (
        Column(name="Desired", cell=lambda o: _of(o, ".spec.replicas", 0), type="integer"),
        Column(name="Current", cell=lambda o: _of(o, ".status.replicas", 0), type="integer"),
        Column(name="Ready", cell=lambda o: _of(o, ".status.readyReplicas", 0), type="integer"),
        AGE,
    ),
    "Pod": (
        Column(name="Ready", cell=_ready),
        Column(name="Status", cell=_pod_status),
        Column(name="Restarts", cell=lambda o: _of(o, ".status.containerStatuses[0].restartCount", 0), type="integer"),
        AGE,
        Column(name="IP", cell=lambda o: _of(o, ".status.podIP", "<none>"), priority=1),
        Column(name="Node", cell=lambda o: _of(o, ".spec.nodeName", "<none>"), priority=1),
    ),
    "Service": (
        Column(name="Type", cell=lambda o: _of(o, ".spec.type")),
        Column(name="Cluster-IP", cell=lambda o: _of(o, ".spec.clusterIP", "<none>")),
        Column(name="External-IP", cell=lambda o: "<none>"),
        Column(name="Port(s)", cell=_ports),
        AGE,
        Column(
            name="Selector",
            cell=lambda o: ",".join(f"{k}={v}" for k, v in _of(o, ".spec.selector", {}).items()),
            priority=1,
        ),
    ),
    "Event": (
        Column(name="Last Seen", cell=lambda o: age(_of(o, ".lastTimestamp") or _of(o, ".eventTime"))),
        Column(name="Type", cell=lambda o: _of(o, ".type")),
        Column(name="Reason", cell=lambda o: _of(o, ".reason")),
        Column(
            name="Object", cell=lambda o: f"{_of(o, '.involvedObject.kind').lower()}/{_of(o, '.involvedObject.name')}"
        ),
        Column(name="Message", cell=lambda o: _of(o, ".message")),
    ),
    "Namespace": (Column(name="Status", cell=lambda o: _of(o, ".status.phase")), AGE),
    "CustomResourceDefinition": (Column(name="Created At", cell=lambda o: _of(o, ".metadata.creationTimestamp")),),
}
