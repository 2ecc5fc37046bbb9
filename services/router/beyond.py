"""A status in words that a newer version of Serinus has written and this one doesn't know. Pure.

Guessing would be dangerous: an unknown phase looks like none, and a Canary without one is initialized anew. So it is
left as it stands, and people are told, once no newer replica has moved it for a while.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from services.router import conditions, status
from services.router.parse import Canary
from services.router.rollout.state import Phase, Purpose, Stage
from shared.kube import json
from shared.kube.json import Json
from shared.wire import messages as wire

PATIENCE: Final = timedelta(seconds=60)
"""For so long after its last transition, a newer replica is taken to be there still: a rolling update takes as long."""

_REASON: Final = "NewerStatus"


def problem(document: Json) -> str:
    """Why this status can't be read, or an empty text."""
    own = json.mapping(document, "status", "serinus")
    schema = json.number(own, "schema")
    if schema > status.SCHEMA + 1:
        return _told(f"schema is {schema} and this version reads up to {status.SCHEMA + 1}")
    for where, known, text in _words(document, own):
        if text not in known:
            return _told(f'{where} is "{text}", which this version doesn\'t know')
    return ""


def _told(what: str) -> str:
    return f"status.serinus.{what}: install the newer version of Serinus again"


def _words(document: Json, own: Json) -> Iterator[tuple[str, frozenset[str], str]]:
    last = status.last_transition(document)
    yield "transitions[].phase", frozenset(Phase), json.text(last, "phase")
    yield "stage", frozenset(Stage), json.text(own, "stage")
    if "tick" in own:
        yield "tick.purpose", frozenset(Purpose), json.text(own, "tick", "purpose")


def moved_lately(document: Json, now: datetime) -> bool:
    """Is whoever wrote it probably still there?"""
    at = json.text(status.last_transition(document), "at")
    return bool(at) and now - datetime.fromisoformat(at) < PATIENCE


def patch(document: Json, problem: str, now: datetime) -> Json | None:
    """The condition that says so, as a patch of the status; None where it stands already."""
    stand = json.items(document, "status", "conditions")
    had = next((each for each in stand if each.get("type") == "Supported"), None)
    told = conditions.condition(had, "Supported", "False", _REASON, problem, status.stamp(now.replace(microsecond=0)))
    if told is had:
        return None
    others = [each for each in stand if each is not had]
    return {"metadata": {"resourceVersion": json.version(document)}, "status": {"conditions": [*others, told]}}


def notice(canary: Canary, problem: str, now: datetime) -> wire.Notice:
    """What the notifier tells. It is no event of the rollout, whose numbers are the newer version's."""
    own = json.mapping(canary.document, "status", "serinus")
    text = f"Holding {canary.spec.canary_ref}: {problem}"
    event = wire.RolloutEvent(
        canary=canary.ref, seq=json.number(own, "seq"), at=now, type=wire.EventType.HOLD, event_type="Warning",
        message=text, phase=json.text(status.last_transition(canary.document), "phase"),
    )  # fmt: skip
    return wire.Notice(id=f"notice/{canary.ref.uid}/beyond/{json.version(canary.document)}", event=event)
