"""A Canary is deleted, in each phase and in every kind of trouble: what serves never goes before its replacement serves.

After each write the target, the apex Service and the generated route are looked at: somebody must answer.
"""

import copy
from collections.abc import Awaitable, Callable, Iterable

import pytest

from shared.kube.errors import Forbidden
from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.phases import (
    failed,
    failing,
    finalising,
    initializing,
    initializing_and_served,
    promoting,
    served_by_the_canary,
    succeeded,
    waiting,
    waiting_promotion,
)  # fmt: skip
from tests.story.theatre import Theatre, guide, initialized, progressing

FINALIZER = "finalizer.flagger.app"
ROUTE = "podinfo-podinfo-canary"
OLD, NEW = "ghcr.io/stefanprodan/podinfo:6.0.0", "stefanprodan/podinfo:6.0.1"
TERMINATING, TERMINATED = "Terminating canary podinfo.test", "Terminated canary podinfo.test"
RESTORING = "Restoring podinfo.test to the template of podinfo-primary.test: what it shows was not promoted"


async def deleted(theatre: Theatre) -> Theatre:
    """Somebody deletes it, and everybody waits for it to be gone; what was written is looked at write by write."""
    theatre.heard()
    theatre.cluster.writes.clear()
    theatre.cluster.remove("Canary", "podinfo")
    await theatre.settle()
    for _ in range(12):
        if ("Canary", "test", "podinfo") not in theatre.cluster.objects:
            return theatre
        await theatre.tick()
        await theatre.settle()
    raise AssertionError(f"it hangs: {theatre.canary['status']['serinus']}")


def image(theatre: Theatre) -> str:
    return str(theatre.cluster.of("Deployment", "podinfo")["spec"]["template"]["spec"]["containers"][0]["image"])


def selected(theatre: Theatre) -> Json:
    found: Json = theatre.cluster.of("Service", "podinfo")["spec"]["selector"]
    return found


def position(theatre: Theatre, *write: str) -> int:
    return theatre.cluster.writes.index(write)  # type: ignore[arg-type]  # three words


PROMOTED: tuple[tuple[Callable[[], Awaitable[Theatre]], str], ...] = (
    (initializing_and_served, OLD), (initialized, OLD), (promoting, NEW), (finalising, NEW), (succeeded, NEW),
    (served_by_the_canary, NEW),
)  # fmt: skip
UNPROMOTED = (waiting, progressing, waiting_promotion, failing, failed)


@pytest.mark.parametrize(("reach", "runs"), PROMOTED, ids=lambda each: getattr(each, "__name__", ""))
async def test_the_target_serves_what_the_primary_runs(reach: Callable[[], Awaitable[Theatre]], runs: str) -> None:
    theatre = await deleted(await reach())
    assert theatre.heard() == [TERMINATING, TERMINATED]
    _served_by_the_target(theatre, runs)


@pytest.mark.parametrize("reach", UNPROMOTED, ids=lambda each: str(each.__name__))
async def test_what_was_not_promoted_is_put_back_and_never_serves_everybody(
    reach: Callable[[], Awaitable[Theatre]],
) -> None:
    theatre = await deleted(await reach())
    assert theatre.heard() == [TERMINATING, RESTORING, TERMINATED]
    _served_by_the_target(theatre, OLD)


def _served_by_the_target(theatre: Theatre, runs: str) -> None:
    assert (image(theatre), selected(theatre)) == (runs, {"app": "podinfo"})
    assert theatre.cluster.of("Deployment", "podinfo")["spec"].get("replicas", 1) == 1
    template = theatre.cluster.of("Deployment", "podinfo")["spec"]["template"]
    assert template["metadata"] == guide("deployment")["spec"]["template"]["metadata"]
    assert ("ApisixRoute", "test", ROUTE) not in theatre.cluster.objects
    assert position(theatre, "patch", "Service", "podinfo") < position(theatre, "delete", "ApisixRoute", ROUTE)
    apex = theatre.cluster.of("Service", "podinfo")["metadata"]
    assert not apex.get("ownerReferences"), "clients go on using it, so it isn't collected"
    assert not [key for key in apex["annotations"] if "toolkit.fluxcd.io" in key]


@pytest.mark.parametrize("reach", [progressing, waiting_promotion])
async def test_traffic_leaves_before_the_template_changes(reach: Callable[[], Awaitable[Theatre]]) -> None:
    theatre = await reach()
    theatre.cluster.remove("Canary", "podinfo")
    await theatre.settle()
    assert (theatre.weights(), image(theatre), theatre.canary["status"]["canaryWeight"]) == ((100, 0), NEW, 0)
    await theatre.tick()
    assert image(theatre) == OLD


