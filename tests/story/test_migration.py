"""Coming from Flagger and going back: what `migrate check` says is what the router then does; `migrate back`; `release`."""

import copy
from collections.abc import Awaitable, Callable

import pytest

from cli.ports import Refusal
from cli.release import OWNED
from services.router import world
from shared.kube import kinds
from shared.kube.json import Json
from tests.fakes.cluster import FakeCluster
from tests.story.theatre import Theatre, guide, initialized, progressing
from tests.unit.cli.stage import Person

HASH = "5d8fd9f986"
MARKS = ("serinus.dev/revision", "serinus.dev/promotion")


def left_by_flagger(theatre: Theatre, phase: str) -> None:
    """The same objects with Flagger's status, and nothing of ours to be seen."""
    for obj in theatre.cluster.objects.values():
        obj["metadata"].pop("managedFields", None)
        for mark in MARKS:
            (obj["metadata"].get("annotations") or {}).pop(mark, None)
    theatre.cluster.of("Canary", "podinfo").pop("status")
    status = {"phase": phase, "canaryWeight": 0, "lastAppliedSpec": HASH, "lastPromotedSpec": HASH}
    theatre.cluster.write_status("Canary", "podinfo", status, "flagger")
    theatre.cluster.writes.clear()
    theatre.reconciler = theatre._process()


async def _released() -> Theatre:
    theatre = await initialized()
    theatre.release()
    return theatre


async def _gated() -> Theatre:
    canary = guide("canary")
    hook = {"name": "approve", "type": "confirm-rollout", "url": "http://flagger-loadtester.test/gate/check"}
    canary["spec"]["analysis"]["webhooks"] = [hook]
    theatre = await initialized(canary)
    theatre.release()
    return theatre


async def _ailing() -> Theatre:
    theatre = await _released()
    theatre.cluster.settle(unready={"podinfo-primary"})
    return theatre


NEW = "and what the target shows isn't what the primary was made from: a new revision"
RESTARTS = "its analysis starts with all traffic on the primary"
CASES: dict[str, tuple[Callable[[], Awaitable[Theatre]], str, str]] = {
    "released": (_released, f"Succeeded, {NEW}, {RESTARTS}", "Progressing"),
    "gated": (_gated, f"Succeeded, {NEW}, its confirm-rollout webhooks are asked", "Succeeded"),
    "ailing": (_ailing, f"Succeeded, {NEW}, which waits for the primary to be ready", "Succeeded"),
}
"""As it is after a release that nobody has seen; tests/story/test_recorded_flagger.py has the phases."""


@pytest.mark.parametrize(("made", "said", "then"), CASES.values(), ids=CASES)
async def test_what_check_says_is_what_the_router_does(
    made: Callable[[], Awaitable[Theatre]], said: str, then: str
) -> None:
    theatre = await made()
    left_by_flagger(theatre, "Succeeded")
    before = copy.deepcopy(theatre.cluster.objects)
    lines = await Person(theatre).types("migrate check")
    assert theatre.cluster.objects == before, "changes nothing"
    assert lines[0] == f"test/podinfo: {said}"

    announced = {tuple(line.split()[1:3]) for line in lines[1:]}
    await theatre.fact()
    assert theatre.phase == then
    written = {write[1:] for write in theatre.cluster.writes if write[1] != "Canary"}
    assert written == announced


async def test_what_was_only_taken_over_keeps_flaggers_hashes() -> None:
    theatre = await initialized()
    left_by_flagger(theatre, "Succeeded")
    await theatre.settle()
    assert (theatre.canary["status"]["lastAppliedSpec"], theatre.canary["status"]["lastPromotedSpec"]) == (HASH, HASH)
    person = Person(theatre)
    assert await person.types("migrate back") == [
        "test/podinfo: nothing was released since, Flagger goes on with it as it is"
    ]
    assert "suspend" not in theatre.canary["spec"]
    assert (await person.types("migrate check"))[
        0
    ] == "test/podinfo: Succeeded, run by Serinus already: nothing changes"


