"""A real APISIX as a target of the suite: one that reads its configuration from a file, in a container or your own.

With `docker` or `podman` and an image there, it is started in a container of the host's network. A gateway of your own is used instead
when these four name it; it must be alone on its file, have one worker, and reach this machine's loopback addresses:

    SERINUS_GATEWAY_VERSION=3.18.0
    SERINUS_GATEWAY_URL=http://127.0.0.1:9080
    SERINUS_GATEWAY_METRICS=http://127.0.0.1:9091/apisix/prometheus/metrics
    SERINUS_GATEWAY_FILE=/usr/local/apisix/conf/apisix.yaml
"""

import asyncio
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import yaml
from aiohttp import web

from sandbox.controlplane.api import Json
from sandbox.gateway.dialect import dialect
from sandbox.gateway.server import METRICS_PATH
from sandbox.listener import Listener
from sandbox.network import Node
from sandbox.ports import free_port
from tests.gateway import standalone
from tests.gateway.desired import Desired

_ENGINES: Final = ("docker", "podman")
_BEGIN: Final = "apisix init && exec openresty -p /usr/local/apisix -g 'daemon off;'"
_START_WITHIN: Final = 60.0
_IN_FORCE_WITHIN: Final = 20.0
_REFRESH: Final = 1.0


class Missing(Exception):
    """There is no such gateway here, and why."""


@dataclass(kw_only=True)
class Running:
    """A gateway that is up; it holds nothing of an event loop, so one serves all tests."""

    version: str
    url: str
    metrics_url: str
    file: Path
    page_age: float = 2 * _REFRESH + 1.0
    written: float = field(default_factory=time.time)
    """When the file was written last."""


class Apisix:
    """One test's view of a running gateway."""

    real = True

    def __init__(self, running: Running, user: aiohttp.ClientSession, beacon: Listener) -> None:
        self._running = running
        self._user = user
        self._beacon = beacon
        self.version = running.version
        self.url = running.url
        self.metrics_url = running.metrics_url
        self.page_age = running.page_age

    async def apply(self, desired: Desired) -> None:
        path = f"/serinus/{uuid.uuid4().hex}"
        found = standalone.objects(desired, dialect(self.version))
        for kind, more in standalone.answering(path, Node("127.0.0.1", self._beacon.port)).items():
            found[kind] += more
        # It tells two files apart by the second in which they were written.
        await asyncio.sleep(max(0.0, self._running.written + 1.1 - time.time()))
        # In place: a container sees the file, not its name. Half a file lacks the last line, and isn't read.
        self._running.file.write_text(written(found))
        self._running.written = time.time()
        try:
            async with asyncio.timeout(_IN_FORCE_WITHIN):
                while not await self._answers(path):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not in force after {_IN_FORCE_WITHIN:.0f} s: {self._running.file}") from None

    async def _answers(self, path: str) -> bool:
        async with self._user.get(self.url + path) as answer:
            return answer.status == 200


class _Quoting(yaml.SafeDumper):
    """Every text has quotes, since a hexadecimal id may look like a number to the gateway; keys have none, which older ones can't read.
    Nor can they read references, or a text of several lines: only Lua has those here, and takes a line's end for a blank."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _with_plain_keys(dumper: _Quoting, found: Mapping[str, Json]) -> yaml.MappingNode:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", found)
    for key, _ in node.value:
        key.style = None
    return node


def _in_one_line(dumper: _Quoting, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text.replace("\n", " "), style="'")


_Quoting.add_representer(str, _in_one_line)
_Quoting.add_representer(dict, _with_plain_keys)


def written(found: Mapping[str, list[Json]]) -> str:
    """The whole file."""
    return yaml.dump(dict(found), Dumper=_Quoting, sort_keys=False, width=sys.maxsize) + "#END\n"


@asynccontextmanager
async def apisix(running: Running, user: aiohttp.ClientSession) -> AsyncIterator[Apisix]:
    async def light(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    async with Listener(light) as beacon:
        yield Apisix(running, user, beacon)


def yours(environment: Mapping[str, str]) -> Running | None:
    """The gateway that the environment names, if it does."""
    named = {key: environment.get(f"SERINUS_GATEWAY_{key}", "") for key in ("VERSION", "URL", "METRICS", "FILE")}
    if not any(named.values()):
        return None
    if unset := [key for key, value in named.items() if not value]:
        raise ValueError(f"SERINUS_GATEWAY_{unset[0]} isn't set, others are")
    # Your page may be as old as a page gets.
    return Running(
        version=named["VERSION"],
        url=named["URL"].rstrip("/"),
        metrics_url=named["METRICS"],
        file=Path(named["FILE"]),
        page_age=2 * dialect(named["VERSION"]).refresh_interval + 3.0,
    )


@contextmanager
def container(version: str, folder: Path) -> Iterator[Running]:
    """Started, and removed at the end. Raises Missing."""
    engine, image = _engine(version)
    running = Running(
        version=version,
        url=f"http://127.0.0.1:{free_port()}",
        metrics_url=f"http://127.0.0.1:{free_port()}{METRICS_PATH}",
        file=folder / "apisix.yaml",
    )
    running.file.write_text("routes: []\n#END\n")
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(configuration(running)))
    name = f"serinus-apisix-{uuid.uuid4().hex[:8]}"
    mounts = [f"--volume={path}:/usr/local/apisix/conf/{path.name}" for path in (config, running.file)]
    command = [engine, "run", "--detach", "--network=host", f"--name={name}", *mounts, "--entrypoint=/bin/sh", image]
    try:
        if (begun := _run(*command, "-c", _BEGIN)).returncode:
            raise Missing(f"{engine} starts no container: {begun.stderr.strip()}")
        _wait(running.url, lambda: _run(engine, "logs", name).stderr)
        yield running
    finally:
        _run(engine, "rm", "--force", name)


def configuration(running: Running) -> Json:
    """Its `config.yaml`: configured by file, alone on its ports, with one worker, whose turns can be counted."""
    since_3 = not running.version.startswith("2.")
    provider: Json = {"deployment": {"role": "data_plane", "role_data_plane": {"config_provider": "yaml"}}}
    listen = [{"ip": "127.0.0.1", "port": _port(running.url)}]
    quiet: Json = {"enable_admin": False, "enable_control": False, "ssl": {"enable": False}, "node_listen": listen}
    exporter: Json = {"export_addr": {"ip": "127.0.0.1", "port": _port(running.metrics_url)}}
    return {
        **(provider if since_3 else {}),
        "apisix": quiet if since_3 else {**quiet, "config_center": "yaml"},
        "nginx_config": {"worker_processes": 1},
        "plugin_attr": {"prometheus": {**exporter, "refresh_interval": int(_REFRESH)} if since_3 else exporter},
    }


def _engine(version: str) -> tuple[str, str]:
    image = f"apache/apisix:{version}-debian"
    found = [engine for engine in _ENGINES if shutil.which(engine)]
    for engine in found:
        if _run(engine, "image", "inspect", image).returncode == 0:
            return engine, image
    raise Missing(f"no image {image} in {' or '.join(found)}" if found else f"neither {' nor '.join(_ENGINES)} is here")


def _wait(url: str, logs: Callable[[], str]) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1)
        except urllib.error.HTTPError:
            return  # it has no route, and says so
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"nothing answers at {url}: {logs()}")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _port(url: str) -> int:
    return int(url.split(":")[2].partition("/")[0])
