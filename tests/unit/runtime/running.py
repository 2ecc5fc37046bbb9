"""Child processes whose every line must be JSON."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

DEADLINE = 120.0
"""Seconds of patience, which only a failure costs: a busy machine takes over twenty of them for the start of a process."""


@dataclass(slots=True)
class Child:
    """A running program and what it has said so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """Lines that are no JSON object."""

    @property
    def messages(self) -> list[str]:
        return [str(line["msg"]) for line in self.lines]

    async def said(self, text: str) -> dict[str, Any]:
        """The first line with this text in its message, as soon as it's there."""
        async with asyncio.timeout(DEADLINE):
            while not (found := [line for line in self.lines if text in str(line["msg"])]):
                await asyncio.sleep(0.01)
        return found[0]

    async def port(self) -> int:
        return int(str((await self.said("listening on"))["msg"]).rpartition(":")[2])

    async def ended(self) -> int:
        async with asyncio.timeout(DEADLINE):
            return await self.process.wait()

    async def read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            try:
                found = json.loads(line)
                assert isinstance(found, dict)
                self.lines.append(found)
            except (ValueError, AssertionError):
                self.odd.append(line.decode())


@asynccontextmanager
async def running(module: str, *arguments: str, **env: str) -> AsyncIterator[Child]:
    """Killed at the end if it still runs. All that it wrote to stdout and stderr is read by then."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd(), **env},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    child = Child(process)
    reading = asyncio.create_task(child.read())
    try:
        yield child
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading
        assert child.odd == []


async def run(module: str, *arguments: str, **env: str) -> tuple[int, Child]:
    """To its own end."""
    async with running(module, *arguments, **env) as child:
        code = await child.ended()
    return code, child