async def test_what_was_released_since_is_suspended_on_the_way_back() -> None:
    theatre = await initialized()
    left_by_flagger(theatre, "Succeeded")
    await theatre.settle()
    theatre.release()
    await theatre.settle()
    person = Person(theatre)
    with pytest.raises(Refusal, match="in the middle of a rollout, so left alone: test/podinfo"):
        await person.types("migrate back")
    assert "suspend" not in theatre.canary["spec"]
    while theatre.asks():
        await theatre.tick()
        await theatre.settle()
    assert (theatre.phase, len(theatre.canary["status"]["lastAppliedSpec"])) == ("Succeeded", 16)

    text = "since it was released here and Flagger would analyse it anew"
    assert await person.types("migrate back --dry-run") == [f"test/podinfo: would be suspended, {text}"]
    assert await person.types("migrate back") == [f"test/podinfo: suspended, {text}"]
    assert theatre.canary["spec"]["suspend"] is True
    assert await person.types("migrate back") == ["test/podinfo: is suspended already"]


async def test_check_knows_the_classes_that_the_person_may_read() -> None:
    theatre = await progressing()
    accepted = {"conditions": [{"type": "Accepted", "status": "True"}]}
    theatre.cluster.write_status("ApisixRoute", "podinfo", accepted, "apisix-ingress-controller")
    person = Person(theatre)
    [line] = await person.types("migrate check")
    assert "has no spec.ingressClassName, and no IngressClass is the default" in line
    person.door.unserved.add(kinds.INGRESS_CLASS)
    [line] = await person.types("migrate check")
    assert line == "test/podinfo: Progressing, run by Serinus already: nothing changes"


async def test_check_names_what_is_in_the_way() -> None:
    canary = guide("canary")
    canary["spec"]["analysis"]["stepWeights"] = [20, 10]
    person = Person(Theatre(canary))
    [line] = await person.types("migrate check")
    assert line == ("test/podinfo: new, and nothing is done: refused: spec.analysis.stepWeights must rise: 20, 10")
    person.theatre.cluster.edit(
        "Canary", "podinfo", {"spec": {"analysis": {"stepWeights": None, "stepWeight": "many"}}}
    )
    [line] = await person.types("migrate check")
    assert line.startswith("test/podinfo: new, and nothing is done: refused: ")


async def test_a_new_canary_is_initialized() -> None:
    [first, *writes] = await Person(Theatre()).types("migrate check")
    assert first == "test/podinfo: new: is initialized"
    assert "    writes Deployment podinfo-primary (created)" in writes


