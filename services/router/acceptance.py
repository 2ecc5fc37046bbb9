"""What the ingress controller says of a route, in the manner of either of its lines. Pure.

Controllers 1.x report `ResourcesAvailable`, and touch it only when it flips; 2.x report `Accepted` with the generation that
they have seen. Neither says that the gateway follows: a good word is one thing that must be there, never a proof.
"""

from datetime import datetime, timedelta
from typing import Final

from shared.kube import json
from shared.kube.json import Json

LOW_SINCE: Final = "serinus.dev/low-since"
"""Annotation of a generated route: since when some of its rules stand below their source."""
MOST: Final = timedelta(seconds=60)
"""After this the word of an older generation counts too, and silence is told."""
_FIRST, _SECOND = "ResourcesAvailable", "Accepted"


def first_line(*routes: Json | None) -> bool:
    """Does a controller 1.x look after these, or has one?"""
    return any(_condition(route, _FIRST) for route in routes)


def second_line(*routes: Json | None) -> bool:
    """Does a controller 2.x look after these?"""
    return any(_condition(route, _SECOND) for route in routes)


def refusal(route: Json | None) -> str:
    """Why the controller doesn't take this route, in its own words; empty if it takes it or says nothing."""
    for kind in (_FIRST, _SECOND):
        condition = _condition(route, kind)
        if json.text(condition, "status") == "False" and (kind == _FIRST or _current(route, condition)):
            words = [json.text(condition, part) for part in ("reason", "message")]
            return ": ".join(word for word in words if word) or "False"
    return ""


def taken_in(route: Json | None, at: datetime, settle: timedelta) -> bool:
    """Has the gateway had time to take in this route as it is? Controllers 2.x push after they have accepted."""
    condition, since = _condition(route, _SECOND), low_since(route)
    if json.text(condition, "status") != "True" or since is None:
        return False
    return at >= since + (settle if _current(route, condition) else MOST)


def silent(route: Json | None, at: datetime) -> bool:
    """Has a new route waited for so long that nobody seems to take it?"""
    since = low_since(route)
    return since is not None and at >= since + MOST and not _condition(route, _SECOND)


def low_since(route: Json | None) -> datetime | None:
    """When its youngest rule was written below its source; None if none is."""
    text = json.text(route, "metadata", "annotations", LOW_SINCE)
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:  # edited by hand: as if it had just been written
        return None


def _condition(route: Json | None, kind: str) -> Json:
    found = (each for each in json.items(route, "status", "conditions") if json.text(each, "type") == kind)
    return next(found, {})


def _current(route: Json | None, condition: Json) -> bool:
    generation = json.number(route, "metadata", "generation")
    return json.number(condition, "observedGeneration", default=generation) >= generation
