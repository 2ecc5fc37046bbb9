"""The nodes of the sandbox's cluster: binds every pod to one invented node and says that it runs.

What a pod does is up to the runners that the caller gives: none at all, the application double of the demo, or the
real processes of our own Deployments (`processes.ProcessRunner`). It works against any Kubernetes API server.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

import aiohttp

from sandbox.controlplane import pods
from sandbox.controlplane.api import Api, ApiError, Json

_log = logging.getLogger(__name__)
_PAUSE = 0.2  # seconds between attempts while the API server is away


class PodRunner(Protocol):
    """Starts and stops whatever stands behind a pod, never both at a time for the same one."""

    async def start(self, pod: Json) -> None:
        """The pod has its node and its IP (`status.podIP`) and is about to be Running."""

    async def stop(self, pod: Json) -> None:
        """The pod is being deleted and disappears when this returns. May come after half a `start`, or a second time."""


@runtime_checkable
class ReportingRunner(PodRunner, Protocol):
    """A runner that knows how its pods are; the kubelet then writes their status by what it says."""

    def observe(self, pod: Json) -> AsyncIterator[pods.Seen] | None:
        """Each change of the pod's containers, beginning with how they are now; None for a pod that isn't its own."""


@dataclass(slots=True)
class _Pod:
    """What the kubelet remembers of one pod."""

    manifest: Json
    ip: str
    task: asyncio.Task[None] | None = None
    ending: bool = False
    started: str = field(default_factory=pods.timestamp)
    turned: str = ""
    ready: bool | None = None

    @property
    def path(self) -> str:
        meta = self.manifest["metadata"]
        return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"


class FakeKubelet:
    """An async context manager. The knobs are plain attributes, so a test may turn them while it runs.

    A single pod template overrides them by its annotations (`pods.NEVER_READY`, `READY_AFTER`, `ENDS_AFTER`).
    Without knobs and runners a pod is Running and Ready about as soon as it's created, and gone as soon as it's deleted.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca_file: Path | None = None,
        *,
        node: str = "n1",
        runners: Sequence[PodRunner] = (),
        ready_after: float = 0.0,
        ends_after: float = 0.0,
        never_ready: Callable[[Json], bool] = lambda pod: False,
    ) -> None:
        self.node = node
        self.ready_after = ready_after
        self.ends_after = ends_after
        self.never_ready = never_ready
        self.failures: list[BaseException] = []  # of runners and of ourselves; `stop` raises them
        self._api = Api(url, token, ca_file)
        self._runners = list(runners)
        self._addresses = pods.PodAddresses()
        self._pods: dict[str, _Pod] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Create the node and take care of pods from now on."""
        await self._api.__aenter__()
        with contextlib.suppress(ApiError):  # it may exist
            await self._api.create("/api/v1/nodes", {"metadata": {"name": self.node}})
        room = {"cpu": "1000", "memory": "4Ti", "pods": "10000"}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": pods.timestamp()}
        status = {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}}
        await self._api.patch(f"/api/v1/nodes/{self.node}/status", status)
        self._spawn(self._follow())

    async def stop(self) -> None:
        """Let go of all pods: their runners stop them, the API server keeps them. Raises what failed meanwhile."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        stops = [runner.stop(pod.manifest) for pod in self._pods.values() for runner in self._runners]
        for answer in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(answer, BaseException):
                self.failures.append(answer)
        self._pods.clear()
        await self._api.__aexit__(None, None, None)
        if self.failures:
            raise BaseExceptionGroup("the fake kubelet failed", self.failures)

    async def _follow(self) -> None:
        """Watch all pods for ever; a broken stream means a new list, as restarts of the server are part of the tests."""
        while True:
            try:
                version = await self._relist()
                async for event in self._api.watch("/api/v1/pods", version):
                    if event["type"] == "DELETED":
                        self._gone(event["object"]["metadata"]["uid"])
                    elif event["type"] != "BOOKMARK":
                        self._see(event["object"])
            except (ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                _log.info("the watch of pods broke: %s", error)
                await asyncio.sleep(_PAUSE)

    async def _relist(self) -> str:
        found = await self._api.get("/api/v1/pods")
        for pod in found["items"]:
            self._see(pod)
        for uid in self._pods.keys() - {pod["metadata"]["uid"] for pod in found["items"]}:
            self._gone(uid)
        return str(found["metadata"]["resourceVersion"])

    def _see(self, manifest: Json) -> None:
        """Begin or end a pod if that's due; anything else about it was written by ourselves."""
        uid = manifest["metadata"]["uid"]
        deleted = "deletionTimestamp" in manifest["metadata"]
        if manifest["spec"].get("nodeName", self.node) != self.node:
            return
        if uid not in self._pods:
            finished = manifest["status"].get("phase") in ("Succeeded", "Failed")
            pod = self._pods[uid] = _Pod(manifest, self._address(manifest))
            if not deleted and not finished:
                pod.task = self._spawn(self._live(pod))
        pod = self._pods[uid]
        if deleted and not pod.ending:
            pod.ending = True
            pod.manifest = {**pod.manifest, "metadata": manifest["metadata"]}
            self._spawn(self._end(pod))

    def _address(self, manifest: Json) -> str:
        if ip := manifest["status"].get("podIP"):
            self._addresses.hold(ip)
            return str(ip)
        return self._addresses.take()

    def _gone(self, uid: str) -> None:
        """The API server forgot the pod, by our own DELETE or, if somebody forced it, before we ended it."""
        pod = self._pods.pop(uid, None)
        if pod is not None:
            self._addresses.give_back(pod.ip)
            if not pod.ending:
                pod.ending = True
                self._spawn(self._halt(pod))

    async def _live(self, pod: _Pod) -> None:
        """From Pending to Ready, and whatever its runner reports after that."""
        if "nodeName" not in pod.manifest["spec"]:
            target = {"target": {"kind": "Node", "name": self.node}}
            # Without a node the pod would count as available, but get no endpoints.
            await self._write("POST", f"{pod.path}/binding", {**target, "metadata": {"name": _name(pod)}})
        spec, status = pod.manifest["spec"], pod.manifest["status"]
        pod.manifest = {
            **pod.manifest,
            "spec": {**spec, "nodeName": self.node},
            "status": {**status, "podIP": pod.ip},
        }
        for runner in self._runners:
            await runner.start(pod.manifest)
        async for seen in self._observe(pod.manifest):
            if pod.ready is not pods.is_ready(seen):
                pod.ready, pod.turned = pods.is_ready(seen), pods.timestamp()
            body = pods.status(pod.manifest, pod.ip, seen, started=pod.started, turned=pod.turned)
            if not await self._write("PATCH", f"{pod.path}/status", body):
                return

    async def _observe(self, manifest: Json) -> AsyncIterator[pods.Seen]:
        for runner in self._runners:
            if isinstance(runner, ReportingRunner) and (source := runner.observe(manifest)) is not None:
                async for seen in source:
                    yield seen
                return
        if delay := pods.seconds(manifest, pods.READY_AFTER, self.ready_after):
            yield pods.all_containers(manifest, ready=False)
            await asyncio.sleep(delay)
        yield pods.all_containers(manifest, ready=not (self.never_ready(manifest) or pods.never_ready(manifest)))

    async def _end(self, pod: _Pod) -> None:
        """Serve on for a while, as pods do until the news of their end has spread; then stop and disappear."""
        meta = pod.manifest["metadata"]
        delay = pods.seconds(pod.manifest, pods.ENDS_AFTER, self.ends_after)
        await asyncio.sleep(min(delay, float(meta.get("deletionGracePeriodSeconds", delay))))
        await self._halt(pod)
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta["uid"]}}
        await self._write("DELETE", pod.path, options)

    async def _halt(self, pod: _Pod) -> None:
        if pod.task is not None:
            pod.task.cancel()
            await asyncio.wait([pod.task])
        for runner in self._runners:
            await runner.stop(pod.manifest)

    async def _write(self, method: str, path: str, body: Json) -> bool:
        """Repeat a write until the API server took it. False if it won't: the pod is gone, or another by now."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        while True:
            try:
                await self._api.request(method, path, body=body, content_type=kind)
                return True
            except ApiError as error:
                if error.status in (404, 409):
                    return False
                if error.status < 500 and error.status != 429:
                    raise
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(_PAUSE)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the fake kubelet failed", exc_info=error)
            self.failures.append(error)


def _name(pod: _Pod) -> str:
    return str(pod.manifest["metadata"]["name"])
