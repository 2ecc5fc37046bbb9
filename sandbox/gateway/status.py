"""What the ingress controller says about an ApisixRoute in its status: each line of versions in its own manner. Pure.

Neither says that weights are live: 1.x that the Admin API took the route, 2.x that it was translated.
"""

from datetime import UTC, datetime

from sandbox.controlplane.api import Json
from sandbox.gateway import config
from sandbox.gateway.dialect import Dialect
from sandbox.network import ServiceTable


def conditions(
    route: Json,
    table: ServiceTable,
    dialect: Dialect,
    now: datetime,
    memo: config.Memo | None = None,
    *,
    default_class: bool = True,
) -> list[Json] | None:
    """As they should be; None where the controller says nothing, or has said it."""
    if not config.concerns(route, dialect, default_class):
        return None
    made = (memo or config.Memo()).rules(route, table, dialect)
    problem = made if isinstance(made, str) else ""
    told = (_told_by_2 if dialect.services else _told_by_1)(problem)
    told["observedGeneration"] = route["metadata"]["generation"]
    stands: list[Json] = route.get("status", {}).get("conditions") or []
    had = next((each for each in stands if each.get("type") == told["type"]), {})
    if dialect.services:
        same = had.get("status") == told["status"]
        told["lastTransitionTime"] = had["lastTransitionTime"] if same else _stamp(now)
    return None if stands == [told] else [told]


def _told_by_1(problem: str) -> Json:
    """Also of one that was synced again and again; there is no time in it."""
    reason, message = ("ResourceSyncAborted", problem) if problem else ("ResourcesSynced", "Sync Successfully")
    return {"type": "ResourcesAvailable", "status": _word(problem), "reason": reason, "message": message}


def _told_by_2(problem: str) -> Json:
    """A backend that doesn't resolve is no problem to it: it's left out, and the route is accepted."""
    reason = "InvalidSpec" if problem else "Accepted"
    return {"type": "Accepted", "status": _word(problem), "reason": reason, "message": problem}


def _word(problem: str) -> str:
    return "False" if problem else "True"


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
