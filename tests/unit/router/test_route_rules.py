"""The recipes for pinned testers, cookies and copies, and several backends, as the gateway was measured to take them."""

import copy
import textwrap
from typing import Any

import pytest
import yaml
from lupa import LuaRuntime

from services.router import routes, rules
from services.router.routes import Around, NoRoute
from services.router.rules import Gateway
from services.router.shape import Affinity, Condition, Operator, Scope, Shape
from shared.canary.names import Names

Json = dict[str, Any]
NAMES = Names(target="podinfo", apex="podinfo", route="podinfo")
GATEWAY = Gateway(nodes=("10.96.12.34",), mirrors={80: "http://podinfo-canary.test.svc.cluster.local:80"})
STICKY = Affinity(cookie="flagger-cookie", value="kQxZp", max_age=3600, path="/")
HEADER = Condition(Scope.HEADER, "X-Canary", Operator.EXACT, "insider")
COOKIE = Condition(Scope.COOKIE, "canary", Operator.REGEX, "^(always|yes)$")


def source(**rule: Any) -> Json:
    plain: Json = {
        "name": "method", "match": {"hosts": ["app.example.com"], "paths": ["/*"]},
        "backends": [{"serviceName": "podinfo", "servicePort": 80}],
    }  # fmt: skip
    return {"metadata": {"name": "podinfo", "namespace": "test"}, "spec": {"http": [{**plain, **rule}]}}


def made(shape: Shape, route: Json | None = None, gateway: Gateway = GATEWAY) -> list[Json]:
    route = route or source()
    before = copy.deepcopy(route)
    spec = routes.generated_spec(route, NAMES, "test", shape, Around(gateway=gateway))
    assert route == before
    found: list[Json] = spec["http"]
    return found


def weights(rule: Json) -> dict[str, int]:
    return {each["serviceName"]: each["weight"] for each in rule["backends"]}


def refusal(shape: Shape, route: Json) -> str:
    with pytest.raises(NoRoute) as caught:
        made(shape, route)
    return str(caught.value).removeprefix("APISIX route podinfo.test's http route method ")


def test_testers_have_rules_of_their_own_the_first_alternative_on_top() -> None:
    """W-A2: everybody else stays with the primary."""
    base, second, first = made(Shape(pinned=((HEADER,), (COOKIE,))))
    assert [each["name"] for each in (base, second, first)] == ["method", "method-canary-2", "method-canary-1"]
    assert [each["priority"] for each in (base, second, first)] == [1, 2, 3]
    assert weights(base) == {"podinfo-primary": 100, "podinfo-canary": 0}
    assert weights(first) == weights(second) == {"podinfo-primary": 0, "podinfo-canary": 100}
    header = {"subject": {"scope": "Header", "name": "X-Canary"}, "op": "Equal", "value": "insider"}
    assert first["match"] == {**base["match"], "exprs": [header]}
    cookie = {"subject": {"scope": "Cookie", "name": "canary"}, "op": "RegexMatch", "value": "^(always|yes)$"}
    assert second["match"]["exprs"] == [cookie]


def test_testers_stay_pinned_while_the_public_ramps_and_rest_without_a_canary() -> None:
    base, tester = made(Shape(weight=20, pinned=((HEADER, COOKIE),)))
    assert (weights(base)["podinfo-canary"], weights(tester)["podinfo-canary"]) == (20, 100)
    assert len(tester["match"]["exprs"]) == 2, "all conditions of an alternative must hold"
    resting = made(Shape(resting=((HEADER, COOKIE),)))
    assert [each["name"] for each in resting] == ["method", "method-canary-1"], "no rule comes or goes"
    assert weights(resting[1]) == weights(resting[0])


def test_own_conditions_stay() -> None:
    own = {"subject": {"scope": "Header", "name": "X-Beta"}, "op": "Equal", "value": "1"}
    _, tester = made(Shape(pinned=((HEADER,),)), source(match={"paths": ["/*"], "exprs": [own]}))
    assert tester["match"]["exprs"][0] == own
    assert len(tester["match"]["exprs"]) == 2


