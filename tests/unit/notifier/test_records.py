"""Kubernetes Events as objects."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.kube import records
from shared.kube.json import Json
from shared.wire.messages import CanaryRef, EventType
from tests.unit.notifier.told import AT, CANARY, event


def stored(**parts: object) -> Json:
    made = records.first(event(seq=7))
    made["metadata"]["resourceVersion"] = "5"
    return made | parts


def test_the_first_telling() -> None:
    assert records.first(event("Canary failed! Scaling down podinfo.test", event_type="Warning")) == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": records.name(event("Canary failed! Scaling down podinfo.test", event_type="Warning")),
            "namespace": "test",
            "annotations": {"serinus.dev/seq": "7"},
        },
        "involvedObject": {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "namespace": "test",
            "name": "podinfo",
            "uid": "u-1",
        },
        "reason": "Synced",
        "message": "Canary failed! Scaling down podinfo.test",
        "type": "Warning",
        "source": {"component": "flagger"},
        "reportingComponent": "flagger",
        "reportingInstance": "",
        "firstTimestamp": "2026-11-24T12:00:00Z",
        "lastTimestamp": "2026-11-24T12:00:00Z",
        "count": 1,
    }


def test_a_name_follows_from_the_text_and_the_object() -> None:
    name = records.name(event())
    assert name == records.name(event(seq=8, at=AT + timedelta(hours=1), phase="Promoting"))
    successor = CanaryRef(namespace="test", name="podinfo", uid="u-2")
    others = {
        records.name(event("other")),
        records.name(event(event_type="Warning")),
        records.name(event(canary=successor)),
    }
    assert len(others | {name}) == 4


def test_names_fit_kubernetes() -> None:
    for canary in ("a" * 253, "a" * 235 + ".-" + "b" * 16, "podinfo"):
        name = records.name(event(canary=CANARY.model_copy(update={"name": canary})))
        assert len(name) <= 253
        stem, _, suffix = name.rpartition(".")
        assert len(suffix) == 16
        assert stem[-1].isalnum()
        assert canary.startswith(stem)


PROMOTION = [
    (EventType.HOOK, "all the metrics providers are available!"),
    (EventType.PENDING, "podinfo-primary.test not ready: waiting for rollout to finish"),
    (EventType.INITIALIZED, "Initialization done! podinfo.test"),
    (EventType.GATE, "Confirm-rollout check ask passed"),
    (EventType.REVISION, "New revision detected! Scaling up podinfo.test"),
    (EventType.PENDING, "canary deployment podinfo.test not ready: waiting for rollout to finish"),
    (EventType.STARTED, "Starting canary analysis for podinfo.test"),
    (EventType.HOOK, "Pre-rollout check smoke passed"),
    (EventType.GATE, "Confirm-traffic-increase check ask passed"),
    (EventType.ADVANCED, "Advance podinfo.test canary weight 5"),
    (EventType.ADVANCED, "Advance podinfo.test canary weight 10"),
    (EventType.ADVANCED, "Advance podinfo.test canary weight 100"),
    (EventType.GATE, "Confirm-promotion check ask passed"),
    (EventType.COPYING, "Copying podinfo.test template spec to podinfo-primary.test"),
    (EventType.ROUTED, "Advance podinfo.test primary weight 50"),
    (EventType.ROUTED, "Advance podinfo.test primary weight 100"),
    (EventType.HOOK, "Post-rollout check load passed"),
    (EventType.PROMOTED, "Promotion completed! Scaling down podinfo.test"),
]
ROLLBACK = [
    (EventType.HALTED, "Halt advancement"),
    (EventType.HOOK, "Rollback check ask passed"),
    (EventType.ROLLING_BACK, "Rolling back podinfo.test failed checks threshold reached 10"),
    (EventType.FAILED, "Canary failed! Scaling down podinfo.test"),
    (EventType.HOOK, "Post-rollout check load passed"),
]


ITERATIONS = [(EventType.ADVANCED, f"Advance podinfo.test canary iteration {each}/1000") for each in (1, 2, 10, 100)]


@pytest.mark.parametrize("story", [PROMOTION, ROLLBACK, ITERATIONS])
def test_within_one_second_names_follow_the_story(story: list[tuple[EventType, str]]) -> None:
    names = [records.name(event(text, type=kind)) for kind, text in story]
    assert names == sorted(names)


def test_every_type_has_its_place() -> None:
    assert len({records.name(event(type=each))[:-14] for each in EventType}) == len(EventType)


def test_a_repetition_counts_once_and_moves_the_last_time_only() -> None:
    patch = records.repeat(stored(), event(seq=9, at=AT + timedelta(seconds=30)))
    assert patch == {
        "metadata": {"resourceVersion": "5", "annotations": {"serinus.dev/seq": "7,9"}},
        "count": 2,
        "firstTimestamp": "2026-11-24T12:00:00Z",
        "lastTimestamp": "2026-11-24T12:00:30Z",
    }
    assert records.repeat(stored(), event(seq=7)) is None


def test_one_that_comes_late_counts_and_moves_the_first_time_only() -> None:
    patch = records.repeat(stored(), event(seq=3, at=AT - timedelta(seconds=30)))
    assert patch is not None
    assert patch["metadata"]["annotations"]["serinus.dev/seq"] == "3,7"
    assert (patch["firstTimestamp"], patch["lastTimestamp"]) == ("2026-11-24T11:59:30Z", "2026-11-24T12:00:00Z")


def test_the_list_of_counted_events_stays_short() -> None:
    found = stored(count=400)
    found["metadata"]["annotations"]["serinus.dev/seq"] = ",".join(str(1000 + each) for each in range(records.KEPT))
    patch = records.repeat(found, event(seq=2000))
    assert patch is not None
    numbers = patch["metadata"]["annotations"]["serinus.dev/seq"].split(",")
    assert (len(numbers), numbers[0], numbers[-1], patch["count"]) == (records.KEPT, "1001", "2000", 401)
    assert records.repeat(found, event(seq=999)) is None


def test_scribbling_in_the_annotation_stops_nothing() -> None:
    for scribble in ("x, 7", "", None, 7):
        found = stored()
        found["metadata"]["annotations"] = {"serinus.dev/seq": scribble}
        patch = records.repeat(found, event(seq=9))
        assert patch is not None
        assert patch["count"] == 2


def test_times_are_utc() -> None:
    east = AT.astimezone(tz=None).replace(microsecond=0)
    assert records.first(event(at=east))["firstTimestamp"] == "2026-11-24T12:00:00Z"
    assert datetime.fromisoformat("2026-11-24T12:00:00Z").tzinfo == UTC
