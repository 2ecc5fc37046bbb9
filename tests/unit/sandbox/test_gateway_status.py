"""The status that each line of the ingress controller writes (facts of versions 1.5 and 2.2)."""

from datetime import UTC, datetime
from typing import Any

from sandbox.controlplane.api import Json
from sandbox.gateway.dialect import dialect
from sandbox.gateway.status import conditions
from sandbox.network import ServiceTable
from tests.unit.sandbox.objects import backend, route, rule, services, slices, split

OLD, NEW = dialect("2.15.3"), dialect("3.18.0")
TABLE = ServiceTable(services(), slices())
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2026, 1, 1, 13, tzinfo=UTC)


def generation(given: Json, number: int, **status: Any) -> Json:
    return {**given, "metadata": {**given["metadata"], "generation": number}, "status": status}


def test_the_older_has_no_time_and_the_newer_no_message() -> None:
    given = generation(split(90, 10), 3)
    assert conditions(given, TABLE, OLD, NOW) == [
        {"type": "ResourcesAvailable", "status": "True", "reason": "ResourcesSynced", "message": "Sync Successfully", "observedGeneration": 3}
    ]  # fmt: skip
    assert conditions(given, TABLE, NEW, NOW) == [
        {"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "observedGeneration": 3,
         "lastTransitionTime": "2026-01-01T12:00:00Z"}
    ]  # fmt: skip


def test_both_follow_the_generation_and_say_nothing_twice() -> None:
    for spoken in (OLD, NEW):
        first = conditions(generation(split(90, 10), 3), TABLE, spoken, NOW)
        again = generation(split(90, 10), 3, conditions=first)
        assert conditions(again, TABLE, spoken, LATER) is None
        [moved] = conditions(generation(split(80, 20), 4, conditions=first), TABLE, spoken, LATER) or [{}]
        assert moved["observedGeneration"] == 4
        assert moved.get("lastTransitionTime") in {None, "2026-01-01T12:00:00Z"}, "it was true before"


def test_a_missing_service_aborts_the_older_and_is_accepted_by_the_newer() -> None:
    given = generation(route(rule("method", backend("nowhere")), name="r"), 1)
    [old], [new] = conditions(given, TABLE, OLD, NOW) or [{}], conditions(given, TABLE, NEW, NOW) or [{}]
    assert (old["status"], old["reason"]) == ("False", "ResourceSyncAborted")
    assert "nowhere" in old["message"]
    assert (new["status"], new["reason"]) == ("True", "Accepted")


def test_the_same_service_twice_is_invalid_for_the_newer_only() -> None:
    given = generation(route(rule("method", backend("podinfo-primary"), backend("podinfo-primary")), name="r"), 1)
    [new], [old] = conditions(given, TABLE, NEW, NOW) or [{}], conditions(given, TABLE, OLD, NOW) or [{}]
    assert (new["status"], new["reason"], new["message"]) == ("False", "InvalidSpec", "duplicate backend service")
    assert old["status"] == "True"


def test_a_route_of_no_class_has_no_status_where_none_is_the_default() -> None:
    given = generation(split(90, 10), 1)
    assert conditions(given, TABLE, NEW, NOW, default_class=False) is None
    assert conditions(given, TABLE, OLD, NOW, default_class=False) is not None
