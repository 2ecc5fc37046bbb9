"""Generated routes over a canary's life: several sources, siblings that come and go, labels that change."""

import copy

from services.router import classes
from shared.kube.json import Json
from tests.story.theatre import PROVIDERS, Theatre, guide, initialized, progressing

GENERATED = "podinfo-podinfo-canary"


def another_route(name: str = "mobile") -> Json:
    route = guide("route")
    route["metadata"]["name"] = name
    route["spec"]["http"][0]["match"]["hosts"] = ["mobile.example.com"]
    return route


def with_routes(*names: str) -> Json:
    canary = guide("canary")
    kind = {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute"}
    canary["spec"]["routeRefs"] = [{**kind, "name": name} for name in names]
    return canary


def rule(theatre: Theatre, name: str = GENERATED) -> Json:
    found: Json = theatre.cluster.of("ApisixRoute", name)["spec"]["http"][0]
    return found


async def test_each_route_of_a_canary_has_a_generated_one_and_all_move_together() -> None:
    """W-A10."""
    theatre = await progressing(with_routes("mobile", "podinfo"), [another_route()])
    for name in (GENERATED, "mobile-podinfo-canary"):
        assert [each["weight"] for each in rule(theatre, name)["backends"]] == [80, 20]
    assert rule(theatre, "mobile-podinfo-canary")["match"]["hosts"] == ["mobile.example.com"]
    query = theatre.bus.ticks["test", "podinfo"].question.metrics[0].query
    assert "test_mobile-podinfo-canary_method" in query
    assert "test_podinfo-podinfo-canary_method" in query


async def test_one_of_several_routes_that_is_gone_stops_the_rollout_and_nobodys_traffic() -> None:
    theatre = await progressing(with_routes("mobile"), [another_route()])
    theatre.cluster.remove("ApisixRoute", "mobile")
    await theatre.fact()
    assert theatre.messages()[-1].startswith("APISIX route mobile.test get query error")
    assert [each["weight"] for each in rule(theatre, "mobile-podinfo-canary")["backends"]] == [80, 20]
    theatre.ask("abort")
    await theatre.fact()
    for name in (GENERATED, "mobile-podinfo-canary"):
        assert [each["weight"] for each in rule(theatre, name)["backends"]] == [100, 0], "a rollback reaches them all"


async def test_a_sibling_that_must_win_is_never_shadowed() -> None:
    """W-A5: also one in a route of somebody else's, that comes while we are at rest."""
    theatre = await initialized()
    assert rule(theatre)["priority"] == 1
    beta = another_route("beta")
    beta["spec"]["http"][0].update(priority=1, match=copy.deepcopy(guide("route")["spec"]["http"][0]["match"]))
    beta["spec"]["http"][0]["backends"][0]["serviceName"] = "beta"
    theatre.cluster.put(beta)
    assert await theatre.look() == "pending"
    await theatre.fact()
    assert theatre.messages()[-1] == (
        "APISIX route podinfo.test's http route method with priority 0 leaves no room below http route method with "
        "priority 1, which has the same path: set the priority of method to 2 or more"
    )
    beta["spec"]["http"][0]["priority"] = 2
    theatre.cluster.put(beta)
    await theatre.fact()
    theatre.release()
    await theatre.settle()
    await theatre.tick()
    assert theatre.weights() == (80, 20)


async def test_flaggers_priority_stays_while_it_shadows_nobody() -> None:
    theatre = await initialized()
    flaggers = copy.deepcopy(theatre.cluster.of("ApisixRoute", GENERATED)["spec"]["http"])
    flaggers[0]["priority"] = 10000
    theatre.cluster.edit("ApisixRoute", GENERATED, {"spec": {"http": flaggers}})
    assert await theatre.look() == ""
    theatre.release()
    await theatre.settle()
    await theatre.tick()
    assert (rule(theatre)["priority"], theatre.weights()) == (10000, (80, 20))


async def test_labels_follow_their_source_and_others_stay() -> None:
    """W-A17."""
    route = guide("route")
    route["metadata"].update(
        labels={"team": "shop", "tier": "web", "argocd.argoproj.io/instance": "x"}, annotations={"note": "a"}
    )
    theatre = await initialized(extra=[route])
    theatre.cluster.edit("ApisixRoute", GENERATED, {"metadata": {"labels": {"mine": "kept"}}})
    theatre.cluster.edit(
        "ApisixRoute",
        "podinfo",
        {"metadata": {"labels": {"team": "cart", "tier": None}, "annotations": {"note": None}}},
    )
    await theatre.fact()
    metadata = theatre.cluster.of("ApisixRoute", GENERATED)["metadata"]
    assert metadata["labels"] == {"team": "cart", "mine": "kept"}
    assert "note" not in metadata["annotations"]
    assert await theatre.look() == ""


def accepted(theatre: Theatre, name: str, value: str = "True", **condition: str) -> None:
    """The ingress controller 2.x reports what it has seen."""
    generation = theatre.cluster.of("ApisixRoute", name)["metadata"]["generation"]
    told = {"type": "Accepted", "status": value, "observedGeneration": generation, **condition}
    theatre.cluster.write_status("ApisixRoute", name, {"conditions": [told]}, "apisix-ingress-controller")


async def test_on_controller_2_a_route_begins_below_its_source_and_is_raised_when_it_serves() -> None:
    theatre = Theatre()
    accepted(theatre, "podinfo")
    await theatre.fact()
    await theatre.tick(checks=[PROVIDERS])
    await theatre.settle()
    assert rule(theatre)["priority"] == -1
    await theatre.wait(60)
    assert rule(theatre)["priority"] == -1, "no controller has taken it"
    assert theatre.messages()[-1] == (
        "APISIX route podinfo-podinfo-canary.test isn't accepted by any controller: set spec.ingressClassName of podinfo to "
        "its class"
    )
    accepted(theatre, GENERATED)
    await theatre.fact()
    assert rule(theatre)["priority"] == 1
    assert "serinus.dev/low-since" not in theatre.cluster.of("ApisixRoute", GENERATED)["metadata"]["annotations"]


async def test_what_the_controller_refuses_holds_the_rollout_with_its_words() -> None:
    """W-A18."""
    theatre = await progressing()
    accepted(theatre, GENERATED, "False", reason="SyncFailed", message="no such plugin")
    await theatre.fact()
    text = "APISIX route podinfo-podinfo-canary.test is refused by its controller: SyncFailed: no such plugin"
    assert theatre.messages()[-1] == text
    [condition] = [each for each in theatre.canary["status"]["conditions"] if each["type"] == "Runnable"]
    assert (condition["status"], condition["message"]) == ("False", text)
    accepted(theatre, GENERATED)
    await theatre.fact()
    [condition] = [each for each in theatre.canary["status"]["conditions"] if each["type"] == "Runnable"]
    assert condition["status"] == "True"
    assert theatre.weights() == (80, 20)


def upstream(name: str = "podinfo", **spec: object) -> Json:
    return {
        "apiVersion": "apisix.apache.org/v2",
        "kind": "ApisixUpstream",
        "metadata": {"name": name, "namespace": "test"},
        "spec": {"retries": 1, "scheme": "https", **spec},
    }


async def test_upstreams_of_primary_and_canary_follow_the_apexs() -> None:
    """W-A14."""
    theatre = await initialized(extra=[upstream(externalNodes=[{"type": "Domain", "name": "elsewhere"}])])
    for name in ("podinfo-primary", "podinfo-canary"):
        copy = theatre.cluster.of("ApisixUpstream", name)
        assert copy["spec"] == {"retries": 1, "scheme": "https"}
        assert copy["metadata"]["ownerReferences"][0]["kind"] == "Canary"
    theatre.cluster.edit("ApisixUpstream", "podinfo", {"spec": {"retries": 3}})
    theatre.cluster.edit("ApisixUpstream", "podinfo-canary", {"spec": {"retries": 9}})
    await theatre.fact()
    for name in ("podinfo-primary", "podinfo-canary"):
        assert theatre.cluster.of("ApisixUpstream", name)["spec"]["retries"] == 3
    assert await theatre.look() == ""
    theatre.cluster.remove("ApisixUpstream", "podinfo")
    await theatre.fact()
    assert [key for key in theatre.cluster.objects if key[0] == "ApisixUpstream"] == []


async def test_an_upstream_of_peoples_own_stays_theirs() -> None:
    theatre = await initialized(extra=[upstream(), upstream("podinfo-canary", retries=7)])
    assert theatre.cluster.of("ApisixUpstream", "podinfo-canary")["spec"]["retries"] == 7
    theatre.cluster.remove("ApisixUpstream", "podinfo")
    await theatre.fact()
    assert theatre.cluster.of("ApisixUpstream", "podinfo-canary")["spec"]["retries"] == 7


async def test_objects_whose_ties_were_cut_are_ours_again() -> None:
    """`release --all` and another installation: neither the route nor the copies are taken for somebody else's."""
    theatre = await initialized(extra=[upstream()])
    for kind, name in (("ApisixRoute", GENERATED), ("ApisixUpstream", "podinfo-canary")):
        theatre.cluster.edit(kind, name, {"metadata": {"ownerReferences": None}})
    await theatre.fact()
    assert theatre.canary["status"]["serinus"].get("hold") is None
    assert theatre.cluster.of("ApisixUpstream", "podinfo-canary")["metadata"]["ownerReferences"][0]["kind"] == "Canary"
    theatre.cluster.remove("ApisixUpstream", "podinfo")
    await theatre.fact()
    assert ("ApisixUpstream", "test", "podinfo-canary") not in theatre.cluster.objects


async def test_a_route_isnt_made_anew_over_services_that_nobody_makes() -> None:
    theatre = await progressing()
    for kind, name in (("Deployment", "podinfo"), ("Service", "podinfo-canary"), ("ApisixRoute", GENERATED)):
        theatre.cluster.remove(kind, name)
    await theatre.fact()
    assert ("ApisixRoute", "test", GENERATED) not in theatre.cluster.objects


async def test_a_route_of_a_class_that_is_gone_is_held_until_there_is_one() -> None:
    """Controllers 2.x take such a route out of the gateway, and leave its status as it was."""
    ours = {"metadata": {"name": "apisix"}, "default": True, "controller": classes.CONTROLLER}
    source = guide("route")
    source["spec"]["ingressClassName"] = "apisix"
    theatre = await progressing(extra=[source])
    theatre.cluster.write_status(
        "ApisixRoute", "podinfo", {"conditions": [{"type": "Accepted", "status": "True"}]}, "aic"
    )
    theatre.classes = (ours,)
    await theatre.settle()
    theatre.heard()
    theatre.classes = ()
    assert await theatre.look() == "pending", "and nobody asked the API server"
    await theatre.swept()
    text = (
        "APISIX route podinfo.test has spec.ingressClassName apisix, but there is no IngressClass apisix: create an "
        f"IngressClass of {classes.CONTROLLER} and set it to that"
    )
    assert theatre.heard() == [text]
    [runnable] = [each for each in theatre.canary["status"]["conditions"] if each["type"] == "Runnable"]
    assert (runnable["status"], runnable["message"]) == ("False", text)
    theatre.classes = (ours,)
    assert await theatre.look() == "pending"
    await theatre.swept()
    [runnable] = [each for each in theatre.canary["status"]["conditions"] if each["type"] == "Runnable"]
    assert runnable["status"] == "True"
    theatre.classes = None
    assert await theatre.look() == "", "where they may not be read, the check is left out"
