"""A real Prometheus on the loopback, for the demo and the tests.

The program is the one on PATH, or in the cache folder, or comes from Debian's package: downloaded by apt with
folders of its own and unpacked by dpkg, so neither root nor an earlier `apt-get update` is needed.

`make` calls this as `python -m sandbox.prometheus`; it only makes sure that the program is there.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import aiohttp

from sandbox.cache import cache_dir
from sandbox.ports import free_port
from sandbox.process import Process

_BINARY: Final = Path("usr/bin/prometheus")
_ASSETS: Final = Path("usr/share/prometheus/web")
_COST: Final = "about 20 MB (35 MB without apt's lists), kept: 90 MB"


class PrometheusMissing(Exception):
    """There is no Prometheus, and none could be had."""


class Target(NamedTuple):
    """One thing to scrape."""

    job: str
    address: str
    """host:port"""
    path: str = "/metrics"


class Prometheus:
    """Started by `async with`; its data stay in `directory`. `scrape_interval` is in seconds."""

    def __init__(
        self, directory: Path, targets: Iterable[Target] = (), *, scrape_interval: float = 1.0, port: int = 0
    ) -> None:
        self.port = port or free_port()
        self._directory = directory.resolve()  # a path in the configuration is relative to the configuration
        self._interval = scrape_interval
        self._targets = list(targets)
        self._process = Process("prometheus", [], log=directory / "prometheus.log")

    @property
    def url(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """host:port"""
        return f"127.0.0.1:{self.port}"

    def scrape(self, targets: Iterable[Target]) -> None:
        """Scrape these from now on and nothing else; a running Prometheus sees it within seconds."""
        self._targets = list(targets)
        groups = [
            {"targets": [target.address], "labels": {"job": target.job, "__metrics_path__": target.path}}
            for target in self._targets
        ]
        self._directory.mkdir(parents=True, exist_ok=True)
        new = self._directory / "targets.json.new"
        new.write_text(json.dumps(groups))
        new.replace(self._directory / "targets.json")  # at once: half a file would be read as an error

    async def start(self) -> None:
        """Answers when queries are answered. Raises PrometheusMissing."""
        program = locate()
        self.scrape(self._targets)
        (self._directory / "prometheus.yml").write_text(self._configuration())
        self._process.argv = [str(program), *self._flags(program)]
        self._process.start()
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while not await self._ready(session):
                self._process.check()
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """An orderly end."""
        await self._process.stop()

    def kill(self) -> None:
        """SIGKILL; `start` starts it again on the same port and data."""
        self._process.kill()

    def signal(self, number: int) -> None:
        """SIGSTOP and SIGCONT make a Prometheus that takes connections and doesn't answer."""
        self._process.signal(number)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _ready(self, session: aiohttp.ClientSession) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(f"{self.url}/-/ready") as answer:
                return answer.status == 200
        return False

    def _flags(self, program: Path) -> Iterator[str]:
        yield f"--config.file={self._directory / 'prometheus.yml'}"
        yield f"--storage.tsdb.path={self._directory / 'data'}"
        yield "--storage.tsdb.retention.time=6h"
        yield f"--web.listen-address=127.0.0.1:{self.port}"
        yield "--log.level=warn"
        if str(program).endswith(f"/{_BINARY}") and (assets := program.parents[2] / _ASSETS).is_dir():
            yield f"--web.local-assets={assets}"  # of Debian's build only, whose pages lie beside the program

    def _configuration(self) -> str:
        every, at_most = (f"{max(1, int(part * 1000))}ms" for part in (self._interval, self._interval * 0.9))
        files = {"files": [str(self._directory / "targets.json")], "refresh_interval": "2s"}
        scrape = {"job_name": "sandbox", "file_sd_configs": [files]}
        settings = {"scrape_interval": every, "scrape_timeout": at_most}
        return json.dumps({"global": settings, "scrape_configs": [scrape]})  # JSON is YAML


def folder() -> Path:
    """Where Debian's package is kept, unpacked."""
    return cache_dir() / "prometheus"


def locate() -> Path:
    """The program from PATH, or the cache; raises PrometheusMissing rather than downloading it."""
    if found := shutil.which("prometheus"):
        return Path(found)
    if os.access(folder() / _BINARY, os.X_OK):
        return folder() / _BINARY
    raise PrometheusMissing("no prometheus on PATH or in the cache: install it, or run `python -m sandbox.prometheus`")


def ensure() -> Path:
    """The program, downloaded if need be. Safe in several processes at once: one downloads, the others wait."""
    with contextlib.suppress(PrometheusMissing):
        return locate()
    with (cache_dir() / "prometheus.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it when we end, however we end
        with contextlib.suppress(PrometheusMissing):
            return locate()
        if not (shutil.which("apt-get") and shutil.which("dpkg")):
            raise PrometheusMissing("no prometheus on PATH, and no apt-get here to get Debian's: please install it")
        print(f"downloading Debian's prometheus, once: {_COST} …", flush=True)
        work = cache_dir() / "prometheus.new"
        shutil.rmtree(work, ignore_errors=True)
        try:
            _unpack(_download(work), work / "root")
            shutil.rmtree(folder(), ignore_errors=True)
            (work / "root").rename(folder())
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return locate()


def _download(work: Path) -> Path:
    """Debian's package; with the lists that are here if they're any good, else with fresh ones of our own."""
    (work / "lists" / "partial").mkdir(parents=True)
    own = ["-o", f"Dir::State::Lists={work / 'lists'}"]
    complaint = _apt(work, "download", "prometheus")
    if complaint:
        _apt(work, *own, "update")  # whether it failed doesn't matter: it may have been about some other source
        complaint = _apt(work, *own, "download", "prometheus")
    found = next(work.glob("prometheus_*.deb"), None)
    if found is None:
        raise PrometheusMissing(f"apt-get can't download prometheus: please install it ({complaint})")
    return found


def _apt(work: Path, *arguments: str) -> str:
    """Run apt-get with everything it writes below `work`; answers its last words if it failed."""
    options = [f"Dir::Cache={work / 'cache'}", "Debug::NoLocking=1", "Acquire::Languages=none", "Acquire::Retries=2"]
    if os.geteuid() == 0:
        options.append("APT::Sandbox::User=root")  # the user it would change to may not read our folder
    (work / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    command = ["apt-get", "-qq", *(word for option in options for word in ("-o", option)), *arguments]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    words = (done.stderr + done.stdout).strip().splitlines() or ["no reason given"]
    return words[-1] if done.returncode else ""


def _unpack(package: Path, root: Path) -> None:
    done = subprocess.run(["dpkg", "-x", package, root], capture_output=True, text=True, check=False)
    if done.returncode or not (root / _BINARY).exists():
        raise PrometheusMissing(f"{package.name} can't be unpacked: {done.stderr.strip()}")


def main() -> int:
    """Make sure that there is a Prometheus, and say where."""
    try:
        print(ensure())
    except PrometheusMissing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
