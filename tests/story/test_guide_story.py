"""The guide played on fakes, and the same play with the process dying at every single write."""

from itertools import pairwise

import pytest

from shared.wire import messages as wire
from tests.story.theatre import Theatre, initialized

FAILED = wire.Check(
    name="request-success-rate",
    kind=wire.CheckKind.METRIC,
    outcome=wire.Outcome.FAIL,
    value=50.0,
    message="Halt podinfo.test advancement success rate 50.00% < 99%",
)
PROMOTION = [
    "New revision detected! Scaling up podinfo.test",
    "Starting canary analysis for podinfo.test",
    *(f"Advance podinfo.test canary weight {weight}" for weight in (10, 20, 30, 40, 50)),
    "Copying podinfo.test template spec to podinfo-primary.test",
    "Routing all traffic to primary",
    "Promotion completed! Scaling down podinfo.test",
]


async def promote(theatre: Theatre) -> None:
    """From a new image to Succeeded."""
    theatre.release()
    await theatre.settle()
    for _ in range(5):
        await theatre.tick()
    await theatre.settle()
    await theatre.tick()
    await theatre.settle()


async def test_initialization_generates_what_the_guide_lists() -> None:
    theatre = await initialized()
    assert sorted(key[0] + "/" + key[2] for key in theatre.cluster.objects) == [
        "ApisixRoute/podinfo",
        "ApisixRoute/podinfo-podinfo-canary",
        "Canary/podinfo",
        "Deployment/podinfo",
        "Deployment/podinfo-primary",
        "Service/podinfo",
        "Service/podinfo-canary",
        "Service/podinfo-primary",
    ]
    assert theatre.cluster.of("Deployment", "podinfo")["spec"]["replicas"] == 0
    assert theatre.cluster.of("Service", "podinfo")["spec"]["selector"] == {"app": "podinfo-primary"}
    assert theatre.weights() == (100, 0)
    assert theatre.messages() == [
        "podinfo-primary.test not ready: waiting for rollout to finish: observed deployment generation less than "
        "desired generation",
        "all the metrics providers are available!",
        "Initialization done! podinfo.test",
    ]


async def test_promotion() -> None:
    theatre = await initialized()
    before = len(theatre.messages())
    await promote(theatre)
    told = [text for text in theatre.messages()[before:] if "not ready" not in text]
    assert told == PROMOTION
    status = theatre.canary["status"]
    assert (status["phase"], status["canaryWeight"]) == ("Succeeded", 0)
    assert status["conditions"][0]["type"] == "Promoted"
    assert status["conditions"][0]["status"] == "True"
    primary = theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["template"]
    assert primary["spec"]["containers"][0]["image"] == "stefanprodan/podinfo:6.0.1"
    assert primary["metadata"]["labels"] == {"app": "podinfo-primary"}
    assert theatre.cluster.of("Deployment", "podinfo")["spec"]["replicas"] == 0
    assert theatre.weights() == (100, 0)


async def test_rollback() -> None:
    theatre = await initialized()
    theatre.release()
    await theatre.settle()
    before = len(theatre.messages())
    for _ in range(10):
        await theatre.tick(wire.Outcome.FAIL, [FAILED])
    assert theatre.weights() == (100, 0)
    assert theatre.cluster.of("Deployment", "podinfo")["spec"]["replicas"] == 1, "it drains before it goes"
    await theatre.tick()
    assert theatre.cluster.of("Deployment", "podinfo")["spec"]["replicas"] == 0
    assert theatre.messages()[before:] == [
        *[FAILED.message] * 10,
        "Rolling back podinfo.test failed checks threshold reached 10",
        "Canary failed! Scaling down podinfo.test",
    ]
    assert theatre.canary["status"]["phase"] == "Failed"


async def test_a_weight_step_costs_one_route_write_one_status_write_and_one_event() -> None:
    theatre = await initialized()
    theatre.release()
    await theatre.settle()
    for _ in range(3):
        theatre.cluster.writes.clear()
        theatre.cluster.reads.clear()
        before = len(theatre.bus.events())
        await theatre.tick()
        assert sorted(theatre.cluster.writes) == [
            ("patch", "ApisixRoute", "podinfo-podinfo-canary"),
            ("patch", "Canary", "podinfo"),
        ]
        assert len(theatre.bus.events()) == before + 1
        assert theatre.cluster.reads == []


async def test_a_canary_at_rest_writes_nothing() -> None:
    theatre = await initialized()
    await promote(theatre)
    theatre.cluster.writes.clear()
    calls = theatre.bus.calls
    for _ in range(5):
        await theatre.fact()
    assert theatre.cluster.writes == []
    assert theatre.bus.calls == calls


async def test_a_doubled_verdict_is_stale_and_counted() -> None:
    theatre = await initialized()
    theatre.release()
    await theatre.settle()
    await theatre.tick(twice=True)
    assert theatre.weights() == (80, 20)
    assert theatre.stale == 1


def sound(theatre: Theatre) -> None:
    """No step skipped or doubled, no event lost or doubled, and the ids say so."""
    events = theatre.bus.events()
    assert [event.data.seq for event in events] == list(range(1, len(events) + 1))
    assert len({event.id for event in events}) == len(events)
    assert [notice.event.seq for notice in theatre.bus.notices()] == [event.data.seq for event in events]
    weights = [event.data.weight for event in events if event.data.type is wire.EventType.ADVANCED]
    assert all(after - before == 10 or after == 10 for before, after in pairwise(weights))


@pytest.mark.parametrize("when", ["crash_before", "crash_after"])
@pytest.mark.parametrize("write", range(1, 40))
async def test_death_at_any_write_changes_nothing(write: int, when: str) -> None:
    theatre = Theatre()
    setattr(theatre.cluster, when, write)
    await theatre.fact()
    await theatre.tick(checks=[])
    await theatre.settle()
    await theatre.tick()
    await promote(theatre)
    sound(theatre)
    assert [text for text in theatre.messages() if "not ready" not in text][-len(PROMOTION) :] == PROMOTION
    assert theatre.canary["status"]["phase"] == "Succeeded"


@pytest.mark.parametrize("publication", range(1, 60))
async def test_death_at_any_publication_changes_nothing(publication: int) -> None:
    theatre = Theatre()
    theatre.bus.crash_at = publication
    await theatre.fact()
    await theatre.tick(checks=[])
    await theatre.settle()
    await theatre.tick()
    await promote(theatre)
    sound(theatre)
    assert theatre.canary["status"]["phase"] == "Succeeded"


async def test_the_crashes_really_happen() -> None:
    """The two tests above would pass if nothing ever crashed."""
    theatre = Theatre()
    theatre.cluster.crash_after, theatre.bus.crash_at = 5, 7
    await theatre.fact()
    await theatre.tick(checks=[])
    await theatre.settle()
    await theatre.tick()
    await promote(theatre)
    assert theatre.crashes == 2
