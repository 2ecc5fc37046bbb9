"""Whatever the source and the shape: a request that isn't meant to move is answered as if there were no canary (W-A5,
W-A10, W-A11)."""

import copy
import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from services.router import routes
from services.router.routes import Around, NoRoute
from services.router.shape import Affinity, Condition, Operator, Scope, Shape
from shared.canary.names import Names
from tests.unit.router.answering import Request, Rule, rules, served, winners

Json = dict[str, Any]
OURS = Names(target="podinfo", apex="podinfo", route="mine")
THEIRS = Names(target="shop", apex="shop", route="theirs")
TESTER = (Condition(Scope.HEADER, "X-Tester", Operator.PREFIX, "yes"),)
INSIDER = (Condition(Scope.QUERY, "who", Operator.EXACT, "me"), Condition(Scope.COOKIE, "c", Operator.SUFFIX, "Q"))
REQUESTS = [
    Request(
        host=host, path=path, method=method,
        headers={key: value for key, value in (("x", x), ("X-Tester", tester)) if value},
        cookies=dict(cookies), query={"who": "me"} if cookies else {},
    )
    for host, path, method, x, tester, cookies in itertools.product(
        ("a.example", "b.example", "other"), ("/", "/a", "/a/b"), ("GET", "POST"), ("", "1", "2"), ("", "yes!"),
        ((), (("c", "kQ"),), (("c", "old"),), (("p", "w"),), (("c", "kQ"), ("p", "w"))),
    )
]  # fmt: skip


def exprs(value: str) -> list[Json]:
    return [{"subject": {"scope": "Header", "name": "X"}, "op": "Equal", "value": value}]


@st.composite
def rule(draw: st.DrawFn, services: tuple[str, ...]) -> Json:
    match: Json = {"paths": draw(st.lists(st.sampled_from(["/*", "/a", "/a/*"]), min_size=1, max_size=2, unique=True))}
    if hosts := draw(st.sampled_from([[], [], ["a.example"], ["*.example"], ["a.example", "other"]])):
        match["hosts"] = hosts
    if methods := draw(st.sampled_from([[], [], ["GET"], ["POST"]])):
        match["methods"] = methods
    if value := draw(st.sampled_from(["", "", "1", "2"])):
        match["exprs"] = exprs(value)
    names = draw(st.lists(st.sampled_from(services), min_size=1, max_size=3, unique=True))
    backends: list[Json] = [{"serviceName": name, "servicePort": 80} for name in names]
    for backend in backends:
        if (weight := draw(st.sampled_from([None, 0, 1, 30, 100]))) is not None:
            backend["weight"] = weight
    made: Json = {"match": match, "backends": backends}
    if priority := draw(st.sampled_from([0, 0, 1, 5, 9, -3, 10000])):
        made["priority"] = priority
    if draw(st.booleans()):
        made["upstreams"] = [{"name": "outside", "weight": 50}]
    return made


@st.composite
def source(draw: st.DrawFn, name: str, services: tuple[str, ...]) -> Json:
    made = draw(st.lists(rule(services), min_size=1, max_size=3))
    http = [{**each, "name": f"r{index}"} for index, each in enumerate(made)]
    return {"metadata": {"name": name, "namespace": "test"}, "spec": {"http": http}}


AFFINITIES = st.sampled_from([
    None, Affinity(cookie="c", value="kQ"), Affinity(cookie="c", expired=("old", "older")),
    Affinity(cookie="c", value="kQ", primary_cookie="p", primary_value="w"),
])  # fmt: skip
SHAPES = st.builds(
    Shape,
    weight=st.sampled_from([0, 1, 10, 50, 100]),
    pinned=st.sampled_from([(), (), (TESTER,), (TESTER, INSIDER)]),
    resting=st.sampled_from([(), (TESTER,)]),
    affinity=AFFINITIES,
)


def share(shape: Shape, request: Request) -> int:
    """The canary's percent of this request."""
    tester = request.headers.get("X-Tester", "").startswith("yes")
    insider = request.query.get("who") == "me" and request.cookies.get("c", "").endswith("Q")
    if (TESTER in shape.pinned and tester) or (INSIDER in shape.pinned and insider):
        return 100
    affinity = shape.affinity
    if affinity is None or not affinity.value or shape.weight in {0, 100}:
        return shape.weight
    if request.cookies.get("c") == affinity.value:
        return 100
    stays = affinity.primary_cookie and request.cookies.get("p") == affinity.primary_value
    return 0 if stays else shape.weight


def expected(rule_of_source: Rule, names: Names, percent: int) -> dict[str, Fraction]:
    found = served(rule_of_source)
    whole = found.pop(names.apex, Fraction())
    parts = {names.primary_service: whole * (100 - percent) / 100, names.canary_service: whole * percent / 100}
    return {name: share for name, share in (found | parts).items() if share}