@pytest.mark.parametrize(
    ("operator", "op", "value"),
    [
        (Operator.EXACT, "Equal", "a.b"), (Operator.REGEX, "RegexMatch", "a.b"), (Operator.PREFIX, "RegexMatch", r"^a\.b"),
        (Operator.SUFFIX, "RegexMatch", r"a\.b$"),
    ],
)  # fmt: skip
def test_operators(operator: Operator, op: str, value: str) -> None:
    found = rules.expression(Condition(Scope.QUERY, "v", operator, "a.b"))
    assert found == {"subject": {"scope": "Query", "name": "v"}, "op": op, "value": value}


def test_a_cookie_only_from_the_canary_and_its_holders_stay() -> None:
    base, sticky = made(Shape(weight=20, affinity=STICKY))
    [rewrite] = base["plugins"]
    assert rewrite == {
        "name": "response-rewrite",
        "enable": True,
        "config": {
            "vars": [["balancer_ip", "in", ["10.96.12.34"]]],
            "headers": {"add": ["Set-Cookie: flagger-cookie=kQxZp; Path=/; Max-Age=3600"]},
        },
    }
    assert (sticky["name"], sticky["priority"], weights(sticky)["podinfo-canary"]) == ("method-sticky", 2, 100)
    assert sticky["match"]["exprs"] == [
        {"subject": {"scope": "Cookie", "name": "flagger-cookie"}, "op": "Equal", "value": "kQxZp"}
    ]
    assert "plugins" not in sticky


def test_all_attributes_in_an_entry_that_apisix_takes() -> None:
    full = Affinity(
        cookie="c", value="v", max_age=5, domain="example.com", path="/", same_site="None", secure=True, http_only=True,
        partitioned=True,
    )  # fmt: skip
    [entry] = made(Shape(weight=1, affinity=full))[0]["plugins"][0]["config"]["headers"]["add"]
    assert entry == (
        "Set-Cookie: c=v; Domain=example.com; Path=/; SameSite=None; Secure; HttpOnly; Partitioned; Max-Age=5"
    )
    assert entry.count(":") == 1
    assert not entry.endswith("/")


def test_apisix_2_replaces_the_header() -> None:
    gateway = Gateway(nodes=("10.0.0.1", "fd00::1"), replace_cookies=True)
    config = made(Shape(weight=20, affinity=STICKY), gateway=gateway)[0]["plugins"][0]["config"]
    assert config["headers"] == {"Set-Cookie": "flagger-cookie=kQxZp; Path=/; Max-Age=3600"}
    assert config["vars"][0][2] == ["10.0.0.1", "[fd00::1]", "fd00::1"], "IPv6 with brackets and without"


def test_cookies_end_with_the_rollout() -> None:
    back = made(Shape(weight=0, affinity=STICKY))
    assert "plugins" not in back[0]
    assert weights(back[1])["podinfo-canary"] == 0, "a rollback takes its holders along"
    base, leaving = made(Shape(affinity=Affinity(cookie="flagger-cookie", path="/", expired=("old", "ol.er"))))
    assert "plugins" not in base
    assert leaving["name"] == "method-sticky"
    assert leaving["match"]["exprs"][0]["value"] == r"^(old|ol\.er)$"
    assert weights(leaving) == weights(base)
    [entry] = leaving["plugins"][0]["config"]["headers"]["add"]
    assert entry == "Set-Cookie: flagger-cookie=deleted; Path=/; Max-Age=0"


def test_the_primarys_cookie_keeps_its_holders_with_the_primary() -> None:
    both = Affinity(cookie="c", value="v", primary_cookie="p", primary_value="w")
    base, staying, sticky = made(Shape(weight=20, affinity=both))
    assert [each["priority"] for each in (base, staying, sticky)] == [1, 2, 3], "who has both goes to the canary"
    assert weights(staying)["podinfo-canary"] == 0
    assert [each["name"] for each in base["plugins"]] == ["response-rewrite", "serverless-post-function"]
    assert base["plugins"][1]["config"]["phase"] == "header_filter"
    _, staying, _ = made(Shape(weight=100, affinity=both))
    assert weights(staying)["podinfo-canary"] == 100, "nobody else serves"