class TestRelease:
    async def test_nothing_is_tied_to_a_canary_any_more(self) -> None:
        canary = guide("canary")
        canary["spec"].update(revertOnDeletion=True, autoscalerRef=AUTOSCALER)
        theatre = await progressing(canary, [guide("hpa"), *_configured()])
        elsewhere(theatre.cluster)
        person = Person(theatre)
        tied = _tied(theatre.cluster)
        assert {kind for kind, _ in tied} == {
            "Canary", "Deployment", "Service", "HorizontalPodAutoscaler", "ApisixRoute", "ConfigMap", "Secret",
        }  # fmt: skip
        assert set(OWNED) == set(world.OWNED), "a kind that is made and isn't released would be collected"
        dry = await person.types("release --all --dry-run")
        assert _tied(theatre.cluster) == tied
        said = await person.types("release --all")
        assert [line.replace("would release ", "released ") for line in dry[:-1]] == said[:-1]
        assert said[-1] == f"{len(tied)} released, of 1 Canaries of Serinus"
        assert sorted(line.split()[1] for line in said[:-1]) == sorted(kind for kind, _ in tied)
        assert _tied(theatre.cluster) == set()
        assert theatre.cluster.of("Service", "other")["metadata"]["ownerReferences"] == THEIRS
        assert theatre.cluster.of("Canary", "other")["metadata"]["finalizers"] == ["finalizer.flagger.app"]
        assert await person.types("release --all") == ["0 released, of 1 Canaries of Serinus"]

    async def test_other_owners_and_finalizers_stay(self) -> None:
        theatre = await initialized()
        mine = theatre.cluster.of("Service", "podinfo")["metadata"]["ownerReferences"]
        theatre.cluster.edit("Service", "podinfo", {"metadata": {"ownerReferences": [*mine, *THEIRS]}})
        names = ["finalizer.flagger.app", "somebody.example.com/waits"]
        theatre.cluster.edit("Canary", "podinfo", {"metadata": {"finalizers": names}})
        await Person(theatre).types("release --all")
        assert theatre.cluster.of("Service", "podinfo")["metadata"]["ownerReferences"] == THEIRS
        assert theatre.canary["metadata"]["finalizers"] == names[1:]

    async def test_kinds_that_are_gone_already_are_no_obstacle(self) -> None:
        theatre = await initialized()
        person = Person(theatre)
        person.door.unserved = {kinds.APISIX_ROUTE}
        assert (await person.types("release --all"))[-1] == "5 released, of 1 Canaries of Serinus"
        assert _tied(theatre.cluster) == {("ApisixRoute", "podinfo-podinfo-canary")}
        assert (await person.types("migrate check"))[0].startswith("test/podinfo: Initialized")

    async def test_of_one_namespace_only(self) -> None:
        theatre = await initialized()
        assert await Person(theatre).types("release --all -n elsewhere") == ["0 released, of 0 Canaries of Serinus"]
        assert _tied(theatre.cluster)

    async def test_somebody_who_is_faster_keeps_what_was_written(self) -> None:
        theatre = await initialized()
        person = Person(theatre)
        person.door.meanwhile = [
            lambda: theatre.cluster.edit("Deployment", "podinfo-primary", {"spec": {"paused": True}})
        ]
        await person.types("release --all")
        assert theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["paused"] is True
        assert _tied(theatre.cluster) == set()


AUTOSCALER = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}
THEIRS = [{"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "other", "uid": "theirs", "controller": True}]


def elsewhere(cluster: FakeCluster) -> None:
    """A Canary of another provider, with a Service of its own."""
    metadata = {"namespace": "test", "name": "other", "uid": "theirs"}
    cluster.put({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary",
        "metadata": {**metadata, "finalizers": ["finalizer.flagger.app"]},
        "spec": {"provider": "istio", "targetRef": {"kind": "Deployment", "name": "other"}},
    })  # fmt: skip
    service = {"namespace": "test", "name": "other", "ownerReferences": THEIRS}
    cluster.put({"apiVersion": "v1", "kind": "Service", "metadata": service, "spec": {}})


def _configured() -> list[Json]:
    """The target uses a config of each kind."""
    deployment = guide("deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    container["envFrom"] = [{"configMapRef": {"name": "colors"}}, {"secretRef": {"name": "keys"}}]
    metadata = {"namespace": "test"}
    return [
        deployment,
        {"kind": "ConfigMap", "metadata": {**metadata, "name": "colors"}, "data": {"color": "red"}},
        {"kind": "Secret", "type": "Opaque", "metadata": {**metadata, "name": "keys"}, "data": {"key": "b25l"}},
    ]


def _tied(cluster: FakeCluster) -> set[tuple[str, str]]:
    """What would go with our Canary, and the Canary if it can't go without us."""

    def held(obj: Json) -> bool:
        owners = obj["metadata"].get("ownerReferences") or ()
        return any(each["uid"] == "uid-Canary-podinfo" for each in owners)

    found = {(key[0], key[2]) for key, obj in cluster.objects.items() if held(obj)}
    canary = cluster.of("Canary", "podinfo")
    return found | (
        {("Canary", "podinfo")} if "finalizer.flagger.app" in canary["metadata"].get("finalizers", ()) else set()
    )
