"""One container of a pod as a process: started, probed, restarted and ended as a kubelet does it."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

from sandbox.controlplane import probes
from sandbox.controlplane.api import Json
from sandbox.controlplane.pods import ContainerState
from sandbox.process import Process


class Container:
    """Keeps one process running by the pod's restart policy. Tests reach the process itself (`kill -9`) through it."""

    def __init__(
        self,
        pod: Json,
        manifest: Json,
        process: Process,
        *,
        port: int,
        backoff: float,
        longest_backoff: float,
        longest_grace: float,
        report: Callable[[], None],
    ) -> None:
        self.namespace: str = pod["metadata"]["namespace"]
        self.pod_name: str = pod["metadata"]["name"]
        self.name: str = manifest["name"]
        self.process = process
        self.port = port  # where it serves its HTTP endpoint, whatever its manifest says
        self.state = ContainerState(ready=False)
        self._manifest = manifest
        self._policy: str = pod["spec"].get("restartPolicy", "Always")
        self._backoff = backoff
        self._longest_backoff = longest_backoff
        self._grace = min(float(pod["spec"].get("terminationGracePeriodSeconds", 30)), longest_grace)
        self._report = report

    async def run(self) -> None:
        """Run until the process ended for good; cancel it and call `stop` to end it earlier."""
        restarts, backoff = 0, self._backoff
        while True:
            self.process.start()
            self._set(ContainerState(ready="readinessProbe" not in self._manifest, restarts=restarts))
            probing = asyncio.create_task(self._probe())
            try:
                await self._ended(probing)
            finally:
                probing.cancel()
                await asyncio.wait([probing])
            code = self.process.returncode
            over = self._policy == "Never" or (self._policy == "OnFailure" and code == 0)
            self._set(ContainerState(ready=False, restarts=restarts, exit_code=code, finished=over))
            if over:
                return
            await asyncio.sleep(backoff)
            restarts, backoff = restarts + 1, min(backoff * 2, self._longest_backoff)

    async def stop(self) -> None:
        """`preStop: sleep`, SIGTERM, and SIGKILL when the grace period is over."""
        pause = self._manifest.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if self.process.alive:
            await asyncio.sleep(min(pause, self._grace))
        await self.process.stop(max(self._grace - pause, 0.0))

    async def _ended(self, probing: asyncio.Task[None]) -> None:
        """Wait for the process. If its liveness fails, `probing` ends first, and we end the process."""
        exited = asyncio.create_task(self._exit())
        try:
            await asyncio.wait([exited, probing], return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                probing.result()  # a probe we can't ask is the manifest's error, not the process's
                await self.process.stop(self._grace)
        finally:
            exited.cancel()
            await asyncio.wait([exited])

    async def _exit(self) -> None:
        await self.process.exited()

    async def _probe(self) -> None:
        """Follow the probes while the process runs; ends only when the container has to be restarted."""
        if "startupProbe" in self._manifest:
            async with aclosing(probes.results(self._manifest["startupProbe"], self.port)) as verdicts:
                if not await anext(verdicts):
                    return
        async with asyncio.TaskGroup() as group:
            readiness = group.create_task(self._follow_readiness())
            await self._liveness_fails()
            readiness.cancel()

    async def _follow_readiness(self) -> None:
        if "readinessProbe" in self._manifest:
            async for ready in probes.results(self._manifest["readinessProbe"], self.port):
                self._set(replace(self.state, ready=ready))

    async def _liveness_fails(self) -> None:
        if "livenessProbe" not in self._manifest:
            await asyncio.get_running_loop().create_future()  # never
        async with aclosing(probes.results(self._manifest["livenessProbe"], self.port)) as verdicts:
            async for alive in verdicts:
                if not alive:
                    return

    def _set(self, state: ContainerState) -> None:
        self.state = state
        self._report()