async def test_the_route_waits_for_the_target_and_the_primary_for_the_gateways() -> None:
    """And nothing with our priority is left (W-A20)."""
    theatre = await initialized()
    theatre.unready = {"podinfo"}
    theatre.cluster.remove("Canary", "podinfo")
    await theatre.settle()
    assert (theatre.replicas, selected(theatre), theatre.weights()) == (1, {"app": "podinfo-primary"}, (100, 0))
    theatre.unready = set()
    await theatre.settle()
    assert ("ApisixRoute", "test", ROUTE) not in theatre.cluster.objects
    assert theatre.canary["metadata"]["finalizers"] == [FINALIZER]
    await theatre.tick()
    assert ("Canary", "test", "podinfo") not in theatre.cluster.objects


async def test_nothing_is_made_before_nothing_can_be_lost() -> None:
    theatre = Theatre()
    await theatre.fact()
    canary = ("patch", "Canary", "podinfo")
    assert theatre.cluster.writes[:2] == [canary, canary], "the phase, then the finalizer, then objects"
    assert theatre.cluster.writes[2][0] == "create"
    assert theatre.canary["metadata"]["finalizers"] == [FINALIZER]


async def test_before_the_primary_serves_there_is_nothing_to_hand_back() -> None:
    theatre = await initializing()
    theatre.unready = {"podinfo-primary", "podinfo"}
    theatre = await deleted(theatre)
    assert theatre.heard() == [TERMINATING, TERMINATED]
    assert ("patch", "Deployment", "podinfo") not in theatre.cluster.writes


@pytest.mark.parametrize("edit", [{"suspend": True}, {"provider": "istio"}])
async def test_who_was_never_ours_to_run_has_no_finalizer(edit: Json) -> None:
    canary = guide("canary")
    canary["spec"].update(edit)
    theatre = Theatre(canary)
    await theatre.fact()
    assert "finalizers" not in theatre.canary["metadata"]


async def test_a_canary_given_to_another_controller_is_let_go() -> None:
    theatre = await progressing()
    theatre.edit({"spec": {"provider": "istio"}})
    await theatre.fact()
    assert not theatre.canary["metadata"]["finalizers"]
    theatre.cluster.writes.clear()
    await theatre.fact()
    assert theatre.cluster.writes == []


async def test_another_controller_that_was_asked_to_revert_keeps_the_finalizer() -> None:
    theatre = await progressing()
    theatre.edit({"spec": {"provider": "istio", "revertOnDeletion": True}})
    await theatre.fact()
    assert theatre.canary["metadata"]["finalizers"] == [FINALIZER]


@pytest.mark.parametrize("spec", [{"suspend": True}, {"analysis": {"match": [{}]}}, {"service": None}])
async def test_keeping_our_hands_off_is_no_reason_to_hang(spec: Json) -> None:
    theatre = await progressing()
    theatre.edit({"spec": spec})
    await theatre.fact()
    await deleted(theatre)
    assert (theatre.replicas, image(theatre), selected(theatre)) == (1, OLD, {"app": "podinfo"})


async def test_another_writer_of_the_status_is_no_reason_to_hang() -> None:
    theatre = await progressing()
    theatre.cluster.write_status("Canary", "podinfo", {"canaryWeight": 7}, "flagger")
    await theatre.fact()
    await deleted(theatre)
    assert (image(theatre), selected(theatre)) == (OLD, {"app": "podinfo"})


@pytest.mark.parametrize("gone", [("Deployment", "podinfo"), ("ApisixRoute", "podinfo"), ("ApisixRoute", ROUTE)])
async def test_what_somebody_deleted_first_is_not_waited_for(gone: tuple[str, str]) -> None:
    theatre = await progressing()
    theatre.cluster.remove(*gone)
    await deleted(theatre)
    assert theatre.messages()[-1] == TERMINATED


async def test_an_application_that_goes_as_a_whole_is_over_at_once() -> None:
    theatre = await progressing()
    for kind, name in (("Deployment", "podinfo"), ("ApisixRoute", "podinfo")):
        theatre.cluster.remove(kind, name)
    theatre.cluster.remove("Canary", "podinfo")
    await theatre.settle()
    assert ("Canary", "test", "podinfo") not in theatre.cluster.objects


async def test_a_target_that_never_serves_is_left_to_what_serves() -> None:
    theatre = await initialized()
    theatre.unready = {"podinfo"}
    await deleted(theatre)
    [leaving] = [text for text in theatre.messages() if text.startswith("Leaving ")]
    assert leaving.startswith(
        "Leaving Deployment podinfo-primary, Service podinfo-canary, Service podinfo-primary, Service podinfo, "
        f"ApisixRoute {ROUTE} in place: progress deadline exceeded canary deployment podinfo.test not ready: "
    )
    assert (selected(theatre), theatre.weights()) == ({"app": "podinfo-primary"}, (100, 0))
    assert _owned(theatre) == []


