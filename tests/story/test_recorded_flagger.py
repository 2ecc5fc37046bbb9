"""Taking over from a Flagger 1.44 in every phase, from the objects that it left: nothing starts over, no pod starts anew."""

import copy

import pytest

from services.router.rollout.state import UNDER_WAY, Phase
from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.recorded import left
from tests.story.theatre import Theatre, check
from tests.unit.cli.stage import Person

INTERVALS = 10
HASHES = ("lastAppliedSpec", "lastPromotedSpec", "trackedConfigs")
SAID = {
    "initialized": "Initialized, taken over: as it is, nothing starts",
    "succeeded": "Succeeded, taken over: as it is, nothing starts",
    "failed": "Failed, taken over: what the target shows is what failed, nothing starts",
    "waiting": "Waiting: its confirm-rollout webhooks are asked",
    "progressing-0": "Progressing: its analysis starts with all traffic on the primary",
    "progressing-20": "Progressing: goes on in phase Progressing with 20 % on the canary",
    "progressing-40": "Progressing: goes on in phase Progressing with 40 % on the canary",
    "progressing-failing": "Progressing: goes on in phase Progressing with 20 % on the canary",
    "waiting-promotion": "WaitingPromotion: goes on in phase WaitingPromotion with 40 % on the canary",
    "promoting": "Promoting: the promotion is finished",
    "promoting-shifting": "Promoting: the promotion is finished",
    "finalising": "Finalising: the promotion is finished",
}
AT_REST = ("initialized", "succeeded", "failed")


def kept(theatre: Theatre) -> Json:
    """What only Flagger can compute."""
    return {name: theatre.canary["status"].get(name) for name in HASHES}


def templates(theatre: Theatre) -> Json:
    """Of the pods; a change starts them anew."""
    return copy.deepcopy({
        name: theatre.cluster.of("Deployment", name)["spec"]["template"] for name in ("podinfo", "podinfo-primary")
    })  # fmt: skip


def closed(theatre: Theatre) -> tuple[wire.Outcome, list[wire.Check]]:
    """What a closed gate answers."""
    gate = theatre.asks() in {"confirm-rollout", "analysis"}
    name = "confirm-rollout" if theatre.phase == "Waiting" else "confirm-promotion"
    return wire.Outcome.PASS, [check(name, wire.CheckKind.GATE, wire.Outcome.FAIL)] if gate else []


async def intervals(theatre: Theatre, count: int, outcome: wire.Outcome = wire.Outcome.PASS) -> None:
    """Time passes; what is asked meanwhile is answered so."""
    for _ in range(count):
        if theatre.asks():
            await theatre.tick(outcome)
        await theatre.wait(10)
        await theatre.settle()


@pytest.mark.parametrize(("moment", "said"), SAID.items())
async def test_what_check_says_is_what_the_router_does(moment: str, said: str) -> None:
    theatre = left(moment)
    before = copy.deepcopy(theatre.cluster.objects)
    lines = await Person(theatre).types("migrate check")
    assert theatre.cluster.objects == before, "changes nothing"
    assert lines[0] == f"test/podinfo: {said}"

    announced = {tuple(line.split()[1:3]) for line in lines[1:]}
    await theatre.fact()
    assert {write[1:] for write in theatre.cluster.writes if write[1] != "Canary"} == announced


@pytest.mark.parametrize("moment", AT_REST)
async def test_what_rests_is_left_alone(moment: str) -> None:
    theatre = left(moment)
    found = kept(theatre)
    await theatre.fact()
    await intervals(theatre, INTERVALS)
    assert {write[1:] for write in theatre.cluster.writes} == {("Canary", "podinfo")}
    assert len(theatre.cluster.writes) == 2, "the status, and the finalizer that protects what the Canary owns"
    assert kept(theatre) == found
    assert theatre.messages() == []


@pytest.mark.parametrize("moment", AT_REST)
async def test_what_was_released_while_nobody_ran_it_is_a_new_revision(moment: str) -> None:
    theatre = left(moment)
    theatre.release("stefanprodan/podinfo:6.9.0")
    if moment == "failed":  # what failed is whatever the target shows when it's taken over
        await theatre.fact()
        theatre.release("stefanprodan/podinfo:6.9.1")
    await theatre.fact()
    assert theatre.asks() == "confirm-rollout"
    await theatre.tick(checks=[check("confirm-rollout", wire.CheckKind.GATE, wire.Outcome.PASS)])
    assert theatre.phase == "Progressing"
    assert "New revision detected! Scaling up podinfo.test" in theatre.messages()