def test_copies_go_to_the_canary_by_its_full_name() -> None:
    """W-A3."""
    [base] = made(Shape(mirror=0.1))
    host = "http://podinfo-canary.test.svc.cluster.local:80"
    mirror = {"name": "proxy-mirror", "enable": True, "config": {"host": host, "sample_ratio": 0.1}}
    assert base["plugins"] == [mirror]
    assert weights(base) == {"podinfo-primary": 100, "podinfo-canary": 0}
    assert made(Shape(mirror=1.0))[0]["plugins"][0]["config"] == {"host": host}
    gone = routes.reweighted({"spec": {"http": [base]}}, NAMES, Shape())
    assert gone["http"][0]["plugins"] == []


@pytest.mark.parametrize(
    ("shape", "rule", "text"),
    [
        (Shape(mirror=0.5), {"plugins": [{"name": "proxy-mirror", "enable": True}]},
         "has the plugin proxy-mirror, which spec.analysis.mirror needs: remove one of them"),
        (Shape(mirror=0.5), {"backends": [{"serviceName": "podinfo", "servicePort": 80}, {"serviceName": "x", "servicePort": 1}]},
         "has other backends too, whose requests would be mirrored as well: remove spec.analysis.mirror, or give the other "
         "backends a rule of their own"),
        (Shape(mirror=0.5), {"backends": [{"serviceName": "podinfo", "servicePort": 8080}]},
         "has servicePort 8080, which Service podinfo-canary doesn't have"),
    ],
)  # fmt: skip
def test_plugins_of_the_same_kind_are_refused(shape: Shape, rule: Json, text: str) -> None:
    assert refusal(shape, source(**rule)) == text


OWN_REWRITE: Json = {"name": "response-rewrite", "enable": True, "config": {"headers": {"set": {"Set-Cookie": "a=b"}}}}
OWN_FUNCTION: Json = {
    "name": "serverless-post-function", "enable": True, "config": {"phase": "header_filter", "functions": ["return f"]},
}  # fmt: skip


def test_beside_a_rewrite_of_peoples_own_cookies_are_given_by_functions() -> None:
    """Its conditions would hold for both, and it is left as it is."""
    both = Affinity(cookie="c", value="v", primary_cookie="p", primary_value="w", max_age=9)
    for own in ([OWN_REWRITE], [OWN_REWRITE, OWN_FUNCTION]):
        rewrite, function = made(Shape(weight=20, affinity=both), source(plugins=own))[0]["plugins"]
        assert rewrite == OWN_REWRITE
        canarys, primarys, *theirs = function["config"]["functions"]
        assert 'local canary = {["10.96.12.34"] = true}\n  if canary[ctx.balancer_ip] then' in canarys
        assert '"c=v; Max-Age=9"' in canarys
        assert "not canary[ctx.balancer_ip]" in primarys
        assert theirs == (["return f"] if OWN_FUNCTION in own else [])
        assert (function["name"], function["config"]["phase"]) == ("serverless-post-function", "header_filter")
    ending = Shape(affinity=Affinity(cookie="c", expired=("v",)))
    base, leaving = made(ending, source(plugins=[OWN_REWRITE]))
    assert base["plugins"] == [OWN_REWRITE]
    assert leaving["plugins"][0] == OWN_REWRITE
    assert '"c=deleted; Max-Age=0"' in leaving["plugins"][1]["config"]["functions"][0]


def test_without_a_rewrite_a_function_of_peoples_own_is_in_nobodys_way() -> None:
    early = {**OWN_FUNCTION, "config": {"phase": "access", "functions": ["return f"]}}
    assert [each["name"] for each in made(Shape(weight=20, affinity=STICKY), source(plugins=[early]))[0]["plugins"]] == [
        "serverless-post-function", "response-rewrite",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"phase": "access", "functions": ["return f"]}}, {"config": {"functions": ["return f"]}},
        {"config": {**OWN_FUNCTION["config"], "_meta": {"filter": [["arg_a", "==", "b"]]}}}, {"secretRef": "s"},
    ],
)  # fmt: skip
def test_functions_that_wouldnt_run_as_ours_must_are_refused(change: Json) -> None:
    assert refusal(Shape(affinity=STICKY), source(plugins=[OWN_REWRITE, {**OWN_FUNCTION, **change}])) == (
        "has the plugin serverless-post-function, which spec.analysis.sessionAffinity needs with the phase header_filter and "
        "nothing else but functions: change it, or remove one of them"
    )


