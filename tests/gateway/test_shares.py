"""Who gets how much: weights become turns, and each write begins them anew."""

import pytest

from sandbox.controlplane.api import Json
from tests.gateway.stage import CANARY_POD, PRIMARY_POD, Stage
from tests.unit.sandbox.objects import backend, rule


async def test_of_400_requests_at_90_10_exactly_40_reach_the_canary(stage: Stage) -> None:
    await stage.split(90, 10)
    assert len(await stage.canary_turns(400)) == 40
    await stage.counted({("200", PRIMARY_POD): 360, ("200", CANARY_POD): 40})


@pytest.mark.parametrize(("weights", "lead"), [((90, 10), 8), ((95, 5), 18), ((3, 1), 2)])
async def test_the_primary_has_its_whole_lead_first(stage: Stage, weights: tuple[int, int], lead: int) -> None:
    """Both, one, or none of them at the end of the first round: a gateway begins its round anywhere."""
    await stage.split(*weights)
    [first, *_] = await stage.canary_turns(lead + 2)
    assert first in (lead - 1, lead, lead + 1)


@pytest.mark.parametrize(("weights", "canary"), [((97, 3), 0), ((95, 5), 9)])
async def test_writes_starve_a_light_canary(stage: Stage, weights: tuple[int, int], canary: int) -> None:
    """Three writes with 60 requests after each."""
    answered = 0
    for _ in range(3):
        await stage.split(*weights)
        answered += len(await stage.canary_turns(60))
    assert answered == canary


@pytest.mark.parametrize(("weights", "canary"), [((100, 0), 0), ((0, 100), 20), ((0, 0), 10), ((75, 25), 5)])
async def test_the_ends_of_the_scale(stage: Stage, weights: tuple[int, int], canary: int) -> None:
    """Weight 0 is nothing at all, but two of them are an even split."""
    await stage.split(*weights)
    assert len(await stage.canary_turns(20)) == canary


async def test_a_single_backend_gets_everything_whatever_its_weight(stage: Stage) -> None:
    await stage.apply(rule("method", backend("podinfo-canary", 0)))
    assert len(await stage.canary_turns(10)) == 10


async def test_a_split_is_of_its_rule_alone(stage: Stage) -> None:
    """Another rule with the same two Services has turns of its own."""

    def at(host: str, primary: int, canary: int) -> Json:
        backends = backend("podinfo-primary", primary), backend("podinfo-canary", canary)
        return rule(host.partition(".")[0], *backends, match={"hosts": [host]})

    await stage.apply(at("a.example.com", 100, 0), at("b.example.com", 0, 100))
    versions = {(await stage.ask(host=host)).version for host in ("a.example.com", "b.example.com") * 5}
    first = {(await stage.ask(host="a.example.com")).version for _ in range(5)}
    assert len(versions) == 2
    assert len(first) == 1