@pytest.mark.parametrize("moment", ["waiting", "waiting-promotion"])
async def test_a_closed_gate_keeps_everything_as_it_is(moment: str) -> None:
    theatre = left(moment)
    found, weights, pods = kept(theatre), theatre.weights(), templates(theatre)
    await theatre.fact()
    for _ in range(INTERVALS):
        outcome, checks = closed(theatre)
        await theatre.tick(outcome, checks)
        await theatre.settle()
    assert (theatre.phase, theatre.weights()) == ({"waiting": "Waiting"}.get(moment, "WaitingPromotion"), weights)
    assert {write[1] for write in theatre.cluster.writes} == {"Canary"}
    assert (kept(theatre), templates(theatre)) == (found, pods)


@pytest.mark.parametrize(
    ("moment", "shares"),
    {
        "progressing-0": [20, 40],
        "progressing-20": [20, 40],
        "progressing-40": [40],
        "progressing-failing": [20, 40],
        "waiting-promotion": [40],
    }.items(),
)
async def test_an_analysis_goes_on_where_the_route_stands(moment: str, shares: list[int]) -> None:
    theatre = left(moment)
    found, pods = kept(theatre), templates(theatre)
    await theatre.fact()
    await theatre.settle()
    seen = [theatre.weights()[1]]
    while theatre.phase in {"Progressing", "WaitingPromotion"}:
        assert (kept(theatre), templates(theatre)) == (found, pods), "only a promotion of ours changes them"
        await theatre.tick()
        await theatre.settle()
        seen.append(theatre.weights()[1])
    await _ends_well(theatre, found)
    assert [share for share in dict.fromkeys(seen) if share] in (shares, [*shares, 20], [*shares, 40])


@pytest.mark.parametrize("moment", ["promoting", "promoting-shifting", "finalising"])
async def test_a_promotion_is_finished_without_another_copy(moment: str) -> None:
    theatre = left(moment)
    found, pods, weights = kept(theatre), templates(theatre), theatre.weights()
    await theatre.fact()
    assert theatre.weights()[1] <= weights[1]
    await _ends_well(theatre, found)
    assert templates(theatre) == pods


async def test_a_failing_analysis_keeps_its_count_and_ends_as_it_would_have() -> None:
    theatre = left("progressing-failing")
    await theatre.fact()
    assert theatre.canary["status"]["failedChecks"] == 1
    for _ in range(2):
        await theatre.tick(wire.Outcome.FAIL)
        await theatre.settle()
    await intervals(theatre, 1)
    assert (theatre.phase, theatre.weights(), theatre.replicas) == ("Failed", (100, 0), 0)


async def test_an_initialization_is_finished() -> None:
    theatre = left("initializing")
    assert (await Person(theatre).types("migrate check"))[0] == "test/podinfo: Initializing: is initialized"
    await theatre.fact()
    await intervals(theatre, 3)
    assert (theatre.phase, theatre.replicas) == ("Initialized", 0)


@pytest.mark.parametrize("moment", AT_REST)
async def test_flagger_may_come_back_to_what_was_not_released_since(moment: str) -> None:
    theatre = left(moment)
    found = kept(theatre)
    await theatre.settle()
    said = await Person(theatre).types("migrate back")
    assert said == ["test/podinfo: nothing was released since, Flagger goes on with it as it is"]
    assert "suspend" not in theatre.canary["spec"]
    assert kept(theatre) == found


async def _ends_well(theatre: Theatre, found: Json) -> None:
    """Succeeded, by ticks that pass; Flagger's hashes are kept until then."""
    for _ in range(12):
        if Phase(theatre.phase) not in UNDER_WAY:
            break
        assert kept(theatre) == found
        await theatre.tick()
        await theatre.settle()
    await intervals(theatre, 1)
    assert (theatre.phase, theatre.weights(), theatre.replicas) == ("Succeeded", (100, 0), 0)
    status = theatre.canary["status"]
    assert len(status["lastAppliedSpec"]) == 16
    assert status["lastAppliedSpec"] == status["lastPromotedSpec"]
