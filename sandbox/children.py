"""Serinus as child processes of this one, by the process table: for the demo, `make up` and benchmarks."""

import asyncio
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.ports import free_port
from sandbox.process import Process
from sandbox.table import TABLE, Row, Source

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")
_CHECKOUT = Path(__file__).resolve().parents[1]

Values = Callable[[Row], Mapping[Source, str]]
"""What the sources of a row's variables are worth here."""


class Children:
    """Started by `async with`, ended in the opposite order. One log file per process in `directory`."""

    def __init__(
        self, directory: Path, values: Values, *, extra: Mapping[str, str] | None = None, rows: Sequence[Row] = TABLE
    ) -> None:
        self.rows = {row.name: row for row in rows}
        self.ports = {row.name: free_port() for row in rows}
        self._processes = {row.name: self._process(row, directory, values, extra or {}) for row in rows}

    def _process(self, row: Row, directory: Path, values: Values, extra: Mapping[str, str]) -> Process:
        known = {**values(row), Source.PORT: str(self.ports[row.name])}
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        env |= {"SERINUS_HTTP_HOST": "127.0.0.1", **row.env(known), **extra}
        return Process(row.name, row.argv, log=directory / f"{row.name}.log", env=env, cwd=_CHECKOUT)

    def process(self, name: str) -> Process:
        """One of them by its name in the table."""
        return self._processes[name]

    async def ready(self, timeout: float = 60.0) -> None:
        """Wait until each says that it's ready; raises TimeoutError with what is missing, ProcessFailed for a dead one."""
        for name in self.rows:
            await self._ready(name, timeout)

    async def _ready(self, name: str, timeout: float) -> None:
        missing = "no answer"
        try:
            async with asyncio.timeout(timeout):
                while missing := await asyncio.to_thread(self._missing, name):
                    for process in self._processes.values():  # one that waits doesn't hide another that is dead
                        process.check()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise TimeoutError(f"{name} isn't ready after {timeout} s: {missing}") from None

    def _missing(self, name: str) -> str:
        """Why the process isn't ready; empty when it is. Asked in a thread: it's a poll of another process."""
        url = f"http://127.0.0.1:{self.ports[name]}{self.rows[name].ready}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=2.0):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return json.dumps(json.loads(error.read()).get("missing"))
        except (OSError, ValueError) as error:
            return str(error)

    async def __aenter__(self) -> Self:
        for process in self._processes.values():
            process.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(process.stop() for process in self._processes.values()))
