"""The two chapters of the demo and what makes each a success: a promotion, then a revision that fails and goes back."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import yaml

from sandbox.controlplane.api import MERGE, Api, Json
from sandbox.demo.record import Record
from sandbox.demo.view import View
from sandbox.stage import Stage

GUIDE: Final = Path(__file__).resolve().parents[2] / "tests" / "guide"
NAMESPACE: Final = "test"
THRESHOLD: Final = 3
"""The guide's is 10, which only makes the second chapter longer."""

GOOD, BAD = "stefanprodan/podinfo:6.0.1", "stefanprodan/podinfo:6.0.2"
VISITORS: Final = "hey -z 20m -q 5 -c 4 -host app.example.com http://apisix-gateway.apisix/api/info"
CANARY: Final = f"/apis/flagger.app/v1beta1/namespaces/{NAMESPACE}/canaries/podinfo"
TARGET: Final = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/podinfo"
ROUTE: Final = f"/apis/apisix.apache.org/v2/namespaces/{NAMESPACE}/apisixroutes/podinfo-podinfo-canary"


class Unexpected(Exception):
    """A chapter didn't end as the guide promises; the message says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """One release: what is set, how it shall end, and which texts have to come in this order."""

    title: str
    image: str
    phase: str
    texts: Sequence[str]
    serving: str
    """The image that serves all traffic afterwards."""


CHAPTERS: Final = (
    Chapter(
        "a new revision that works: 10 % more of the traffic every 10 s, then it is promoted",
        GOOD,
        "Succeeded",
        (
            "New revision detected! Scaling up podinfo.test",
            "Starting canary analysis for podinfo.test",
            *(f"Advance podinfo.test canary weight {weight}" for weight in (10, 20, 30, 40, 50)),
            "Copying podinfo.test template spec to podinfo-primary.test",
            "Routing all traffic to primary",
            "Promotion completed! Scaling down podinfo.test",
        ),
        GOOD,
    ),
    Chapter(
        "a revision that answers 500 to half of its requests: it is rolled back",
        BAD,
        "Failed",
        (
            "New revision detected! Scaling up podinfo.test",
            "Advance podinfo.test canary weight 10",
            f"Rolling back podinfo.test failed checks threshold reached {THRESHOLD}",
            "Canary failed! Scaling down podinfo.test",
        ),
        GOOD,
    ),
)


async def play(stage: Stage, record: Record, view: View) -> None:
    """Install the guide's objects and play all chapters. Raises Unexpected, or TimeoutError where nothing moves."""
    api = stage.api
    view.say("the guide's objects: deployment, route, canary; visitors come at 20 requests a second")
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    await _apply(api)
    await _ended(api, "Initialized")
    await _visitors(stage)
    for chapter in CHAPTERS:
        view.say(chapter.title)
        begun = len(record.events)
        container = {"name": "podinfod", "image": chapter.image}
        await _set_image(api, container)
        await api.until(CANARY, lambda found: found["status"]["phase"] == "Progressing", timeout=30)
        await _ended(api, chapter.phase)
        await _told(record, begun, chapter)
        await _check(api, chapter)
    view.say("both rollouts ended as they should")


async def _apply(api: Api) -> None:
    for name in ("deployment", "route", "canary"):
        manifest = yaml.safe_load((GUIDE / f"{name}.yaml").read_text())
        if name == "canary":
            _shorten(manifest["spec"]["analysis"])
        await api.create(_collection(manifest), manifest)


def _shorten(analysis: Json) -> None:
    """Three failures are enough. Nobody is judged by how fast he answers: one stall of a busy machine would be in the window
    of three checks, and the good revision would be rolled back for it."""
    analysis["threshold"] = THRESHOLD
    for metric in analysis["metrics"]:
        if metric["name"] == "request-duration":
            metric["thresholdRange"] = {"max": 5000}


def _collection(manifest: Json) -> str:
    plural = {"Deployment": "deployments", "ApisixRoute": "apisixroutes", "Canary": "canaries"}[manifest["kind"]]
    return f"/apis/{manifest['apiVersion']}/namespaces/{manifest['metadata']['namespace']}/{plural}"


async def _set_image(api: Api, container: Json) -> None:
    """What `kubectl set image` does, without needing kubectl."""
    containers = (await api.get(TARGET))["spec"]["template"]["spec"]["containers"]
    changed = [{**each, **container} if each["name"] == container["name"] else each for each in containers]
    await api.patch(TARGET, {"spec": {"template": {"spec": {"containers": changed}}}}, MERGE)


async def _visitors(stage: Stage) -> None:
    """Constant traffic from outside, beside what the canary's own webhook adds."""
    order = {"name": "visitors", "namespace": NAMESPACE, "metadata": {"cmd": VISITORS}}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{stage.loadtester.port}/", data=json.dumps(order)) as answer,
    ):
        answer.raise_for_status()


async def _ended(api: Api, phase: str) -> None:
    over = {"Initialized", "Succeeded", "Failed"}

    def done(found: Json) -> bool:
        return found.get("status", {}).get("phase") in over and not found["status"]["serinus"].get("tick")

    found = await api.until(CANARY, done, timeout=240)
    if found["status"]["phase"] != phase:
        raise Unexpected(f"the canary is {found['status']['phase']}, not {phase}")


async def _told(record: Record, begun: int, chapter: Chapter) -> None:
    """The events may still be on their way when the status is written."""
    try:
        async with asyncio.timeout(10):
            while missing := _missing(record.messages(begun), chapter.texts):
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise Unexpected(f"nobody said: {missing}") from None


def _missing(told: Sequence[str], texts: Sequence[str]) -> str:
    """The first text that wasn't told in its turn; empty when all were."""
    rest = iter(told)
    return next((text for text in texts if text not in rest), "")


async def _check(api: Api, chapter: Chapter) -> None:
    primary = await api.get(f"{TARGET}-primary")
    image = primary["spec"]["template"]["spec"]["containers"][0]["image"]
    if image != chapter.serving:
        raise Unexpected(f"the primary runs {image}, not {chapter.serving}")
    weights = [backend["weight"] for backend in (await api.get(ROUTE))["spec"]["http"][0]["backends"]]
    if weights != [100, 0]:
        raise Unexpected(f"the route's weights are {weights}, not [100, 0]")
    await api.until(TARGET, lambda found: not found["spec"]["replicas"], timeout=10)
