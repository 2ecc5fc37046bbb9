"""Makes two recordings of one play alike: what differs from run to run gets a number instead. Pure."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sandbox.controlplane.api import Json

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When the recorded Canary was created, from now on."""
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME: Final = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_ADDRESS: Final = re.compile(r"\b10\.96\.\d+\.\d+\b")
_EVENT: Final = re.compile(r"\.[0-9a-f]{16}\b")
_VERSIONS: Final = re.compile(r'"resourceVersion": "(\d+)"')


def normalised(moments: dict[str, Any], began: datetime) -> dict[str, Any]:
    """All moments of one recording together, so that what is the same in two of them stays the same."""
    text = json.dumps(moments)
    for uid, name in _owners(moments).items():
        text = text.replace(uid, name)
    text = _UUID.sub(_numbered("id-{}"), text)
    text = _ADDRESS.sub(_numbered("10.96.0.{}"), text)
    text = _EVENT.sub(_numbered(".{}"), text)
    text = _TIME.sub(lambda found: _stamp(_moment(found[0]) - began), text)
    order = {version: index for index, version in enumerate(sorted({int(each) for each in _VERSIONS.findall(text)}), 1)}
    text = _VERSIONS.sub(lambda found: f'"resourceVersion": "{order[int(found[1])]}"', text)
    made: dict[str, Any] = json.loads(text)
    return made


def _owners(moments: dict[str, Any]) -> dict[str, str]:
    """Readable uids."""
    found: dict[str, str] = {}
    for moment in moments.values():
        for each in moment.get("objects", ()):
            found[each["metadata"]["uid"]] = f"uid-{each['kind']}-{each['metadata']['name']}"
    return found


def _numbered(form: str) -> Callable[[re.Match[str]], str]:
    seen: dict[str, str] = {}
    return lambda found: seen.setdefault(found[0], form.format(len(seen) + 1))


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _stamp(since: timedelta) -> str:
    return (START + since).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def listed(found: Json) -> list[Json]:
    """The objects of a list, each with the kind that the list has taken from them.

    Of managedFields it keeps who wrote when; which fields is most of their bulk, and told for Canaries only.
    """
    kind, version = str(found["kind"]).removesuffix("List"), found["apiVersion"]
    if kind != "Canary":
        for written in (each for item in found["items"] for each in item["metadata"].get("managedFields", ())):
            written.pop("fieldsV1", None)
    return [{"apiVersion": version, "kind": kind, **each} for each in found["items"]]
