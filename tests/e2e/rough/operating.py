"""Runs a section of docs/operations.md on a scene, as the person on duty would, and holds what comes out against the page."""

import asyncio
import os
import re
from pathlib import Path
from typing import Final

from sandbox import installed
from sandbox.controlplane import binaries
from sandbox.scene import Scene
from tests.e2e.rough.test_docs import LOOKS, ROOT, Block, missing

_BLOCK: Final = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FORWARD: Final = re.compile(r"kubectl -n apisix port-forward deploy/serinus-(\w+) 8080 &")
_LOGS: Final = re.compile(r"kubectl -n apisix logs deploy/(serinus-\w+)")
_IN_A_CONTAINER: Final = "kubectl -n apisix exec "
"""There are processes here, and no containers to enter."""
_A_MOMENT: Final = 120.0


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


def _looks(command: str) -> bool:
    """Or says only where the next look goes to."""
    return bool(LOOKS.search(command) or _FORWARD.fullmatch(command))


class OnDuty:
    """`did` names the sections that were worked through."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._service = scene, ""
        path = f"{Path(binaries.locate().kubectl).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = {**os.environ, "PATH": path, **scene.plane.shell()}
        self.did: list[str] = []

    async def works_through(self, heading: str) -> None:
        """Raises AssertionError naming the command or the line that isn't as the page has it. What only looks is looked at
        again for a while, as a person does: what follows from a status takes a moment."""
        for block in sections()[heading]:
            printed: dict[int, list[str]] = {}
            places, deadline = list(range(len(block.commands))), asyncio.get_running_loop().time() + _A_MOMENT
            while gap := await self._gap(block, places, printed):
                assert asyncio.get_running_loop().time() < deadline, f"{heading}: {gap}"
                places = [place for place in places if _looks(block.commands[place])]
                await asyncio.sleep(0.5)
        self.did.append(heading)

    async def _gap(self, block: Block, places: list[int], printed: dict[int, list[str]]) -> str:
        """Does these of a block's commands, and keeps what they print; answers what isn't as the page has it."""
        failed = ""
        for place in places:
            command = block.commands[place]
            printed[place], complaint = await self._do(command)
            assert not complaint or _looks(command), complaint
            failed = failed or complaint
        block.printed = [line for place in sorted(printed) for line in printed[place]]
        return failed or missing(block)

    async def _do(self, command: str) -> tuple[list[str], str]:
        """What it printed, and what it says if it fails."""
        if command.startswith(_IN_A_CONTAINER):
            return [], ""
        if forward := _FORWARD.fullmatch(command):
            self._service = f"serinus-{forward[1]}"
            return [], ""
        child = await asyncio.create_subprocess_shell(
            self._here(command), cwd=ROOT, env=self._environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, complaint = (each.decode() for each in await child.communicate())
        return printed.splitlines(), f"{command}: {complaint or printed or 'nothing'}" if child.returncode else ""

    def _here(self, command: str) -> str:
        """A port that is forwarded is the process's own, and a pod's log is its file."""
        if "localhost:8080" in command:
            port = self._scene.runner.containers(self._service)[0].port
            command = command.replace("localhost:8080", f"127.0.0.1:{port}")
        logs = self._scene.stage.directory / "pods" / "logs"
        return _LOGS.sub(lambda found: f"cat {logs}/{installed.NAMESPACE}_{found[1]}-*.log", command)
