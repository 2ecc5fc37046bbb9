"""`python -m bench take-over`: Serinus takes over a running Flagger's canaries in each phase, and gives them back.

All canaries are behind one gateway with visitors all the time. Flagger is stopped while they stand in different phases;
Serinus is installed from `k8s/`; ten intervals later all shall be over; then Serinus goes and Flagger returns.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.flagger.guide import Play, manifest, visited
from bench.flagger.sides import Seen
from sandbox import installed
from sandbox.application import Behaviour
from sandbox.controlplane.api import Json
from sandbox.flagger import world
from sandbox.flagger.binary import VERSION
from sandbox.flagger.process import Flagger
from sandbox.flagger.world import World
from sandbox.stage import Options
from shared.runtime import tasks

GOOD, BAD = "stefanprodan/podinfo:6.0.1", "stefanprodan/podinfo:6.0.2"
NAMESPACE: Final = "test"
INTERVALS: Final = 10
AT_REST: Final = ("initialized", "succeeded", "failed")
UNDER_WAY: Final = ("waiting", "waiting-promotion", "progressing")
_VISITORS: Final = "hey -z 15m -q 5 -c 1 -host {} http://apisix-gateway.apisix/api/info"
_GATE: Final = "http://flagger-loadtester.test/gate/check"
_CHECKOUT: Final = Path(__file__).resolve().parents[2]
_ENDS: Final = {"failed": "Failed", "initialized": "Initialized"}


@dataclass(slots=True, kw_only=True)
class Stand:
    """How one canary stood when Flagger left, and what was seen of it since."""

    play: Play
    phase: str
    weight: int
    generations: dict[str, int]
    pods: frozenset[str]
    shares: list[int] = field(default_factory=list)


async def take_over() -> list[str]:
    """Plays and prints; answers what went wrong."""
    options = Options(behaviours={BAD: Behaviour(fail_ratio=1.0)})
    print(f"Flagger {VERSION}", flush=True)
    with tempfile.TemporaryDirectory(prefix="serinus-take-over-") as folder:
        async with world.opened(Path(folder), options) as found, _followed(found) as seen:
            plays = {name: _play(found, name) for name in (*AT_REST, *UNDER_WAY)}
            async with Flagger(found.plane, found.stage):
                await _brought(found, plays, seen)
            stands = {name: await _stand(found, play, seen) for name, play in plays.items()}
            answers = found.stage.loadtester.answers
            before = answers.copy()
            wrong = await _taken(found, stands, seen)
            wrong += await _given_back(found, stands, seen)
            lost = {status: count for status, count in (answers - before).items() if status == 0 or status >= 500}
    failing = sum(lost.values())
    print(f"requests since Flagger left: {(answers - before).total()}, without answer or 5xx: {failing}")
    return wrong + ([f"{failing} requests were lost: {lost}"] if failing else [])


def _play(found: World, name: str) -> Play:
    return Play(plane=found.plane, api=found.stage.api, namespace=NAMESPACE, name=name)


@asynccontextmanager
async def _followed(found: World) -> AsyncIterator["dict[str, Seen]"]:
    await found.plane.kubectl("create", "namespace", NAMESPACE)
    play = _play(found, "any")
    paths = {"canaries": play.canary, "deployments": play.target, "routes": play.source}
    seen = {name: Seen() for name in paths}
    following = [
        asyncio.create_task(seen[name].follow(found.stage.api, path.rpartition("/")[0])) for name, path in paths.items()
    ]
    try:
        yield seen
    finally:
        await tasks.ended(*following)


async def _brought(found: World, plays: dict[str, Play], seen: dict[str, Seen]) -> None:
    """Each into its phase, by Flagger."""
    for name, play in plays.items():
        await play.apply(_deployment(), manifest("route"), _canary(name))
    canaries = seen["canaries"]
    for play in plays.values():
        await canaries.until(play.name, _is("Initialized"), 90)
        await visited(found.stage.loadtester, _VISITORS.format(play.host))
    await plays["succeeded"].release(GOOD)
    await plays["failed"].release(BAD)
    await plays["waiting-promotion"].release(GOOD)
    await plays["waiting"].release(GOOD)
    await canaries.until("succeeded", _is("Succeeded"), 240)
    await canaries.until("failed", _is("Failed"), 240)
    await canaries.until("waiting-promotion", _is("WaitingPromotion"), 240)
    await plays["progressing"].release(GOOD)
    await canaries.until("progressing", _is("Progressing", 20), 90)
    await asyncio.sleep(1.5)  # the rest of the tick


def _deployment() -> Json:
    """The guide's, with two replicas that Kubernetes keeps at two: what is lost is lost by the controllers."""
    found = manifest("deployment")
    found["spec"].update(replicas=2, strategy={"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
    return found


def _canary(name: str) -> Json:
    canary = manifest("canary")
    gates = {"waiting": "confirm-rollout", "waiting-promotion": "confirm-promotion"}
    hooks = [{"name": "gate", "type": gates[name], "url": _GATE}] if name in gates else []
    metric = {"name": "request-success-rate", "thresholdRange": {"min": 99}, "interval": "1m"}
    canary["spec"]["analysis"].update(stepWeight=20, maxWeight=40, threshold=3, metrics=[metric], webhooks=hooks)
    return canary


async def _stand(found: World, play: Play, seen: dict[str, Seen]) -> Stand:
    status = seen["canaries"].objects[play.name]["status"]
    names = (play.name, f"{play.name}-primary")
    return Stand(
        play=play,
        phase=status["phase"],
        weight=_share(seen["routes"].objects[play.route.rpartition("/")[2]]),
        generations={name: seen["deployments"].objects[name]["metadata"]["generation"] for name in names},
        pods=await _pods(found, f"{play.name}-primary"),
    )


async def _pods(found: World, app: str) -> frozenset[str]:
    pods = await found.stage.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=f"app={app}")
    return frozenset(pod["metadata"]["uid"] for pod in pods["items"])


async def _taken(found: World, stands: dict[str, Stand], seen: dict[str, Seen]) -> list[str]:
    """Serinus comes; ten intervals later."""
    before = {name: seen["canaries"].objects[name]["status"] for name in stands}
    watching = [asyncio.create_task(_shares(stand, seen["routes"])) for stand in stands.values()]
    began = time.monotonic()
    await installed.install(found.plane, found.stage)
    last = max([await seen["canaries"].until(name, _ours, 60) for name in stands])
    print(f"all taken over {last - began:.1f} s after the installation began", flush=True)
    await asyncio.sleep(10.0 * INTERVALS)  # the time is what is shown
    wrong = [problem for name, stand in stands.items() for problem in await _problems(found, name, stand, seen, before)]
    for gate in ("waiting", "waiting-promotion"):
        found.stage.loadtester.gates[f"{gate}.{NAMESPACE}"] = True
    for name in UNDER_WAY:
        await seen["canaries"].until(name, _is("Succeeded"), 240)
    await tasks.ended(*watching)
    for name, stand in stands.items():
        shares = [*dict.fromkeys(stand.shares)]
        print(f"{name}: left in {stand.phase} at {stand.weight} %, then {shares}")
        if name == "progressing" and min(stand.shares[: stand.shares.index(40) + 1]) < 20:
            wrong.append(f"{name} went back: {stand.shares}")
    return wrong


async def _problems(found: World, name: str, stand: Stand, seen: dict[str, Seen], before: dict[str, Json]) -> list[str]:
    if name == "progressing":  # it goes on meanwhile
        return []
    wrong = []
    objects, status = seen["deployments"].objects, seen["canaries"].objects[name]["status"]
    for each, generation in stand.generations.items():
        if objects[each]["metadata"]["generation"] != generation:
            wrong.append(f"Deployment {each} was written")
    if await _pods(found, f"{name}-primary") != stand.pods:
        wrong.append(f"pods of {name}-primary started anew")
    for hashed in ("phase", "lastAppliedSpec", "lastPromotedSpec", "trackedConfigs"):
        if status.get(hashed) != before[name].get(hashed):
            wrong.append(f"{name}: {hashed} was {before[name].get(hashed)}, is {status.get(hashed)}")
    return wrong


async def _shares(stand: Stand, routes: Seen) -> None:
    """Every share that the route has shown."""
    name = stand.play.route.rpartition("/")[2]
    async with routes.changed:
        while True:
            stand.shares.append(_share(routes.objects[name]))
            await routes.changed.wait()


async def _given_back(found: World, stands: dict[str, Stand], seen: dict[str, Seen]) -> list[str]:
    """Serinus goes, Flagger returns: what it left stands as it is, what was released since is suspended."""
    for deployment in installed.DEPLOYMENTS:
        await found.plane.kubectl("-n", installed.NAMESPACE, "scale", f"deployment/{deployment}", "--replicas=0")
    print(await _cli(found, "migrate", "back"), end="", flush=True)
    objects = seen["deployments"].objects
    before = {name: obj["metadata"]["generation"] for name, obj in objects.items()}
    async with Flagger(found.plane, found.stage):
        await asyncio.sleep(30.0)  # it has looked at all of them by then
    wrong = [
        f"the returning Flagger wrote Deployment {name}"
        for name, generation in before.items()
        if objects[name]["metadata"]["generation"] != generation
    ]
    for name in stands:
        phase = seen["canaries"].objects[name]["status"]["phase"]
        if phase != _ENDS.get(name, "Succeeded"):
            wrong.append(f"{name} is {phase} with Flagger back")
    return wrong


async def _cli(found: World, *words: str) -> str:
    env = {**os.environ, "KUBECONFIG": str(found.plane.data / "admin.kubeconfig")}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cli", *words, cwd=_CHECKOUT, env=env, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await child.communicate()
    return printed.decode()


def _ours(canary: Json) -> bool:
    return bool(canary["status"].get("serinus"))


def _is(phase: str, weight: int | None = None) -> Callable[[Json], bool]:
    def so(canary: Json) -> bool:
        status = canary.get("status") or {}
        return status.get("phase") == phase and weight in (None, status.get("canaryWeight"))

    return so


def _share(route: Json) -> int:
    return int(route["spec"]["http"][0]["backends"][1]["weight"])
