"""What the router does while the served definition of the Canary isn't ours: nothing, and it says so."""

import asyncio
import contextlib
from pathlib import Path

import yaml

from services.router import schema
from services.router.memory import Memory
from services.router.patches import merge_patch, whole
from shared.errors import RetryLater
from shared.kube import kinds
from shared.kube.events import Events
from shared.kube.json import Json
from shared.kube.kinds import Kind
from tests.fakes.cluster import merged
from tests.story.theatre import Theatre, initialized, progressing

CRD = Path(__file__).parents[3] / "k8s/crds/canaries.yaml"


class Told:
    """Kubernetes Events that were created."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.names: list[str] = []
        self.away = False

    async def create(self, kind: Kind, body: Json) -> Json:
        if self.away:
            raise RetryLater("the API server is away")
        self.messages.append(body["message"])
        self.names.append(body["metadata"]["name"])
        return body

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json) -> Json:
        raise AssertionError("nothing is told twice")


class Play:
    """A gate with a definition that changes."""

    def __init__(self, theatre: Theatre) -> None:
        self.told, self.schema = Told(), schema.Schema()
        self.theirs(ours=True)
        self.gate = self.another(theatre)

    def another(self, theatre: Theatre) -> schema.Gate:
        canaries = theatre.cluster.cache(kinds.CANARY)
        return schema.Gate(self.schema, canaries, theatre.reconciler.concerns, Events(self.told), theatre.clock)

    def theirs(self, *, ours: bool = False) -> None:
        loaded: Json = yaml.safe_load(CRD.read_text())
        loaded["metadata"]["resourceVersion"] = "77"
        if not ours:
            del loaded["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"][
                "serinus"
            ]
        self.schema.changed(None, schema.slim(loaded))


async def is_open(gate: schema.Gate) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0):
            await gate.passed()
            return True
    return False


async def test_whose_canary_is_rolling_hears_the_command_once_and_when_it_goes_on() -> None:
    play = Play(await progressing())
    await play.gate.once()
    assert await is_open(play.gate)
    play.theirs()
    for _ in range(3):
        await play.gate.once()
    assert not await is_open(play.gate)
    assert play.told.messages == [
        "Holding podinfo.test: the installed Canary CRD drops our status fields: "
        "kubectl apply --server-side --force-conflicts -k k8s/crds"
    ]
    play.theirs(ours=True)
    await play.gate.once()
    assert not await is_open(play.gate), "API servers take a moment to serve what a definition says"
    await play.gate.once()
    assert await is_open(play.gate)
    assert play.told.messages[1:] == ["Resuming podinfo.test: the installed Canary CRD keeps our status fields again"]


async def test_who_rests_hears_nothing() -> None:
    play = Play(await initialized())
    play.theirs()
    await play.gate.once()
    assert (await is_open(play.gate), play.told.messages) == (False, [])


async def test_what_couldnt_be_told_is_told_later_and_replicas_tell_the_same() -> None:
    theatre = await progressing()
    play = Play(theatre)
    play.theirs()
    play.told.away = True
    await play.gate.once()
    play.told.away = False
    await play.gate.once()
    await play.another(theatre).once()
    assert len(play.told.messages) == 2
    assert len(set(play.told.names)) == 1, "one object, whoever makes it"


def canary(transition: int, uid: str = "u") -> Json:
    own = {"serinus": {"transition": transition}} if transition else {}
    return {"metadata": {"uid": uid}, "status": {"phase": "Progressing", **own}}


def test_memory_keeps_the_newest_and_only_fills_what_is_missing() -> None:
    memory = Memory()
    for seen in (5, 7, 6):
        memory.learn(canary(seen))
    assert memory.recalled(canary(3)) == canary(3)
    assert memory.recalled(canary(0)) == canary(7)
    assert memory.recalled(canary(0, "another")) == canary(0, "another")
    memory.forget("u")
    assert not memory.wiped(canary(0))


def test_a_patch_spelled_out_leads_to_the_same_from_whatever_was_left() -> None:
    have: Json = {"a": {"x": 1, "gone": 2}, "b": [1], "old": 1, "same": {"k": "v"}}
    want: Json = {"a": {"x": 1, "y": 3}, "b": [1, 2], "same": {"k": "v"}, "new": {"n": 1}}
    patch = whole(want, merge_patch(have, want))
    for left in (have, {}, {"a": {"gone": 2}}, {"old": 1, "same": {}}):
        assert merged(left, patch) == want
