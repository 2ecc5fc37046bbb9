"""Runs Flagger against the real control plane, as its chart would, with the sandbox's world around it.

Everything it asks goes to the loopback: the API server and Prometheus directly, all other names through the sandbox's
proxy. Its own health page listens on every address of the machine; Flagger knows no other way.
"""

import asyncio
import contextlib
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp

from sandbox.controlplane.server import ControlPlane, User
from sandbox.flagger.binary import ensure
from sandbox.ports import free_port
from sandbox.process import Process
from sandbox.stage import Stage

USER: Final = User(name="flagger", groups=["system:masters"])
"""Pass it to the control plane; the audit log knows its requests by this name."""


class Flagger:
    """An async context manager; `namespace` is the only one that it looks at, none: all."""

    def __init__(self, plane: ControlPlane, stage: Stage, *, namespace: str = "") -> None:
        self._port = free_port()
        config = plane.kubeconfig(stage.directory / "flagger.kubeconfig", USER.token)
        argv: list[str | Path] = [
            ensure(),
            f"-kubeconfig={config}",
            "-mesh-provider=apisix",
            f"-metrics-server={stage.prometheus.url}",
            f"-namespace={namespace}",
            f"-port={self._port}",
            "-log-level=info",
        ]
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), stage.proxy.url)
        env = {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1,localhost", **proxies}
        self.process = Process("flagger", argv, log=stage.directory / "flagger.log", env=env)

    async def __aenter__(self) -> Self:
        self.process.start()
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def ready(self) -> None:
        """Its health page comes with its caches."""
        url = f"http://127.0.0.1:{self._port}/healthz"
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while True:
                self.process.check()
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(url):
                        return
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """An orderly end."""
        await self.process.stop()
