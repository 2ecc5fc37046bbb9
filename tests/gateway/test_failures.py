"""Whose number a failure becomes: the labels `code`, `node` and `response_source`."""

from collections import Counter

from sandbox.application import Behaviour
from tests.gateway.stage import CANARY_POD, PRIMARY_POD, SECOND_POD, Stage
from tests.unit.sandbox.objects import backend, rule
from tests.unit.sandbox.world import CANARY


async def sources(stage: Stage, number: int) -> set[tuple[str, str]]:
    """(code, response_source), where the version says it."""
    found = [labels for labels, _ in await stage.statuses(number)]
    return {(labels["code"], labels["response_source"]) for labels in found if "response_source" in labels}


def told(stage: Stage, *pairs: tuple[str, str]) -> set[tuple[str, str]]:
    return set(pairs) if stage.dialect.response_source else set()


async def test_no_endpoints_are_503_without_a_node(stage: Stage) -> None:
    await stage.split(90, 10, canaries=())
    assert await stage.load(100) == {200: 90, 503: 10}
    await stage.counted({("200", PRIMARY_POD): 90, ("503", ""): 10})
    assert await sources(stage, 100) == told(stage, ("200", "upstream"), ("503", "apisix"))


async def test_a_refused_connection_is_502_of_that_pod(stage: Stage) -> None:
    await stage.kill(CANARY_POD)
    await stage.split(90, 10)
    assert await stage.load(100) == {200: 90, 502: 10}
    await stage.counted({("200", PRIMARY_POD): 90, ("502", CANARY_POD): 10})
    assert await sources(stage, 100) == told(stage, ("200", "upstream"), ("502", "nginx"))


async def test_a_retry_belongs_to_whoever_answered(stage: Stage) -> None:
    await stage.start(SECOND_POD)
    await stage.kill(CANARY_POD)
    await stage.split(0, 100, canaries=(CANARY_POD, SECOND_POD))
    assert await stage.load(20) == {200: 20}
    await stage.counted({("200", SECOND_POD): 20})


async def test_a_timeout_is_504_of_that_pod(stage: Stage) -> None:
    stage.behaviours[CANARY] = Behaviour(latency_seconds=3)
    await stage.apply(rule("method", backend("podinfo-canary"), timeout={"read": "1s"}))
    assert (await stage.ask()).status == 504
    await stage.counted({("504", CANARY_POD): 1})
    assert await sources(stage, 1) == told(stage, ("504", "nginx"))


async def test_an_answer_of_500_is_the_applications(stage: Stage) -> None:
    stage.behaviours[CANARY] = Behaviour(fail_ratio=1.0)
    await stage.split(50, 50)
    assert await stage.load(20) == {200: 10, 500: 10}
    await stage.counted({("200", PRIMARY_POD): 10, ("500", CANARY_POD): 10})
    assert await sources(stage, 20) == told(stage, ("200", "upstream"), ("500", "upstream"))


async def test_no_upstream_at_all_is_503(stage: Stage) -> None:
    await stage.apply(rule("method"))
    assert (await stage.ask()).status == 503
    await stage.counted({("503", ""): 1})


async def test_an_abort_is_the_gateways_own(stage: Stage) -> None:
    """Measured by a global rule: the answer is given before the rule's own plugin would be."""
    abort = {"name": "fault-injection", "enable": True, "config": {"abort": {"http_status": 418}}}
    await stage.apply(rule("method", backend("podinfo-primary"), plugins=[abort]), global_prefer_name=True)
    assert (await stage.ask()).status == 418
    await stage.counted({("418", ""): 1})


async def test_an_upstream_that_comes_late(stage: Stage) -> None:
    """Newer versions fail all of the rule's requests, older ones only its share."""
    await stage.split(90, 10, withheld=True)
    strict = stage.dialect.strict_upstreams
    assert await stage.load(20) == ({500: 20} if strict else {200: 18, 502: 2})
    await stage.counted({("500", ""): 20} if strict else {("200", PRIMARY_POD): 18, ("502", ""): 2})
    await stage.split(90, 10)
    assert await stage.load(20) == Counter({200: 20})
