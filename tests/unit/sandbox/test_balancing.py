"""Turns by weight, as measured on real data planes (weights, requests, which of them go to the canary)."""

import itertools
import math

import pytest

from sandbox.gateway import dialect
from sandbox.gateway.balancing import WeightedTurns, Worker
from sandbox.gateway.config import Rule, translate
from sandbox.network import ServiceTable
from tests.unit.sandbox.objects import backend, endpoints, route, rule, services, slices, split


def canary_turns(primary: int, canary: int, requests: int) -> list[int]:
    """How many requests came before each of the canary's."""
    turns = WeightedTurns([primary, canary])
    return [before for before in range(requests) if turns.next() == 1]


def rule_of(written: int = 0, weights: tuple[int, int] = (97, 3), *canaries: str) -> Rule:
    table = ServiceTable(services(), slices(*canaries))
    found = translate([split(*weights, written=written)], table, {}, dialect.dialect("2.15.3"))
    return found["test", "podinfo-podinfo-canary"][0]


@pytest.mark.parametrize(("weights", "before"), [((95, 5), 18), ((90, 10), 8), ((97, 3), 94), ((99, 1), 98)])
def test_the_first_canary_answer_comes_after_p_minus_c_over_gcd_requests(weights: tuple[int, int], before: int) -> None:
    assert before == (weights[0] - weights[1]) / math.gcd(*weights)
    assert canary_turns(*weights, 100)[0] == before


@pytest.mark.parametrize(
    ("weights", "requests", "canary"),
    [
        ((90, 10), 400, 40),
        ((3, 1), 100, 25),
        ((100, 0), 500, 0),
        ((0, 100), 500, 500),
        ((0, 0), 100, 50),
        ((97, 3), 100, 3),
        ((50, 50), 100, 50),
    ],
)
def test_shares_are_exact(weights: tuple[int, int], requests: int, canary: int) -> None:
    assert len(canary_turns(*weights, requests)) == canary


@pytest.mark.parametrize(("weights", "canary"), [((97, 3), 0), ((95, 5), 15)])
def test_each_write_begins_anew(weights: tuple[int, int], canary: int) -> None:
    worker = Worker()
    served = [worker.backend(rule_of(written, weights)).service for written in range(5) for _ in range(60)]

    assert len(served) == 300
    assert served.count("podinfo-canary") == canary


def test_what_is_no_write_keeps_the_turns() -> None:
    worker = Worker()
    served = []
    for pods in itertools.islice(itertools.cycle([(), ("10.128.0.12", "10.128.0.13")]), 100):
        # Every request meets another configuration, but only the endpoints are others.
        served.append(worker.backend(rule_of(0, (97, 3), *pods)).service)

    assert served.count("podinfo-canary") == 3


def test_each_worker_counts_for_itself() -> None:
    first, second = Worker(), Worker()
    found = rule_of(0, (90, 10))

    assert [first.backend(found).service for _ in range(9)].count("podinfo-canary") == 1
    assert [second.backend(found).service for _ in range(8)].count("podinfo-canary") == 0


def test_a_single_backend_gets_everything_even_with_weight_zero() -> None:
    only = route(rule("method", backend("podinfo-primary", 0)))
    found = translate([only], ServiceTable(services(), slices()), {}, dialect.dialect("2.15.3"))

    assert Worker().backend(found["test", "podinfo-podinfo-canary"][0]).service == "podinfo-primary"


def test_a_retry_asks_the_other_nodes_once_each() -> None:
    worker, found = Worker(), rule_of(0, (0, 100), "10.128.0.1", "10.128.0.2", "10.128.0.3")
    asked = [[node.host for node in worker.nodes(found, found.backends[1])] for _ in range(3)]

    assert {first for first, *_ in asked} == {"10.128.0.1", "10.128.0.2", "10.128.0.3"}
    assert all(sorted(one) == ["10.128.0.1", "10.128.0.2", "10.128.0.3"] for one in asked)


def test_no_endpoints_are_no_nodes() -> None:
    empty = ServiceTable(services(), [endpoints("podinfo-canary")])
    found = translate([split(0, 100)], empty, {}, dialect.dialect("2.15.3"))["test", "podinfo-podinfo-canary"][0]

    assert list(Worker().nodes(found, found.backends[1])) == []
