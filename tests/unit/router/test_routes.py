"""The generated ApisixRoute against the fault register: nothing lost, nothing materialised, nothing rewritten."""

import copy

import pytest
import yaml

from services.router import routes
from services.router.converge import difference
from services.router.objects import Wanted
from services.router.shape import Shape
from shared.canary.names import Names
from shared.kube import kinds
from shared.kube.json import Json
from tests.story.theatre import Theatre, guide, initialized

NAMES = Names(target="podinfo", apex="podinfo", route="podinfo")


def test_the_guides_route() -> None:
    spec = routes.generated_spec(guide("route"), NAMES, "test", Shape(weight=10))
    rule = spec["http"][0]
    assert rule["priority"] == 1
    assert rule["name"] == "method"
    assert rule["backends"] == [
        {"serviceName": "podinfo-primary", "servicePort": 80, "weight": 90},
        {"serviceName": "podinfo-canary", "servicePort": 80, "weight": 10},
    ]
    assert rule["match"] == guide("route")["spec"]["http"][0]["match"]
    assert rule["plugins"] == guide("route")["spec"]["http"][0]["plugins"]


def rich() -> Json:
    """A source with everything that Flagger's old type drops or changes (behaviour sheet §6.7)."""
    loaded: Json = yaml.safe_load("""
        metadata: {name: podinfo, namespace: test}
        spec:
          ingressClassName: apisix
          unknownFutureField: {deep: [1, 2.5, true, null]}
          stream: [{name: tcp, match: {ingressPort: 9100}}]
          http:
          - {name: other, match: {paths: ["/other"]}, backends: [{serviceName: elsewhere, servicePort: 80}]}
          - name: method
            priority: 7
            match: {paths: ["/*"], filter_func: "function(vars) return true end"}
            backends: [{serviceName: podinfo, servicePort: http, resolveGranularity: service, subset: v1}]
            plugin_config_namespace: shared
            authentication: {enable: true, type: ldapAuth, ldapAuth: {base_dn: x}}
            plugins: [{name: limit-count, enable: true, secretRef: s, config: {count: 1000, time_window: 60, ratio: 0.5}}]
    """)
    return loaded


def test_no_field_is_lost_or_made_up() -> None:
    """W-A12, W-A13."""
    source = rich()
    before = copy.deepcopy(source)
    spec = routes.generated_spec(source, NAMES, "test", Shape())
    assert source == before, "the source route is never changed"
    rule = {key: value for key, value in spec["http"][0].items() if key not in {"priority", "backends"}}
    assert rule == {
        key: value for key, value in before["spec"]["http"][1].items() if key not in {"priority", "backends"}
    }
    assert spec["ingressClassName"] == "apisix"
    assert spec["unknownFutureField"] == {"deep": [1, 2.5, True, None]}
    assert "stream" not in spec
    assert all(
        backend["subset"] == "v1" and backend["resolveGranularity"] == "service"
        for backend in spec["http"][0]["backends"]
    )


def test_integers_stay_integers_and_an_unchanged_route_is_not_rewritten() -> None:
    """W-A1: Flagger turns 1000 into 1000.0 and rewrites the route every ten seconds."""
    spec = routes.generated_spec(rich(), NAMES, "test", Shape(weight=30))
    count = spec["http"][0]["plugins"][0]["config"]["count"]
    assert (count, type(count)) == (1000, int)
    have = {"metadata": {"name": "podinfo-podinfo-canary"}, "spec": copy.deepcopy(spec)}
    assert difference(have, Wanted(kinds.APISIX_ROUTE, "podinfo-podinfo-canary", None, {("spec",): spec})) == {}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r["spec"].update(http=[]), "APISIX route podinfo.test's spec.http is empty"),
        (
            lambda r: r["spec"]["http"][0]["backends"].__setitem__(0, {"serviceName": "x"}),
            "Can not find podinfo backend on apisix route podinfo.test ",
        ),
        (
            lambda r: r["spec"]["http"][0]["backends"].append({"serviceName": "podinfo", "servicePort": 81}),
            "APISIX route podinfo.test's http route method names backend podinfo more than once: name podinfo alone, once",
        ),
        (
            lambda r: r["spec"]["http"][0]["backends"].append({"serviceName": "podinfo-canary", "servicePort": 80}),
            "APISIX route podinfo.test's http route method names backend podinfo-canary itself: name podinfo alone, once",
        ),
        (
            lambda r: r["spec"]["http"].append(r["spec"]["http"][0]),
            "APISIX route podinfo.test's http route method has a name that another one has or gets: rename it",
        ),
        (
            lambda r: r["spec"]["http"][0]["plugins"].append({"name": "traffic-split", "config": {}}),
            "APISIX route podinfo.test's http route method has the plugin traffic-split, which overrides all weights: remove it",
        ),
    ],
)
def test_unusable_sources_are_named(change: object, text: str) -> None:
    route = guide("route")
    change(route)  # type: ignore[operator] # a lambda of the table
    with pytest.raises(routes.NoRoute) as caught:
        routes.generated_spec(route, NAMES, "test", Shape())
    assert str(caught.value) == text


