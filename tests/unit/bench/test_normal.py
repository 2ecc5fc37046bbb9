"""Recordings of two runs of one play are the same text."""

from datetime import UTC, datetime, timedelta

from bench.flagger import normal
from sandbox.controlplane.api import Json

UIDS = ("0b8a7c3e-0000-4000-8000-00000000000a", "77aa7c3e-1111-4000-8000-00000000000b")


def recorded(began: datetime, uid: str, mark: str, version: int) -> Json:
    """A Canary, its route and an Event, as one run has them."""
    stamp, later = (each.strftime("%Y-%m-%dT%H:%M:%SZ") for each in (began, began + timedelta(seconds=7)))
    canary = {
        "kind": "Canary",
        "metadata": {"name": "podinfo", "uid": uid, "resourceVersion": str(version), "creationTimestamp": stamp},
        "status": {"lastTransitionTime": later},
    }
    primary = {
        "kind": "Deployment",
        "metadata": {
            "name": "podinfo-primary", "uid": f"{mark}-2222-4000-8000-00000000000c", "resourceVersion": str(version + 9),
            "ownerReferences": [{"uid": uid}], "annotations": {"flagger-id": f"{mark}-3333-4000-8000-00000000000d"},
        },
    }  # fmt: skip
    event = {"kind": "Event", "metadata": {"name": f"podinfo.18{mark}aabbcc", "uid": UIDS[1], "resourceVersion": "3"}}
    service = {"kind": "Service", "metadata": {"name": "podinfo", "uid": f"{mark}-4444-4000-8000-00000000000e"}}
    address = {"clusterIP": f"10.96.{version % 200}.17"}
    return {"moment": {"objects": [canary, primary, event, {**service, "spec": address}]}}


def test_two_runs_look_the_same() -> None:
    first, second = datetime(2026, 3, 1, 12, tzinfo=UTC), datetime(2026, 4, 2, 15, 30, tzinfo=UTC)
    one = normal.normalised(recorded(first, UIDS[0], "0123abcd", 120), first)
    other = normal.normalised(recorded(second, UIDS[0].replace("0b8a", "f00d"), "fedc4567", 999), second)
    assert one == other
    canary, primary, event, service = one["moment"]["objects"]
    assert canary["metadata"]["uid"] == "uid-Canary-podinfo" == primary["metadata"]["ownerReferences"][0]["uid"]
    assert canary["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert canary["status"]["lastTransitionTime"] == "2026-01-01T00:00:07Z"
    assert [each["metadata"].get("resourceVersion") for each in (event, canary, primary)] == ["1", "2", "3"]
    assert primary["metadata"]["annotations"]["flagger-id"] == "id-1"
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert event["metadata"]["name"] == "podinfo.1"