def test_a_plugin_that_is_off_is_in_nobodys_way() -> None:
    rule = source(plugins=[{"name": "response-rewrite", "enable": False}])
    assert len(made(Shape(weight=5, affinity=STICKY), rule)[0]["plugins"]) == 2


@pytest.mark.parametrize(
    "field", [{"path": "/a:b"}, {"domain": "a;b"}, {"path": 'a"b'}, {"path": "/$x"}, {"cookie": "a b"}]
)
def test_fields_that_would_break_the_header(field: Json) -> None:
    given = {"cookie": "c", "value": "v", **field}
    with pytest.raises(NoRoute, match=r"spec\.analysis\.sessionAffinity\."):
        made(Shape(weight=5, affinity=Affinity(**given)))


def test_others_keep_their_share_exactly() -> None:
    """W-A11."""
    rule: Json = yaml.safe_load(
        textwrap.dedent("""
        backends:
        - {serviceName: podinfo, servicePort: 80, weight: 60}
        - {serviceName: legacy, servicePort: 80, weight: 30, subset: v1}
        upstreams: [{name: outside, weight: 10}]
    """)
    )
    [base] = made(Shape(weight=25), source(**rule))
    assert weights(base) == {"podinfo-primary": 450, "podinfo-canary": 150, "legacy": 300}
    assert base["upstreams"] == [{"name": "outside", "weight": 100}]
    assert base["backends"][2]["subset"] == "v1"
    again = routes.reweighted({"spec": {"http": [base]}}, NAMES, Shape(weight=5))
    assert weights(again["http"][0]) == {"podinfo-primary": 570, "podinfo-canary": 30, "legacy": 300}
    assert routes.share({"spec": again}, NAMES) == 5


def test_every_rule_of_the_apex_is_managed() -> None:
    """W-A10."""
    route = source()
    route["spec"]["http"] += [
        {**route["spec"]["http"][0], "name": "admin", "match": {"paths": ["/admin"]}},
        {
            "name": "other",
            "match": {"paths": ["/other"]},
            "backends": [{"serviceName": "elsewhere", "servicePort": 80}],
        },
    ]
    found = made(Shape(weight=30), route)
    assert [each["name"] for each in found] == ["method", "admin"]
    assert [weights(each)["podinfo-canary"] for each in found] == [30, 30]
    generated = {"metadata": {"name": "podinfo-podinfo-canary"}, "spec": {"http": found}}
    assert routes.apisix_names(generated, "test") == (
        "test_podinfo-podinfo-canary_method", "test_podinfo-podinfo-canary_admin",
    )  # fmt: skip


def test_without_a_source_the_weights_follow_all_the_same() -> None:
    shape = Shape(weight=20, pinned=((HEADER,),), affinity=STICKY)
    before = {"spec": {"http": made(shape)}}
    assert routes.reweighted(before, NAMES, shape) == before["spec"]
    back = routes.reweighted(before, NAMES, Shape())["http"]
    assert [weights(each)["podinfo-canary"] for each in back] == [0, 0, 0]


def test_the_function_that_gives_the_primarys_cookie_adds_and_replaces_nothing() -> None:
    both = Affinity(cookie="c", value="v", primary_cookie="p", primary_value="w", max_age=60)
    [function] = made(Shape(weight=20, affinity=both))[0]["plugins"][1]["config"]["functions"]
    for node, had, given in [
        ("10.0.0.9", None, ["p=w; Max-Age=60"]),
        ("10.0.0.9", "own=1", ["own=1", "p=w; Max-Age=60"]),
        ("10.96.12.34", "own=1", "own=1"),
        (None, None, None),
    ]:
        lua = LuaRuntime()
        lua.globals().ngx = lua.table_from({"header": lua.table_from({"Set-Cookie": had})})
        lua.execute(function)(None, lua.table_from({"balancer_ip": node}))
        found = lua.globals().ngx["header"]["Set-Cookie"]
        assert (list(found.values()) if hasattr(found, "values") else found) == given
