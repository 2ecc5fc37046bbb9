"""One canary of the guide in a namespace of its own: applied, released, and waited for."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import yaml

from sandbox.controlplane.api import Json
from sandbox.scene import Scene

GUIDE = Path(__file__).parents[1] / "guide"
PATIENCE = 120.0
"""Seconds that a test waits for what comes at once on a machine with nothing else to do."""
OVER = frozenset({"Succeeded", "Failed"})
Edit = Callable[[Json], None]


def manifest(name: str) -> Json:
    """A manifest of the guide by file name, as it is written there."""
    found: Json = yaml.safe_load((GUIDE / f"{name}.yaml").read_text())
    return found


def moved(document: Json, namespace: str) -> Json:
    """The same in another namespace, under another host: routes of one host would compete for its requests."""
    text = json.dumps(document).replace("app.example.com", f"{namespace}.example.com")
    found: Json = json.loads(text)
    found["metadata"]["namespace"] = namespace
    return found


def renamed(document: Json, name: str) -> Json:
    """The same for a second application of the namespace."""
    text = json.dumps(document).replace("app.example.com", f"{name}.example.com")
    found: Json = json.loads(text.replace('"podinfo"', f'"{name}"'))
    return found


def analysis(canary: Json, **fields: object) -> None:
    """Change fields of `spec.analysis`."""
    canary["spec"]["analysis"].update(fields)


def looking_back(canary: Json, seconds: int) -> None:
    """Its checks are of so many seconds. And how fast it answers isn't what is looked at, nor how long nothing can be said: a
    busy machine stands still for seconds."""
    canary["spec"]["progressDeadlineSeconds"] = 600
    for metric in canary["spec"]["analysis"]["metrics"]:
        metric["interval"] = f"{seconds}s"
        if metric["name"] == "request-duration":
            metric["thresholdRange"] = {"max": 600_000}


@dataclass(slots=True)
class Rollout:
    """`name` is the Canary's, its target's and its route's, as in the guide."""

    scene: Scene
    namespace: str
    name: str = "podinfo"

    @property
    def canary(self) -> str:
        return f"/apis/flagger.app/v1beta1/namespaces/{self.namespace}/canaries/{self.name}"

    @property
    def target(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.name}"

    @property
    def route(self) -> str:
        return f"/apis/apisix.apache.org/v2/namespaces/{self.namespace}/apisixroutes/{self.name}-{self.name}-canary"

    async def apply(self, *names: str, edit: Edit | None = None, documents: tuple[Json, ...] = ()) -> None:
        """`kubectl apply` the guide's manifests by file name; `edit` changes each before."""
        found = [*(manifest(name) for name in names), *documents]
        if self.namespace != "test":
            found = [moved(document, self.namespace) for document in found]
        for document in found:
            if edit and document["kind"] == "Canary":
                edit(document)
        await self.kubectl("apply", "-f", "-", documents=found)

    async def initialized(self, timeout: float = PATIENCE) -> Json:
        """Wait for the end of the initialization, drain included."""
        return await self._until(lambda status: status["phase"] == "Initialized", timeout)

    async def allow(self, failed_checks: int) -> None:
        """Its next rollouts end with the failed check that comes after so many. What is to be promoted is allowed many: one
        stall of the machine fails several."""
        await self.scene.stage.api.patch(self.canary, {"spec": {"analysis": {"threshold": failed_checks}}})

    async def release(self, image: str) -> None:
        """What the guide does to release: `kubectl set image`."""
        await self.kubectl("set", "image", f"deployment/{self.name}", f"podinfod={image}")
        await self.scene.stage.api.until(
            self.canary, lambda found: found["status"]["phase"] not in {"Initialized", *OVER}, timeout=PATIENCE
        )

    async def over(self, timeout: float = 400.0, *, heard: bool = True) -> Json:
        """Wait for the end of a rollout, drain included; answers the Canary. `heard`: and until all was told of it."""
        return await self._until(lambda status: status["phase"] in OVER, timeout, heard=heard)

    async def divided(self, *weights: int) -> None:
        """Wait until the generated route has these weights: the status says first what it shall have."""

        def so(found: Json) -> bool:
            return [each["weight"] for each in found["spec"]["http"][0]["backends"]] == list(weights)

        await self.scene.stage.api.until(self.route, so)

    async def weights(self) -> list[int]:
        """The generated route's: primary, canary."""
        rule = (await self.scene.stage.api.get(self.route))["spec"]["http"][0]
        return [backend["weight"] for backend in rule["backends"]]

    async def image(self, suffix: str = "-primary") -> str:
        """What the primary runs (or the target, without suffix)."""
        found = await self.scene.stage.api.get(self.target + suffix)
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    async def reached(self, weight: int) -> None:
        """Wait until it has at least so much: one interval is all that a weight lasts, and on a busy machine it may be missed.
        A gate sees to it that there is no promotion meanwhile."""

        def so_much(found: Json) -> bool:
            return bool(found.get("status", {}).get("canaryWeight", 0) >= weight)

        await self.scene.stage.api.until(self.canary, so_much, timeout=PATIENCE)

    def open_gate(self) -> None:
        """Of the load tester, for this canary."""
        self.scene.stage.loadtester.gates[f"{self.name}.{self.namespace}"] = True

    def close_gate(self) -> None:
        """Again."""
        del self.scene.stage.loadtester.gates[f"{self.name}.{self.namespace}"]

    async def transition(self) -> int:
        """The number of its last transition."""
        return _transition(await self.scene.stage.api.get(self.canary))

    async def gone_on(self, passed: int) -> None:
        """Wait for a transition after this one."""
        await self.scene.stage.api.until(self.canary, lambda found: _transition(found) > passed, timeout=90)

    def texts(self) -> list[str]:
        """What was said of this canary."""
        return self.scene.listener.texts(self.namespace, self.name)

    async def kubectl(self, *args: str, documents: list[Json] | None = None) -> str:
        """kubectl in this namespace; the documents come in by standard input."""
        stdin = None if documents is None else "\n---\n".join(json.dumps(each) for each in documents)
        return await self.scene.plane.kubectl("-n", self.namespace, *args, stdin=stdin)

    async def visited(self, command: str) -> None:
        """Load from outside: what the guide types into the load tester's pod."""
        order = {"name": command, "namespace": "visitors", "metadata": {"cmd": command}}
        url = f"http://127.0.0.1:{self.scene.stage.loadtester.port}/"
        async with aiohttp.ClientSession() as session, session.post(url, json=order) as answer:
            answer.raise_for_status()

    async def _until(self, done: Callable[[Json], bool], timeout: float, *, heard: bool = True) -> Json:
        def settled(found: Json) -> bool:
            status = found.get("status", {})
            return bool(status) and done(status) and not status["serinus"].get("tick")

        api = self.scene.stage.api
        canary = await api.until(self.canary, settled, timeout=timeout)
        if not canary["status"]["canaryWeight"]:  # the last thing that follows from it
            target = self.target.removesuffix(self.name) + canary["spec"]["targetRef"]["name"]
            await api.until(target, lambda found: found["spec"]["replicas"] == 0)
        if heard:
            last, uid = canary["status"]["serinus"]["seq"], canary["metadata"]["uid"]
            await self.scene.listener.all(last, self.namespace, self.name, uid=uid)
        return canary


def _transition(found: Json) -> int:
    return int(found["status"]["serinus"]["transition"])
