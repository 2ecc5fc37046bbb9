"""What Serinus writes, each strategy's rules, in front of a gateway: who answers, and with which cookies."""

from collections import Counter
from dataclasses import replace

from sandbox.controlplane.api import Json
from services.router import routes
from services.router.routes import Around
from services.router.rules import Gateway
from services.router.shape import Affinity, Condition, Operator, Scope, Shape
from shared.canary.names import Names
from tests.gateway.stage import CANARY_POD, Stage
from tests.unit.sandbox.objects import backend, route, rule

NAMES = Names(target="podinfo", apex="podinfo", route="podinfo")
TESTERS = (
    (Condition(Scope.HEADER, "X-Canary", Operator.EXACT, "insider"),),
    (Condition(Scope.COOKIE, "canary", Operator.REGEX, "^(always|yes)$"),),
    (
        Condition(Scope.QUERY, "who", Operator.PREFIX, "me."),
        Condition(Scope.HEADER, "X-Group", Operator.SUFFIX, ".dev"),
    ),
)
STICKY = Affinity(cookie="side", value="kQxZp", path="/", primary_cookie="stay", primary_value="pQ", primary_max_age=30)


async def release(stage: Stage, shape: Shape, *plugins: Json) -> None:
    """As the router writes it for this gateway."""
    source = route(rule("method", backend("podinfo"), priority=0), name="podinfo")
    source["spec"]["http"][0]["plugins"] += plugins
    gateway = Gateway(nodes=(CANARY_POD,), replace_cookies=not stage.dialect.added_headers)
    await stage.apply(*routes.generated_spec(source, NAMES, "test", shape, Around(gateway=gateway))["http"])


async def answers(stage: Stage, number: int, **headers: str) -> Counter[tuple[str, tuple[str, ...]]]:
    """(version, names and values of the cookies that it gave) of so many requests."""
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for _ in range(number):
        answer = await stage.ask(**headers)
        found[answer.version, tuple(given.partition(";")[0] for given in answer.cookies)] += 1
    return found


async def test_testers_are_pinned_while_the_public_ramps(stage: Stage) -> None:
    await release(stage, Shape(weight=20, pinned=TESTERS))
    assert await answers(stage, 20) == {("6.0.0", ()): 16, ("6.0.1", ()): 4}
    for headers in ({"X-Canary": "insider"}, {"Cookie": "a=b; canary=yes"}):
        assert await answers(stage, 5, **headers) == {("6.0.1", ()): 5}
    both = [(await stage.ask("/api/info?who=me.too", **{"X-Group": "a.dev"})).version for _ in range(5)]
    assert both == ["6.0.1"] * 5


async def test_whom_the_canary_answered_it_answers_again(stage: Stage) -> None:
    """And whoever still has the cookie when the rollout is over loses it."""
    sticky = replace(STICKY, primary_cookie="")
    await release(stage, Shape(weight=20, affinity=sticky))
    assert await answers(stage, 20) == {("6.0.0", ()): 16, ("6.0.1", ("side=kQxZp",)): 4}
    assert await answers(stage, 5, Cookie="side=kQxZp") == {("6.0.1", ()): 5}
    await release(stage, Shape(affinity=replace(sticky, value="", expired=("kQxZp",))))
    assert await answers(stage, 5, Cookie="side=kQxZp") == {("6.0.0", ("side=deleted",)): 5}
    assert await answers(stage, 5) == {("6.0.0", ()): 5}


async def test_whom_the_primary_answered_it_answers_again(real_stage: Stage) -> None:
    """Both sides give cookies: one plugin for the canary's, and a function for the primary's."""
    await release(real_stage, Shape(weight=20, affinity=STICKY))
    assert await answers(real_stage, 20) == {("6.0.0", ("stay=pQ",)): 16, ("6.0.1", ("side=kQxZp",)): 4}
    assert set(await answers(real_stage, 20, Cookie="stay=pQ")) == {("6.0.0", ())}


async def test_a_rewrite_of_peoples_own_stays_beside_the_cookies(real_stage: Stage) -> None:
    """Then functions give all of them, and nobody's cookie or header is lost."""
    own = {"name": "response-rewrite", "enable": True, "config": {"headers": {"Set-Cookie": "theirs=1"}}}
    await release(real_stage, Shape(weight=20, affinity=STICKY), own)
    found = await answers(real_stage, 20)
    assert {version: set(cookies) for version, cookies in found} == {
        "6.0.0": {"theirs=1", "stay=pQ"}, "6.0.1": {"theirs=1", "side=kQxZp"},
    }  # fmt: skip
    assert sum(found.values()) == 20
