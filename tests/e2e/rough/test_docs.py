"""The commands of docs/install.md and docs/guide.md, run one after the other as a reader would, on the real API server.

They run as they stand there, in a folder that holds what they name, and what the pages show must come out. The fake
kubelet runs the five Deployments' real commands; what takes a registry or a node is done another way (`Reader`).
"""

import asyncio
import base64
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from sandbox import installed
from sandbox.controlplane import binaries
from sandbox.controlplane.processes import ProcessRunner
from sandbox.controlplane.server import ControlPlane
from sandbox.process import written
from sandbox.stage import Options, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[3]
PAGES = ("install", "guide")
_FENCE = re.compile(r"^( *)```([a-z]+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LOOKS = re.compile(r"^(kubectl (-n \S+ )?(get|describe|logs) |curl )")
_SECRET = f"/api/v1/namespaces/{installed.NAMESPACE}/secrets/serinus-nats"
_CLAIMS = f"/api/v1/namespaces/{installed.NAMESPACE}/persistentvolumeclaims"
_UNPROTECTED = {"metadata": {"finalizers": None}}


@dataclass(slots=True)
class Block:
    """Commands as a page has them, what it shows of their output, and what came out."""

    commands: list[str]
    shown: list[str] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)
    failed: str = ""


def blocks(page: str) -> Iterator[Block | str]:
    """The blocks of commands in a page, each with the text that follows it; files that it shows, as they are."""
    block: Block | None = None
    for found in _FENCE.finditer((ROOT / "docs" / f"{page}.md").read_text()):
        language, content = found[2], textwrap.dedent(found[3])
        if language == "text" and block:
            block.shown = content.splitlines()
            continue
        if block:
            yield block
        block = Block(content.splitlines()) if language == "bash" else None
        if language == "yaml":
            yield content
    if block:
        yield block


def missing(block: Block) -> str:
    """A line that the page shows and that didn't come out; `…` stands for anything, blanks for blanks.

    The order is free: `kubectl describe` sorts by whole seconds and shuffles what is equal.
    """
    printed = [" ".join(line.split()) for line in block.printed]
    for line in block.shown:
        parts = (re.escape(part.strip()) for part in " ".join(line.split()).split("…"))
        pattern = re.compile(" ?.*? ?".join(parts))
        hit = next((each for each in printed if pattern.fullmatch(each)), None)
        if hit is None:
            return "\n".join([line, "isn't among the others:", *printed])
        printed.remove(hit)
    return ""


def _patient(canary: Path) -> None:
    """How fast the guide's application answers isn't what the page is read for, and here the machine is shared: a gateway on
    its own two cores is what `tests/e2e/gentle` plays the same manifest at."""
    text = canary.read_text()
    for theirs, ours in (("max: 500", "max: 600000"), ("progressDeadlineSeconds: 60", "progressDeadlineSeconds: 600")):
        assert text.count(theirs) == 1
        text = text.replace(theirs, ours)
    canary.write_text(text)


