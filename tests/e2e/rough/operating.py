"""Runs a section of docs/operations.md on a scene, as the person on duty would, and holds what comes out against the page."""

import asyncio
import os
import re
from pathlib import Path
from typing import Final

from sandbox import installed
from sandbox.controlplane import binaries
from sandbox.scene import Scene
from tests.e2e.rough.test_docs import ROOT, Block, missing

_BLOCK: Final = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FORWARD: Final = re.compile(r"kubectl -n apisix port-forward deploy/serinus-(\w+) 8080 &")
_LOGS: Final = re.compile(r"kubectl -n apisix logs deploy/(serinus-\w+)")
_IN_A_CONTAINER: Final = "kubectl -n apisix exec "
"""There are processes here, and no containers to enter."""


def sections() -> dict[str, list[Block]]:
    """Heading → commands, each with what the page shows of their output."""
    found: dict[str, list[Block]] = {}
    for part in re.split(r"^## ", (ROOT / "docs/operations.md").read_text(), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        found[heading] = []
        for language, content in _BLOCK.findall(text):
            if language == "bash":
                found[heading].append(Block(content.splitlines()))
            else:
                found[heading][-1].shown = content.splitlines()
    return found


class OnDuty:
    """`did` names the sections that were worked through."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._service = scene, ""
        path = f"{Path(binaries.locate().kubectl).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, **scene.plane.shell()}
        self.did: list[str] = []

    async def works_through(self, heading: str) -> None:
        """Raises AssertionError naming the command or the line that isn't as the page has it."""
        for block in sections()[heading]:
            for command in block.commands:
                block.printed += await self._do(command)
            gap = missing(block)
            assert not gap, f"{heading}: {gap}"
        self.did.append(heading)

    async def _do(self, command: str) -> list[str]:
        if command.startswith(_IN_A_CONTAINER):
            return []
        if forward := _FORWARD.fullmatch(command):
            self._service = f"serinus-{forward[1]}"
            return []
        child = await asyncio.create_subprocess_shell(
            self._here(command), cwd=ROOT, env=self._environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, complaint = (each.decode() for each in await child.communicate())
        assert child.returncode == 0, f"{command}: {complaint or printed}"
        return printed.splitlines()

    def _here(self, command: str) -> str:
        """A port that is forwarded is the process's own, and a pod's log is its file."""
        if "localhost:8080" in command:
            port = self._scene.runner.containers(self._service)[0].port
            command = command.replace("localhost:8080", f"127.0.0.1:{port}")
        logs = self._scene.stage.directory / "pods" / "logs"
        return _LOGS.sub(lambda found: f"cat {logs}/{installed.NAMESPACE}_{found[1]}-*.log", command)
