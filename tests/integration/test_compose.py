"""compose.yaml without a container engine: its commands, variables, configs and health checks, as processes here.

What is left to `make image-smoke` is the images themselves. Ports are replaced, since tests run side by side.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from sandbox import prometheus
from sandbox.nats import program
from sandbox.ports import free_port
from sandbox.process import Process
from sandbox.standing import Ports
from sandbox.table import TABLE

pytestmark = pytest.mark.integration
_ROOT = Path(__file__).parents[2]
_PORT = re.compile(r"(127\.0\.0\.1:|SERINUS_HTTP_PORT: |apisix:)(\d+)")
_PLACES = {"nats": program, "prometheus": prometheus.locate}
Json = dict[str, Any]


class Composed:
    """The services of compose.yaml as processes."""

    def __init__(self, folder: Path) -> None:
        self._ports: dict[str, int] = {}
        text = _PORT.sub(self._other, (_ROOT / "compose.yaml").read_text())
        document: Json = yaml.safe_load(text)
        self.services: Mapping[str, Json] = document["services"]
        self._configs: Mapping[str, Json] = document["configs"]
        self._folder = folder

    def _other(self, found: re.Match[str]) -> str:
        if found[1] == "apisix:":  # a name in the cluster, which the sandbox's proxy knows by its own port
            return found[0]
        return f"{found[1]}{self._ports.setdefault(found[2], free_port())}"

    def process(self, name: str) -> Process:
        """A service's command with its variables and config files."""
        service = self.services[name]
        words = [*service["command"], *(self._elsewhere() if name == "sandbox" else ())]
        for mount in service.get("configs", []):
            words = [word.replace(mount["target"], str(self._file(name, mount))) for word in words]
        if name in _PLACES:
            words = [str(_PLACES[name]()), *words]
        if name == "prometheus":
            words.append(f"--storage.tsdb.path={self._folder / 'tsdb'}")
        argv = [sys.executable if word == "python" else word for word in words]
        env = {key: str(value) for key, value in service.get("environment", {}).items()}
        return Process(name, argv, log=self._folder / f"{name}.log", env=env, cwd=_ROOT)

    def _elsewhere(self) -> list[str]:
        """The sandbox's own ports, which compose.yaml leaves at their defaults."""
        fixed = {"kubernetes": "6443", "proxy": "3128", "prometheus": "9090", "gateway-metrics": "9091"}
        assert {str(getattr(Ports(), name.replace("-", "_"))) for name in fixed} == set(fixed.values())
        return [f"--{name}={self._ports[port]}" for name, port in fixed.items()]

    def _file(self, service: str, mount: Json) -> Path:
        config = self._configs[mount["source"]]
        text = config.get("content") or (_ROOT / config["file"]).read_text()
        path = self._folder / service / Path(mount["target"]).name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("/tmp/jetstream", str(self._folder / "jetstream")))
        return path

    async def healthy(self, name: str) -> None:
        """By the service's own health check."""
        kind, program_, *rest = self.services[name]["healthcheck"]["test"]
        assert (kind, program_) == ("CMD", "python")
        env = {key: str(value) for key, value in self.services[name].get("environment", {}).items()}
        while True:
            child = await asyncio.create_subprocess_exec(
                sys.executable, *rest, env=env, stderr=asyncio.subprocess.DEVNULL
            )
            if await child.wait() == 0:
                return
            await asyncio.sleep(0.2)


@pytest_asyncio.fixture
async def composed(tmp_path: Path) -> AsyncIterator[tuple[Composed, Mapping[str, Process]]]:
    scene = Composed(tmp_path)
    processes = {name: scene.process(name) for name in scene.services if name != "guide"}
    async with AsyncExitStack() as stack:
        for process in processes.values():
            process.start()
            stack.push_async_callback(process.stop)
        yield scene, processes


async def test_everything_becomes_healthy_and_ends_in_order(
    composed: tuple[Composed, Mapping[str, Process]],
) -> None:
    scene, processes = composed
    async with asyncio.timeout(120):
        for name in ("sandbox", *(row.name for row in TABLE)):
            processes[name].check()
            await scene.healthy(name)
    for name in (*(row.name for row in TABLE), "sandbox"):
        assert await processes[name].stop(60) == 0, processes[name].log_tail()