def _owned(theatre: Theatre) -> list[str]:
    return [key[2] for key, obj in theatre.cluster.objects.items() if obj["metadata"].get("ownerReferences")]


async def test_what_the_api_server_refuses_does_not_keep_it_for_ever() -> None:
    theatre = await initialized()
    theatre.cluster.refusals["delete", "ApisixRoute"] = Forbidden("no")
    await deleted(theatre)
    assert f"APISIX route {ROUTE}.test delete error: no" in theatre.messages()[-2]
    assert _owned(theatre) == []


async def test_the_target_gets_the_primarys_size_as_far_as_its_autoscaler_lets_it() -> None:
    canary = guide("canary")
    canary["spec"]["autoscalerRef"] = {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo",
        "primaryScalerReplicas": {"maxReplicas": 9},
    }  # fmt: skip
    theatre = await progressing(canary, [guide("hpa")])
    theatre.cluster.edit("Deployment", "podinfo-primary", {"spec": {"replicas": 9}})
    most = theatre.cluster.of("HorizontalPodAutoscaler", "podinfo")["spec"]["maxReplicas"]
    await deleted(theatre)
    assert theatre.replicas == most < 9


async def test_the_promoted_configs_go_on_being_used() -> None:
    """A copy whose source has changed is kept; the others are the source's again."""
    configs = [_config("changed", "old"), _config("same", "old")]
    deployment = guide("deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"configMapRef": {"name": "changed"}}, {"configMapRef": {"name": "same"}}]
    theatre = await initialized(None, [deployment, *configs])
    theatre.cluster.edit("ConfigMap", "changed", {"data": {"color": "new"}})
    await theatre.settle()
    assert theatre.phase == "Progressing"
    await deleted(theatre)
    [used] = [
        each["envFrom"]
        for each in theatre.cluster.of("Deployment", "podinfo")["spec"]["template"]["spec"]["containers"]
    ]
    assert used == [{"configMapRef": {"name": "changed-primary"}}, {"configMapRef": {"name": "same"}}]
    assert not theatre.cluster.of("ConfigMap", "changed-primary")["metadata"].get("ownerReferences")
    assert theatre.cluster.of("ConfigMap", "same-primary")["metadata"]["ownerReferences"]


def _config(name: str, color: str) -> Json:
    return {"kind": "ConfigMap", "metadata": {"name": name, "namespace": "test"}, "data": {"color": color}}


async def test_a_service_of_peoples_own_gets_its_own_selector_back() -> None:
    own: Json = {"kind": "Service", "metadata": {"name": "podinfo", "namespace": "test", "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": '{"spec": {"selector": {"app": "podinfo", "tier": "web"}}}',
    }}, "spec": {"selector": {"app": "podinfo", "tier": "web"}, "ports": []}}  # fmt: skip
    deployment = guide("deployment")
    deployment["spec"]["template"]["metadata"]["labels"]["tier"] = "web"
    theatre = await progressing(None, [deployment, own])
    assert selected(theatre) == {"app": "podinfo-primary"}
    await deleted(theatre)
    assert selected(theatre) == {"app": "podinfo", "tier": "web"}


@pytest.mark.parametrize("applied", ["{", "[]", '{"spec": {"selector": {"app": "other"}}}'])
async def test_an_applied_selector_that_finds_nobody_is_not_believed(applied: str) -> None:
    own: Json = {"kind": "Service", "metadata": {"name": "podinfo", "namespace": "test", "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": applied,
    }}, "spec": {"selector": {"app": "podinfo"}, "ports": []}}  # fmt: skip
    theatre = await deleted(await progressing(None, [own]))
    assert selected(theatre) == {"app": "podinfo"}


async def test_whoever_puts_the_template_forward_again_meanwhile_has_it_his_way() -> None:
    theatre = await failed()
    theatre.unready = {"podinfo"}
    theatre.cluster.remove("Canary", "podinfo")
    await theatre.settle()
    assert image(theatre) == OLD
    theatre.release(NEW)
    theatre.unready = set()
    await theatre.settle()
    await theatre.tick()
    assert image(theatre) == NEW
    assert ("Canary", "test", "podinfo") not in theatre.cluster.objects


async def test_affinity_about_the_primary_becomes_about_oneself_again() -> None:
    deployment = guide("deployment")
    selector = {"matchExpressions": [{"key": "app", "operator": "In", "values": ["podinfo"]}]}
    spread = [{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "podinfo"}}}]
    deployment["spec"]["template"]["spec"].update(
        topologySpreadConstraints=spread,
        affinity={"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": copy.deepcopy(selector)}],
        }},
    )  # fmt: skip
    before = copy.deepcopy(deployment["spec"]["template"])
    theatre = await deleted(await progressing(None, [deployment]))
    assert theatre.cluster.of("Deployment", "podinfo")["spec"]["template"] == before


