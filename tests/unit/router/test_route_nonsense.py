"""A route of somebody else's making may hold anything that its definition admits, and old definitions admit a lot: the
answer is a text or a route, never a traceback."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.router import acceptance, parse, preflight, route_objects, traffic
from services.router.found import Found, RouteFound
from services.router.objects import COPIED, Options
from services.router.rollout.state import Cookies, State
from services.router.siblings import Siblings
from tests.story.theatre import guide

Json = dict[str, Any]
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.sampled_from(["", "podinfo", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "value", "spec"]), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = ("name", "priority", "match", "backends", "upstreams", "plugins", "timeout", "authentication")
INNER = {
    "match": ("paths", "hosts", "methods", "exprs"), "backends": ("servicePort", "weight", "resolveGranularity"),
    "timeout": ("read", "connect"),
}  # fmt: skip


@st.composite
def broken(draw: st.DrawFn) -> Json:
    """The guide's route with nonsense in it, and a second rule like the first."""
    route = guide("route")
    rule = route["spec"]["http"][0]
    for field in draw(st.lists(st.sampled_from(FIELDS), max_size=2)):
        rule[field] = draw(ANYTHING)
    for part, fields in INNER.items():
        target = rule.get(part)
        target = target[0] if isinstance(target, list) and target else target
        if isinstance(target, dict) and draw(st.booleans()):
            target[draw(st.sampled_from(fields))] = draw(ANYTHING)
    route["spec"]["http"].append(draw(st.sampled_from([rule, {**rule, "name": "second"}, None, 7])))
    route["status"] = draw(ANYTHING)
    route["metadata"]["annotations"] = {acceptance.LOW_SINCE: "soon", COPIED: "x labels: :"}
    return route


@settings(max_examples=150, deadline=None)
@given(broken(), st.none() | broken())
def test_nonsense_has_an_answer(source: Json, generated: Json | None) -> None:
    document = guide("canary")
    document["spec"]["analysis"].update(
        match=[{"headers": {"x": {"prefix": "y"}}}], sessionAffinity={"cookieName": "c"}, mirror=True
    )
    canary = parse.canary(document, timedelta())
    siblings = Siblings([source]).sharing(source["spec"]["http"][:1], ("test", "another"))
    there = RouteFound(source=source, generated=generated, siblings=siblings)
    found = Found(at=NOW, target=guide("deployment"), routes={"podinfo": there}, nodes=("10.0.0.1",))
    assert isinstance(preflight.problem(canary, found, Options(), served=True), str)
    assert all(isinstance(text, str) for text in preflight.warnings(canary, found))
    state = State(weight=10, cookies=Cookies("c=1", "p=2"))
    assert len(list(route_objects.generated(canary, found, traffic.shape(canary, state), Options()))) <= 1
