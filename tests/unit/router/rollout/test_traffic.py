"""From a Canary and its state to a shape of traffic: what people wrote, as the gateway's rules will be asked for it."""

from datetime import timedelta
from typing import Any

import pytest

from services.router import parse, traffic
from services.router.rollout.state import Cookies, Phase, Stage, State
from services.router.shape import Affinity, Condition, Operator, Scope, Shape
from tests.story.theatre import guide
from tests.unit.router.stage import START

MATCH: list[dict[str, Any]] = [
    {"headers": {"X-Canary": {"exact": "insider"}}, "cookies": {"group": {"suffix": "7"}}},
    {"queryParams": {"beta": {"prefix": "y"}}},
    {"headers": {"user-agent": {"regex": ".*Firefox.*"}}},
]
TESTERS = (
    (
        Condition(Scope.HEADER, "X-Canary", Operator.EXACT, "insider"),
        Condition(Scope.COOKIE, "group", Operator.SUFFIX, "7"),
    ),
    (Condition(Scope.QUERY, "beta", Operator.PREFIX, "y"),),
    (Condition(Scope.HEADER, "user-agent", Operator.REGEX, "^(?:.*Firefox.*)$"),),
)
AFFINITY = {
    "cookieName": "side", "primaryCookieName": "other", "maxAge": 60, "domain": "example.com", "path": "/shop",
    "sameSite": "Lax", "secure": True, "httpOnly": True, "partitioned": True,
}  # fmt: skip


def canary(**analysis: Any) -> parse.Canary:
    found = guide("canary")
    found["spec"]["analysis"].update(analysis)
    return parse.canary(found, timedelta())


def judging(weight: int = 0, **more: Any) -> State:
    return State(phase=Phase.PROGRESSING, stage=Stage.JUDGING, weight=weight, **more)


def test_by_weight_alone() -> None:
    assert traffic.shape(canary(), judging(30)) == Shape(weight=30)


@pytest.mark.parametrize("stage", [Stage.JUDGING, Stage.COPYING])
def test_testers_are_pinned_from_the_first_step_to_the_promotion(stage: Stage) -> None:
    state = State(phase=Phase.PROMOTING, stage=stage, weight=10, analysis_started=START)
    shape = traffic.shape(canary(match=MATCH), state)
    assert shape == Shape(weight=10, pinned=TESTERS)


def test_a_canary_that_nobody_judged_gets_none() -> None:
    """Its analysis is skipped: it's promoted as it is."""
    skipped = State(phase=Phase.PROMOTING, stage=Stage.COPYING)
    assert traffic.shape(canary(match=MATCH), skipped) == Shape(resting=TESTERS)


def test_while_nobody_is_pinned_their_rules_rest() -> None:
    for stage in set(Stage) - {Stage.JUDGING, Stage.COPYING}:
        assert traffic.shape(canary(match=MATCH), State(stage=stage)) == Shape(resting=TESTERS)


@pytest.mark.parametrize(("asked", "share"), [({}, 1.0), ({"mirrorWeight": 0}, 1.0), ({"mirrorWeight": 25}, 0.25)])
def test_copies_are_a_share_of_the_requests(asked: dict[str, int], share: float) -> None:
    assert traffic.shape(canary(mirror=True, **asked), judging()).mirror == share
    assert traffic.shape(canary(mirror=True, **asked), judging(10)).mirror == 0
    assert traffic.shape(canary(mirror=True, **asked), State()).mirror == 0


def test_a_cookie_has_all_its_attributes() -> None:
    cookies = Cookies("side=a1", "other=b2", "side=old")
    shape = traffic.shape(canary(sessionAffinity=AFFINITY), judging(10, cookies=cookies))
    assert shape.affinity == Affinity(
        cookie="side", value="a1", max_age=60, domain="example.com", path="/shop", same_site="Lax", secure=True,
        http_only=True, partitioned=True, primary_cookie="other", primary_value="b2", primary_max_age=10,
        expired=("old",),
    )  # fmt: skip


def test_a_cookie_lasts_a_day_by_default_and_one_of_another_name_is_forgotten() -> None:
    shape = traffic.shape(canary(sessionAffinity={"cookieName": "new"}), State(cookies=Cookies(former="side=old")))
    assert shape.affinity == Affinity(cookie="new", max_age=86400, primary_max_age=10)


def test_an_abort_that_is_still_to_be_decided_takes_everything() -> None:
    asked = canary(match=MATCH, mirror=True, sessionAffinity={"cookieName": "side"})
    shape = traffic.withdrawn(asked, judging(30, cookies=Cookies("side=a1", "", "side=old")))
    assert (shape.weight, shape.pinned, shape.resting, shape.mirror) == (0, (), TESTERS, 0)
    assert shape.affinity is not None
    assert (shape.affinity.value, shape.affinity.expired) == ("", ("a1",))


def test_what_will_ever_be_asked_is_known_before() -> None:
    shape = traffic.most(canary(match=MATCH, mirror=True, sessionAffinity=AFFINITY))
    assert (shape.weight, shape.pinned, shape.mirror) == (0, TESTERS, 1)
    assert shape.affinity is not None
    assert shape.affinity.value
    assert shape.affinity.primary_value