def test_missing_routes_are_named() -> None:
    with pytest.raises(routes.NoRoute, match="apisix route selector is empty"):
        routes.managed(None, Names(target="podinfo", apex="podinfo"), "test")
    with pytest.raises(routes.NoRoute, match=r"APISIX route podinfo\.test get query error"):
        routes.managed(None, NAMES, "test")


def test_labels_of_gitops_tools_are_not_copied() -> None:
    """W-A17."""
    labels = {
        "team": "shop", "app.kubernetes.io/instance": "argo", "argocd.argoproj.io/instance": "x",
        "kustomize.toolkit.fluxcd.io/name": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}",
    }  # fmt: skip
    assert routes.copied(labels) == {"team": "shop"}


async def test_a_source_edit_mid_rollout_keeps_the_weights() -> None:
    """W-A4."""
    theatre = await _at_twenty()
    theatre.cluster.edit("ApisixRoute", "podinfo", {"spec": {"http": _with_timeout(theatre)}})
    await theatre.fact()
    assert theatre.weights() == (80, 20)
    rule = theatre.cluster.of("ApisixRoute", "podinfo-podinfo-canary")["spec"]["http"][0]
    assert rule["timeout"] == {"read": "5s"}


async def test_a_deleted_or_edited_generated_route_is_healed_with_its_weights() -> None:
    """W-A4, W-A15, W-A16."""
    theatre = await _at_twenty()
    del theatre.cluster.objects["ApisixRoute", "test", "podinfo-podinfo-canary"]
    await theatre.fact()
    assert theatre.weights() == (80, 20)
    broken = copy.deepcopy(theatre.cluster.of("ApisixRoute", "podinfo-podinfo-canary")["spec"]["http"])
    del broken[0]["backends"][0]["weight"]
    theatre.cluster.edit("ApisixRoute", "podinfo-podinfo-canary", {"spec": {"http": broken}})
    await theatre.fact()
    assert theatre.weights() == (80, 20)


async def test_a_deleted_source_stops_the_rollout_without_touching_traffic() -> None:
    theatre = await _at_twenty()
    del theatre.cluster.objects["ApisixRoute", "test", "podinfo"]
    await theatre.fact()
    assert theatre.weights() == (80, 20)
    assert theatre.messages()[-1].startswith("APISIX route podinfo.test get query error")


async def _at_twenty() -> Theatre:
    theatre = await initialized()
    theatre.release()
    await theatre.settle()
    await theatre.tick()
    assert theatre.weights() == (80, 20)
    return theatre


def _with_timeout(theatre: Theatre) -> list[Json]:
    rules = copy.deepcopy(theatre.cluster.of("ApisixRoute", "podinfo")["spec"]["http"])
    rules[0]["timeout"] = {"read": "5s"}
    return list(rules)


class TestAlike:
    """What another controller's types have written out of nothing is no difference; anything that says something is."""

    @pytest.mark.parametrize("nothing", [{"websocket": False}, {"exprs": []}, {"authentication": {}}, {"note": None}])
    def test_values_that_say_nothing(self, nothing: Json) -> None:
        rule = {"name": "method", "priority": 10000}
        assert routes.alike({"http": [{**rule, **nothing}]}, {"http": [rule]})

    @pytest.mark.parametrize(
        "something",
        [{"websocket": True}, {"enable": False}, {"retries": 0}, {"priority": 1}, {"timeout": {"read": "5s"}}],
    )
    def test_values_that_say_something(self, something: Json) -> None:
        rule = {"name": "method", "priority": 10000}
        assert not routes.alike({"http": [{**rule, **something}]}, {"http": [rule]})

    def test_what_is_missing(self) -> None:
        assert not routes.alike({"http": [{}]}, {"http": [{"websocket": False}]})
        assert not routes.alike({"http": [{}, {}]}, {"http": [{}]})
