"""Serinus installed from `k8s/` into the real control plane, with the world around it and somebody listening.

For the cluster tests and the benchmarks.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from sandbox import installed
from sandbox.controlplane import binaries
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.controlplane.processes import ProcessRunner
from sandbox.controlplane.server import ControlPlane
from sandbox.process import written
from sandbox.stage import Options, Stage
from shared.bus import link

Json = dict[str, Any]
SERVICES = ("bootstrap", "watcher", "analyzer", "router", "notifier")
_PATIENCE = 30
"""Seconds for an answer of NATS: nats-py's own two and five are few on a busy machine, and a connection that it gives up
half way is left to the garbage collector."""


@dataclass(slots=True)
class Listener:
    """Every public rollout event, heard as anybody may hear it: with the read-only user, from the first event on."""

    heard: list[Json] = field(default_factory=list)
    by_canary: defaultdict[tuple[str, str], list[Json]] = field(default_factory=lambda: defaultdict(list))
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def hear(self, message: Msg) -> None:
        """Take in one message."""
        event = json.loads(message.data)
        canary = event["data"]["canary"]
        async with self.came:
            self.heard.append(event)
            self.by_canary[canary["namespace"], canary["name"]].append(event["data"])
            self.came.notify_all()

    def forget(self) -> None:
        """What was heard, before it's heard again from the first event on; whoever waits goes on waiting."""
        self.heard.clear()
        self.by_canary.clear()

    def of(self, namespace: str, name: str = "podinfo") -> list[Json]:
        """The events of one canary, in the order of the stream."""
        return list(self.by_canary[namespace, name])

    def texts(self, namespace: str, name: str = "podinfo") -> list[str]:
        """Only what was said."""
        return [event["message"] for event in self.of(namespace, name)]

    async def all(
        self, last: int, namespace: str, name: str = "podinfo", *, uid: str = "", timeout: float = 120.0
    ) -> list[Json]:
        """Wait until the event with this number was heard; answers all. A server that died needs a moment. Where an earlier
        Canary had the same name, `uid` says whose event is waited for: each counts from 1."""

        def heard(event: Json) -> bool:
            return bool(event["seq"] >= last and uid in ("", event["canary"]["uid"]))

        async with asyncio.timeout(timeout), self.came:
            await self.came.wait_for(lambda: any(map(heard, self.of(namespace, name))))
        return self.of(namespace, name)

    async def until(self, text: str, namespace: str, name: str = "podinfo", *, timeout: float = 120.0) -> None:
        """Wait until somebody said it; TimeoutError says what was said instead."""
        try:
            async with asyncio.timeout(timeout), self.came:
                await self.came.wait_for(lambda: text in self.texts(namespace, name))
        except TimeoutError:
            raise TimeoutError(f"nobody said {text!r}, but: {self.texts(namespace, name)[-8:]}") from None


@dataclass(slots=True, kw_only=True)
class Scene:
    """The parts that a test reaches for."""

    plane: ControlPlane
    stage: Stage
    runner: ProcessRunner
    kubelet: FakeKubelet
    listener: Listener
    ears: Client

    async def deaf(self) -> None:
        """Nobody listens any more."""
        await link.close(self.ears)

    async def listen_again(self) -> None:
        """With the keys and the CAs of this moment, and from the first event on. Whoever listened before goes first: once it is
        shut out, its client would leave a writer to the garbage collector with every attempt."""
        await self.deaf()
        self.listener.forget()
        self.ears = await _listening(self.stage, self.listener)

    async def scale(self, replicas: int, *services: str) -> None:
        """So many pods of each of these services, all available when this returns."""
        await installed.scale(self.plane, self.stage, replicas, *services)

    def log(self, service: str) -> list[Json]:
        """Every line that the service's pods have written so far, in order of time."""
        lines = [line for lines in self.logs_by_pod(service).values() for line in lines]
        return sorted(lines, key=lambda line: line["ts"])

    async def logged(self, *services: str, beginning: str, count: int = 1, timeout: float = 120.0) -> list[str]:
        """Wait until these services have written so many lines that begin so; answers all that have. Whoever sees what a
        service did may see it before the line about it."""

        def found() -> list[str]:
            said = [line["msg"] for service in services for line in self.log(service)]
            return [each for each in said if each.startswith(beginning)]

        async with asyncio.timeout(timeout):
            while len(found()) < count:
                await asyncio.sleep(0.2)
        return found()

    def logs_by_pod(self, service: str) -> dict[str, list[Json]]:
        """The same by pod, dead ones included."""
        folder, prefix = self.stage.directory / "pods" / "logs", f"{installed.NAMESPACE}_serinus-{service}-"
        return {
            file.stem.removeprefix(f"{installed.NAMESPACE}_"): [json.loads(line) for line in written(file)]
            for file in sorted(folder.glob(f"{prefix}*.log"))
        }


@asynccontextmanager
async def opened(
    directory: Path,
    options: Options | None = None,
    *,
    audit_users: tuple[str, ...] = (),
    ready_after: float = 0.0,
    credentials: installed.Credentials = installed.passwords,
    definitions: bool = True,
) -> AsyncIterator[Scene]:
    """A scene of the test's own. Takes about twelve seconds. `definitions` says whether those of ours and of routes are there
    before Serinus is."""
    async with AsyncExitStack() as stack:
        plane = ControlPlane(directory / "cluster", binaries=binaries.locate(), audit_users=audit_users)
        await stack.enter_async_context(plane)
        if definitions:
            await installed.crds(plane)
        stage = await stack.enter_async_context(Stage(directory, plane, options))
        runner = installed.runner(stage)
        kubelet = await stack.enter_async_context(stage.kubelet(runner, ready_after=ready_after))
        await installed.install(plane, stage, credentials)
        listener = Listener()
        ears = await _listening(stage, listener)
        scene = Scene(plane=plane, stage=stage, runner=runner, kubelet=kubelet, listener=listener, ears=ears)
        stack.push_async_callback(scene.deaf)
        yield scene


async def _listening(stage: Stage, listener: Listener) -> Client:
    """Somebody who hears all rollouts with the read-only user, until the connection is closed."""
    login = stage.nats.login("subscriber")
    client = await nats.connect(stage.nats.url, **login, max_reconnect_attempts=-1, connect_timeout=_PATIENCE)
    try:
        await client.jetstream(timeout=_PATIENCE).subscribe(
            "serinus.rollout.v1.>", stream="PUBLIC_ROLLOUTS", ordered_consumer=True, cb=listener.hear
        )
    except BaseException:
        await link.close(client)
        raise
    return client
