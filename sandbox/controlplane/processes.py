"""Runs the real processes of our own Deployments behind the fake kubelet's pods.

So the manifests of `k8s/` are what the cluster tests test: their commands, variables, tokens, volumes and probes. What
a manifest can't know about this machine is injected: where the API server is, and a port of its own for each process.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.controlplane import environment, server
from sandbox.controlplane.api import Api, ApiError, Json
from sandbox.controlplane.container import Container
from sandbox.controlplane.pods import Seen
from sandbox.ports import free_port
from sandbox.process import Process

_CHECKOUT = Path(__file__).resolve().parents[2]
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")  # no more: a variable that a manifest lacks has to be missed
_TOKEN_SECONDS = 24 * 3600  # longer than any test; nobody renews the file


@dataclass(slots=True)
class _Running:
    """One pod's containers, and the bell that rings when the state of any has changed."""

    containers: list[Container] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def seen(self) -> Seen:
        return {container.name: container.state for container in self.containers}


class ProcessRunner:
    """A `kubelet.ReportingRunner` for pods labelled `app.kubernetes.io/part-of: serinus`; it ignores all others.

    `env` is set last in every process, for addresses that differ here from those in the manifests (NATS, Prometheus).
    `images` says which tree of sources an image holds, by its name and tag; any other holds the checkout.
    `entrypoint` stands for the image's, for containers that have `args` but no `command`. `backoff` is the pause before
    the first restart, doubled with each further one up to `longest_backoff` (a kubelet's is 300 s; tests don't wait
    that long); `longest_grace` shortens the pods' own grace periods.
    """

    def __init__(
        self,
        api: Api,
        data: Path,
        *,
        env: Mapping[str, str] | None = None,
        images: Mapping[str, Path] | None = None,
        entrypoint: Sequence[str] = (),
        backoff: float = 0.5,
        longest_backoff: float = 10.0,
        longest_grace: float = 30.0,
        part_of: str = "serinus",
    ) -> None:
        self.env = dict(env or {})
        self.images = dict(images or {})
        self._api = api  # entered by the caller, with the right to read secrets and to make tokens
        self._data = data.resolve()
        self._entrypoint = list(entrypoint)
        self._backoff = backoff
        self._longest_backoff = longest_backoff
        self._longest_grace = longest_grace
        self._part_of = part_of
        self._running: dict[str, _Running] = {}
        self._ending: dict[str, _Running] = {}

    def containers(self, pod_prefix: str = "") -> list[Container]:
        """The containers of all pods whose name begins so, for tests that look at or kill their processes."""
        found = [container for pod in self._running.values() for container in pod.containers]
        return [container for container in found if container.pod_name.startswith(pod_prefix)]

    def gone(self, pod_prefix: str = "") -> bool:
        """Is no process left of such pods, not even of those that are on their way out?"""
        left = [container for pod in self._ending.values() for container in pod.containers]
        return not any(container.pod_name.startswith(pod_prefix) for container in [*self.containers(), *left])

    async def start(self, pod: Json) -> None:
        """Start the pod's containers; raises CannotStart when its configuration can't be resolved."""
        if not self._mine(pod):
            return
        if pod["spec"].get("initContainers"):
            raise NotImplementedError("the fake kubelet runs no init containers")
        running = self._running[pod["metadata"]["uid"]] = _Running()
        for manifest in pod["spec"]["containers"]:
            running.containers.append(await self._configured(pod, manifest, running.changed))
        running.tasks = [asyncio.create_task(container.run()) for container in running.containers]
        for task in running.tasks:
            task.add_done_callback(lambda _: running.changed.set())

    async def stop(self, pod: Json) -> None:
        """End the pod's processes as its grace period says. If that is cancelled half way, a second call ends what is left."""
        uid = pod["metadata"]["uid"]
        if (running := self._running.pop(uid, None)) is not None:
            self._ending[uid] = running
        elif (running := self._ending.get(uid)) is None:
            return
        for task in running.tasks:
            task.cancel()
        await asyncio.gather(*running.tasks, return_exceptions=True)  # `observe` has raised what failed
        await asyncio.gather(*(container.stop() for container in running.containers))
        self._ending.pop(uid, None)

    def observe(self, pod: Json) -> AsyncIterator[Seen] | None:
        """How the pod's containers are, now and at each change."""
        running = self._running.get(pod["metadata"]["uid"])
        return None if running is None else _changes(running)

    def _mine(self, pod: Json) -> bool:
        return bool(pod["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") == self._part_of)

    async def _configured(self, pod: Json, manifest: Json, changed: asyncio.Event) -> Container:
        """Wait a while for Secrets and accounts that are applied after the Deployment; a kubelet waits for ever."""
        attempts = 30
        while True:
            try:
                return await self._container(pod, manifest, changed)
            except environment.CannotStart:
                attempts -= 1
                if not attempts:
                    raise
            await asyncio.sleep(1.0)

    async def _container(self, pod: Json, manifest: Json, changed: asyncio.Event) -> Container:
        meta, port = pod["metadata"], free_port()
        name = f"{meta['namespace']}_{meta['name']}_{manifest['name']}"
        folder = self._data / "pods" / meta["uid"]
        folder.mkdir(parents=True, exist_ok=True)
        places = await environment.mounts(self._api, pod, manifest, folder, lambda seconds: self._token(pod, seconds))
        own = await environment.variables(self._api, pod, manifest)
        env = {key: os.environ[key] for key in _INHERITED if key in os.environ} | {"HOSTNAME": meta["name"]}
        env |= {key: environment.relocate(value, places) for key, value in own.items()}
        env |= await self._injected(pod, folder) | {"SERINUS_HTTP_PORT": str(port)} | self.env
        words = [*manifest.get("command", self._entrypoint), *manifest.get("args", [])]
        argv = [environment.relocate(environment.expand(word, own), places) for word in words]
        if not argv:
            raise environment.CannotStart(f"{name} has no command, and the runner was given no entrypoint")
        if argv[0] in ("python", "python3"):
            argv[0] = sys.executable
        log = self._data / "logs" / f"{name}.log"
        return Container(
            pod,
            manifest,
            Process(name, argv, log=log, env=env, cwd=self.images.get(manifest["image"], _CHECKOUT)),
            port=port,
            backoff=self._backoff,
            longest_backoff=self._longest_backoff,
            longest_grace=self._longest_grace,
            report=changed.set,
        )

    async def _injected(self, pod: Json, folder: Path) -> dict[str, str]:
        """Where the API server is, and the token, which a pod that declines the automatic one doesn't get."""
        env = {"SERINUS_KUBE_URL": self._api.url}
        if self._api.ca_file is not None:
            env["SERINUS_KUBE_CA_FILE"] = str(self._api.ca_file)
        account = await self._account(pod)
        wanted = pod["spec"].get("automountServiceAccountToken", account.get("automountServiceAccountToken", True))
        if wanted:
            token = folder / "token"
            token.touch(mode=0o600)
            token.write_text(await self._token(pod, _TOKEN_SECONDS))
            env["SERINUS_KUBE_TOKEN_FILE"] = str(token)
        return env

    async def _account(self, pod: Json) -> Json:
        name = pod["spec"].get("serviceAccountName", "default")
        try:
            return await self._api.get(f"/api/v1/namespaces/{pod['metadata']['namespace']}/serviceaccounts/{name}")
        except ApiError as error:
            raise environment.CannotStart(f"service account {name}: {error}") from error

    async def _token(self, pod: Json, seconds: int) -> str:
        name = pod["spec"].get("serviceAccountName", "default")
        try:
            return await server.service_account_token(self._api, pod["metadata"]["namespace"], name, seconds)
        except ApiError as error:
            if error.status != 404:
                raise
            raise environment.CannotStart(f"service account {name}: {error}") from error  # it's being removed


async def _changes(running: _Running) -> AsyncIterator[Seen]:
    """Raises what failed in the pod's tasks; a change that comes while the last one is being written isn't lost."""
    while True:
        running.changed.clear()
        for task in running.tasks:
            if task.done() and not task.cancelled():
                task.result()
        yield running.seen()
        await running.changed.wait()
