"""Kubernetes Events as objects."""

from datetime import UTC, datetime, timedelta

from services.notifier import records
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


def test_within_one_second_names_follow_the_story() -> None:
    story = [
        EventType.HOOK, EventType.INITIALIZED, EventType.REVISION, EventType.STARTED, EventType.ADVANCED,
        EventType.COPYING, EventType.ROUTED, EventType.PROMOTED,
    ]  # fmt: skip
    names = [records.name(event(f"text {position}", type=kind)) for position, kind in enumerate(story)]
    assert names == sorted(names)
    end = [records.name(event(kind, type=kind)) for kind in (EventType.ROLLING_BACK, EventType.FAILED)]
    assert end == sorted(end)


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