def generated(source: Json, names: Names, other: Json, shape: Shape, around: Json) -> Json | None:
    """None where the source can't be used, which it may only be for the reasons that this test knows."""
    have = {"spec": around} if around else None
    try:
        return routes.generated_spec(
            source, names, "test", shape, Around(have=have, others=tuple(other["spec"]["http"]))
        )
    except NoRoute as refused:
        text = str(refused)
    assert "leaves no room" in text or "Can not find" in text, text
    return None


@settings(max_examples=120, deadline=None)
@given(
    source("mine", ("podinfo", "legacy")), source("theirs", ("shop", "legacy")), SHAPES, SHAPES, st.booleans(),
    st.sampled_from([None, 10000]),
)  # fmt: skip
def test_nobody_moves_who_isnt_meant_to(
    mine: Json, theirs: Json, shape: Shape, other_shape: Shape, host_first: bool, flaggers: int | None
) -> None:
    before = copy.deepcopy((mine, theirs))
    had = {"http": [{**each, "priority": flaggers} for each in mine["spec"]["http"]]} if flaggers else {}
    first = generated(mine, OURS, theirs, shape, had)
    second = generated(theirs, THEIRS, mine, other_shape, {})
    assert (mine, theirs) == before
    event(f"generated: {first is not None}, {second is not None}")
    assume(first is not None)
    sources = [*rules("mine", mine["spec"]), *rules("theirs", theirs["spec"])]
    every = [*sources, *rules("mine-podinfo-canary", first), *rules("theirs-shop-canary", second)]
    made = {"mine": (OURS, shape, first), "theirs": (THEIRS, other_shape, second)}
    for request in REQUESTS:
        was = winners(sources, request, host_first=host_first)
        if len(was) != 1:
            continue
        names, asked, spec = made[was[0].route]
        manages = spec is not None and names.apex in served_names(was[0])
        for now in winners(every, request, host_first=host_first):
            if not manages:
                assert now == was[0], request
                continue
            assert now.route == f"{was[0].route}-{names.apex}-canary", request
            assert served(now) == expected(was[0], names, share(asked, request)), request


def served_names(rule: Rule) -> set[str]:
    return {each["serviceName"] for each in rule.spec["backends"]}


@settings(max_examples=100, deadline=None)
@given(source("mine", ("podinfo", "legacy")), SHAPES, st.booleans())
def test_a_new_rule_on_controller_2_answers_nobody_until_it_is_there(
    mine: Json, shape: Shape, host_first: bool
) -> None:
    assume(shape.weight < 100 and generated(mine, OURS, {"spec": {"http": []}}, shape, {}) is not None)
    shy = routes.generated_spec(mine, OURS, "test", shape, Around(shy=True))
    every = [*rules("mine", mine["spec"]), *rules("mine-podinfo-canary", shy)]
    for request in REQUESTS:
        assert all(rule.route == "mine" for rule in winners(every, request, host_first=host_first))
    assert len(routes.low(shy, mine)) == len(shy["http"])
    waiting = Around(shy=True, have={"spec": shy}, settled=False)
    assert routes.generated_spec(mine, OURS, "test", shape, waiting) == shy
    raised = routes.generated_spec(mine, OURS, "test", shape, Around(shy=True, have={"spec": shy}))
    assert routes.low(raised, mine) == ()
    assert raised == routes.generated_spec(
        mine, OURS, "test", shape, Around(shy=True, have={"spec": raised}, settled=False)
    )


def test_where_below_there_may_be_nobody_a_new_rule_doesn_t_begin_there() -> None:
    """A route that somebody deleted while the canary serves everybody: a moment of 500 is less than a broken primary."""
    mine: Json = {"metadata": {"name": "mine"}, "spec": {"http": [
        {"name": "method", "match": {"paths": ["/*"]}, "backends": [{"serviceName": "podinfo", "servicePort": 80}]},
    ]}}  # fmt: skip
    for have in (None, {"spec": routes.generated_spec(mine, OURS, "test", Shape(weight=90))}):
        spec = routes.generated_spec(mine, OURS, "test", Shape(weight=100), Around(shy=True, settled=False, have=have))
        assert routes.low(spec, mine) == ()


def test_no_room_is_said_with_the_way_out() -> None:
    paths: Json = {"match": {"paths": ["/*"]}}
    mine: Json = {"metadata": {"name": "mine"}, "spec": {"http": [
        {"name": "beta", "priority": 1, **paths, "backends": [{"serviceName": "beta", "servicePort": 80}]},
        {"name": "method", **paths, "backends": [{"serviceName": "podinfo", "servicePort": 80}]},
    ]}}  # fmt: skip
    with pytest.raises(NoRoute) as refused:
        routes.generated_spec(mine, OURS, "test", Shape(pinned=(TESTER,)))
    assert str(refused.value) == (
        "APISIX route mine.test's http route method with priority 0 leaves no room below http route beta with priority 1, "
        "which has the same path: set the priority of beta to 3 or more"
    )
    mine["spec"]["http"][0]["priority"] = 3
    spec = routes.generated_spec(mine, OURS, "test", Shape(pinned=(TESTER,)))
    assert [each["priority"] for each in spec["http"]] == [1, 2]