class Reader:
    """Does what the pages say. `elsewhere` are commands for which a registry or a node is missing here."""

    def __init__(self, plane: ControlPlane, stage: Stage, runner: ProcessRunner, folder: Path, kubectl: Path) -> None:
        self.plane, self.folder = plane, folder
        self._stage, self._runner = stage, runner
        path = os.pathsep.join(map(str, (kubectl.parent, Path(sys.executable).parent, os.environ["PATH"])))
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **plane.shell()}
        self.elsewhere: dict[str, Callable[[], Awaitable[str]]] = {
            "docker build": self._nothing,
            "kubectl -n apisix port-forward deploy/serinus-router 8080 &": self._nothing,
            "curl localhost:8080/readyz": self._readiness,
            "kubectl -n apisix logs deploy/serinus-router -f": self._logged,
        }
        self.used: set[str] = set()
        shutil.copytree(ROOT / "k8s", folder / "k8s")
        shutil.copytree(ROOT / "tests" / "guide", folder / "tests" / "guide")
        _patient(folder / "tests/guide/canary.yaml")

    async def read(self, page: str) -> list[Block]:
        """Everything, up to the first command that fails."""
        done: list[Block] = []
        for each in blocks(page):
            if isinstance(each, str):
                self._keep(each)
                continue
            done.append(each)
            await self._run(each)
            if each.failed:
                return done
        return done

    async def _run(self, block: Block) -> None:
        """What only looks is looked at again for a while: a reader, too, is told that things take a moment."""
        printed: dict[int, list[str]] = {}
        places, deadline = list(range(len(block.commands))), asyncio.get_running_loop().time() + 120
        while True:
            for place in places:
                block.printed = []
                await self._do(block.commands[place], block)
                if block.failed:
                    return
                printed[place] = block.printed
            block.printed = [line for place in sorted(printed) for line in printed[place]]
            places = [place for place in places if LOOKS.search(block.commands[place])]
            if not places or not missing(block) or asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.5)

    def _keep(self, content: str) -> None:
        """A file that the page shows begins with its name."""
        if named := re.match(r"# (\S+\.yaml)\n", content):
            path = self.folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    async def _do(self, command: str, block: Block) -> None:
        instead = next((each for each in self.elsewhere if command.startswith(each)), None)
        if instead:
            self.used.add(instead)
            block.printed += (await self.elsewhere[instead]()).splitlines()
            return
        if "delete pvc" in command:
            await self._let_go_of_volumes()
        child = await asyncio.create_subprocess_shell(
            command, cwd=self.folder, env=self._environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, complaint = (each.decode() for each in await child.communicate())
        may_exist = command.startswith("kubectl create namespace apisix") and "AlreadyExists" in complaint
        if child.returncode and not may_exist:
            block.failed = f"{command}: {complaint}"
        block.printed += printed.splitlines()
        if "passwords.sh" in command:
            await self._nats_learns_the_passwords()

    async def _nats_learns_the_passwords(self) -> None:
        """The part of the StatefulSet, whose pods are nothing but their status here."""
        data = (await self._stage.api.get(_SECRET))["data"]
        words = {key.removeprefix("NATS_PASSWORD_").lower().replace("_", "-"): word for key, word in data.items()}
        known = {user: base64.b64decode(words[user]).decode() for user in self._stage.nats.credentials}
        self._stage.nats.credentials = known
        await self._stage.nats.restart()

    async def _let_go_of_volumes(self) -> None:
        """The part of a controller that isn't here: it lets claims go that no pod uses any more."""
        for claim in (await self._stage.api.get(_CLAIMS))["items"]:
            await self._stage.api.patch(f"{_CLAIMS}/{claim['metadata']['name']}", _UNPROTECTED)

    async def _nothing(self) -> str:
        return ""

    async def _readiness(self) -> str:
        """Asked of the process itself."""
        port = self._runner.containers("serinus-router")[0].port
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            return await answer.text()

    async def _logged(self) -> str:
        """`jq .msg` of the pod's output."""
        logs = (self._stage.directory / "pods" / "logs").glob(f"{installed.NAMESPACE}_serinus-router-*.log")
        return "\n".join(json.loads(line)["msg"] for log in logs for line in written(log))


@dataclass(slots=True)
class Read:
    """Both pages, read to their ends."""

    reader: Reader
    pages: dict[str, list[Block]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def read(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Read]:
    """install.md first: it ends with the removal, so that guide.md starts on a cluster that had Serinus once."""
    directory, found = tmp_path_factory.mktemp("docs"), binaries.locate()
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(ControlPlane(directory / "cluster", binaries=found))
        await plane.kubectl("apply", "--server-side", "-f", str(ROOT / "sandbox/crds/apisix.yaml"))
        # One NATS runs here, not three.
        options = Options(settings={"SERINUS_NATS_REPLICAS": "1"})
        stage = await stack.enter_async_context(Stage(directory, plane, options))
        runner = installed.runner(stage)
        await stack.enter_async_context(stage.kubelet(runner))
        folder = directory / "checkout"
        folder.mkdir()
        reader = Reader(plane, stage, runner, folder, Path(found.kubectl))
        yield Read(reader, {page: await reader.read(page) for page in PAGES})


@pytest.mark.parametrize("page", PAGES)
async def test_every_command_works(read: Read, page: str) -> None:
    assert [block.failed for block in read.pages[page] if block.failed] == []
    assert len(read.pages[page]) == sum(isinstance(each, Block) for each in blocks(page))


@pytest.mark.parametrize("page", PAGES)
async def test_what_the_page_shows_comes_out(read: Read, page: str) -> None:
    shown = [block for block in read.pages[page] if block.shown]
    assert len(shown) >= 2
    assert "\n\n".join(filter(None, map(missing, shown))) == ""


async def test_no_more_than_needed_is_done_another_way(read: Read) -> None:
    assert read.reader.used == set(read.reader.elsewhere)


async def test_the_settings_of_the_page_reach_the_pods(read: Read) -> None:
    folder = read.reader.folder / "my-settings"
    folder.mkdir()
    settings = next(each for each in blocks("install") if isinstance(each, str) and each.startswith("configMapGen"))
    (folder / "kustomization.yaml").write_text(f"resources: [../k8s/overlays/apisix]\n{settings}")
    built = await read.reader.plane.kubectl("kustomize", str(folder))
    assert "SERINUS_CLUSTER_NAME: production" in built
    assert "SERINUS_MESH_PROVIDER: apisix" in built, "merged, not replaced"