CRASHES: Iterable[int] = range(1, 14)


@pytest.mark.parametrize("write", CRASHES)
async def test_death_at_any_write_of_a_deletion_loses_nothing(write: int) -> None:
    theatre = await progressing()
    theatre.heard()
    theatre.cluster.writes.clear()
    theatre.cluster.crash_after = write
    theatre.cluster.remove("Canary", "podinfo")
    await theatre.settle()
    while ("Canary", "test", "podinfo") in theatre.cluster.objects:
        await theatre.tick()
        await theatre.settle()
    assert theatre.heard() == [TERMINATING, RESTORING, TERMINATED]
    assert (theatre.replicas, image(theatre), selected(theatre)) == (1, OLD, {"app": "podinfo"})


async def test_in_the_foreground_the_target_keeps_everything_until_it_serves() -> None:
    """The collector takes the Canary's name off what has another owner, and nothing with it."""
    theatre = await progressing()
    made = {key: obj for key, obj in theatre.cluster.objects.items() if obj["metadata"].get("ownerReferences")}
    assert len(made) == 5
    theatre.edit({"metadata": {"finalizers": [FINALIZER, "foregroundDeletion"]}})
    theatre.cluster.remove("Canary", "podinfo")
    for (kind, _, name), obj in made.items():
        _, target = obj["metadata"]["ownerReferences"]
        assert (target["kind"], target["name"], target.get("controller")) == ("Deployment", "podinfo", None)
        theatre.cluster.edit(kind, name, {"metadata": {"ownerReferences": [target]}}, manager="garbage-collector")
    while TERMINATED not in theatre.messages():
        await theatre.settle()
        await theatre.tick()
    await theatre.settle()
    assert theatre.canary["metadata"]["finalizers"] == [FINALIZER, "foregroundDeletion"]
    first = theatre.cluster.of("Deployment", "podinfo-primary")["metadata"]["ownerReferences"][0]
    assert first["kind"] == "Deployment", "a late write of the collector would untie what is tied by now"
    theatre.edit({"metadata": {"finalizers": [FINALIZER]}})
    assert await theatre.look() == "unconverged", "no fact tells of it"
    await theatre.settle()
    assert ("Canary", "test", "podinfo") not in theatre.cluster.objects
    _served_by_the_target(theatre, OLD)
    assert {key[2] for key in made if key in theatre.cluster.objects} - {"podinfo"} == set(_owned(theatre))
    assert all(
        [each["kind"] for each in theatre.cluster.objects[key]["metadata"]["ownerReferences"]] == ["Canary"]
        for key in made
        if key[2] in _owned(theatre)
    ), "the Canary's alone again, so that they go with it"


async def test_what_people_have_tied_to_the_target_is_theirs() -> None:
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "podinfo", "uid": "uid-Deployment-podinfo"}
    mine: Json = {"kind": "ConfigMap", "metadata": {"name": "mine", "namespace": "test", "ownerReferences": [owner]}}
    theatre = await deleted(await initialized(None, [mine]))
    assert theatre.cluster.of("ConfigMap", "mine")["metadata"]["ownerReferences"] == [owner]


async def test_a_promotion_ties_what_another_controller_made_to_the_target_too() -> None:
    theatre = await progressing(steps=4)
    reference = theatre.canary["metadata"]["uid"]
    for (kind, _, name), obj in list(theatre.cluster.objects.items()):
        if owners := obj["metadata"].get("ownerReferences"):
            theatre.cluster.edit(kind, name, {"metadata": {"ownerReferences": owners[:1]}})
    await theatre.tick()
    await theatre.settle()
    for obj in theatre.cluster.objects.values():
        uids = [each["uid"] for each in obj["metadata"].get("ownerReferences") or ()]
        assert uids in ([], [reference, "uid-Deployment-podinfo"])


async def test_a_new_canary_of_the_same_name_begins_anew() -> None:
    theatre = await deleted(await progressing())
    for kind, name in (
        ("Deployment", "podinfo-primary"),
        ("Service", "podinfo-primary"),
        ("Service", "podinfo-canary"),
    ):
        theatre.cluster.remove(kind, name)  # the garbage collector
    theatre.cluster.put(guide("canary"))
    uid = theatre.canary["metadata"]["uid"]
    seen = wire.ObjectRef(kind="Canary", namespace="test", name="podinfo", resource_version="0")
    reference = wire.CanaryRef(namespace="test", name="podinfo", uid=uid)
    await theatre.deliver(wire.Fact(id="fact/again", canary=reference, object=seen))
    assert theatre.phase == "Initializing"
    assert theatre.canary["metadata"]["finalizers"] == [FINALIZER]
