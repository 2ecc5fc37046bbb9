"""Child processes end when they should: by request, by force, and with their parent however that dies.

Needs nothing but Python, so it carries no marker.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.apiserver.server import ApiServer
from sandbox.cache import cache_dir
from sandbox.controlplane import signing
from sandbox.controlplane.processes import ProcessRunner
from sandbox.ports import free_port
from sandbox.process import Process, ProcessFailed, written

_SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
_REFUSES = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
_DEADLINE = 120.0
"""Seconds of patience, which only a failure costs: a busy machine takes twenty and more for the start of a process."""


async def _started(tmp_path: Path, code: str) -> Process:
    process = Process("child", [sys.executable, "-c", code], log=tmp_path / "logs" / "child.log")
    process.start()
    async with asyncio.timeout(_DEADLINE):
        while "up" not in process.log_tail():
            await asyncio.sleep(0.01)
    return process


async def test_a_process_ends_when_asked_to(tmp_path: Path) -> None:
    process = await _started(tmp_path, _SLEEPS)

    assert await process.stop() == -signal.SIGTERM
    assert not process.alive


async def test_a_process_that_refuses_to_end_is_killed(tmp_path: Path) -> None:
    process = await _started(tmp_path, _REFUSES)

    assert await process.stop(timeout=0.1) == -signal.SIGKILL


async def test_terminate_does_the_same_without_an_event_loop(tmp_path: Path) -> None:
    process = await _started(tmp_path, _REFUSES)

    assert process.terminate(timeout=0.1) == -signal.SIGKILL


async def test_an_end_is_noticed_at_once(tmp_path: Path) -> None:
    process = await _started(tmp_path, "print('up')")

    async with asyncio.timeout(_DEADLINE):
        assert await process.exited() == 0


async def test_a_process_can_be_started_again_and_its_log_goes_on(tmp_path: Path) -> None:
    process = await _started(tmp_path, "print('up')")
    await process.exited()
    process.start()
    await process.exited()

    assert process.log_tail() == "up\nup"


async def test_an_early_end_is_told_with_the_log(tmp_path: Path) -> None:
    process = await _started(tmp_path, "print('up'); raise SystemExit('no disk')")
    await process.exited()

    with pytest.raises(ProcessFailed, match="child ended with 1:\nup\nno disk"):
        process.check()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_a_child_dies_with_its_killed_parent(tmp_path: Path) -> None:
    parent = f"""
import pathlib, sys, time
from sandbox.process import Process
child = Process("child", [sys.executable, "-c", {_SLEEPS!r}], log=pathlib.Path({str(tmp_path)!r}) / "child.log")
child.start()
print("up", child.pid, flush=True)
time.sleep(600)
"""
    process = Process(
        "parent", [sys.executable, "-c", parent], log=tmp_path / "parent.log", cwd=Path(__file__).parents[2]
    )
    process.start()
    async with asyncio.timeout(_DEADLINE):
        while not process.log_tail().startswith("up"):
            await asyncio.sleep(0.01)
    child = int(process.log_tail().split()[1])
    assert _runs(child)

    os.kill(process.pid, signal.SIGKILL)  # the parent alone, not its group

    async with asyncio.timeout(_DEADLINE):
        while _runs(child):
            await asyncio.sleep(0.01)
    await process.exited()


def _runs(pid: int) -> bool:
    """A killed child whose new parent hasn't asked for its return code yet is a zombie, which doesn't run."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_ports_are_bindable_and_never_given_twice() -> None:
    ports = [free_port() for _ in range(50)]

    assert len(set(ports)) == 50
    with socket.socket() as server:
        server.bind(("127.0.0.1", ports[0]))


async def test_no_other_process_is_given_them_meanwhile(tmp_path: Path) -> None:
    given = "from sandbox.ports import free_port; print(*(free_port() for _ in range(100)))"
    process = Process(
        "other",
        [sys.executable, "-c", f"{given}; {_SLEEPS}"],
        log=tmp_path / "other.log",
        cwd=Path(__file__).parents[2],
    )
    process.start()
    async with asyncio.timeout(_DEADLINE):
        while "up" not in process.log_tail():
            await asyncio.sleep(0.01)
    theirs = set(map(int, process.log_tail().split()[:100]))
    ours = {free_port() for _ in range(600)}  # more than one block
    await process.stop()

    assert len(theirs) == 100
    assert not theirs & ours


async def test_a_pod_is_gone_when_its_processes_are(tmp_path: Path) -> None:
    """Also where the first call to stop it was cancelled on its way."""
    container = {"name": "app", "image": "app:1", "command": ["python", "-c", _SLEEPS]}
    pod = {
        "metadata": {
            "name": "app-1", "namespace": "default", "uid": "u1", "labels": {"app.kubernetes.io/part-of": "serinus"},
        },
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }  # fmt: skip
    async with ApiServer() as server, server.api() as api:
        await api.until("/api/v1/namespaces/default/serviceaccounts/default", lambda _: True)
        runner = ProcessRunner(api, tmp_path)
        await runner.start(pod)
        [running] = runner.containers("app")
        async with asyncio.timeout(_DEADLINE):
            while "up" not in running.process.log_tail():
                await asyncio.sleep(0.01)
        stopping = asyncio.create_task(runner.stop(pod))
        await asyncio.sleep(0)
        assert (runner.containers("app"), runner.gone("app"), runner.gone("other")) == ([], False, True)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await runner.stop(pod)
        assert (runner.gone("app"), running.process.alive) == (True, False)


def test_of_a_log_only_whole_lines_are_read(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("one\n\ntwo\nthr")

    assert written(log) == [b"one", b"", b"two"]


def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("SERINUS_CACHE", raising=False)
    assert cache_dir() == tmp_path / "xdg" / "serinus"

    monkeypatch.setenv("SERINUS_CACHE", str(tmp_path / "own"))
    assert cache_dir().is_dir()
    assert cache_dir() == tmp_path / "own"


@pytest.mark.skipif(not Path("/usr/bin/openssl").exists(), reason="OpenSSL is who says whether the key is one")
def test_the_signing_key_is_a_valid_one() -> None:
    command = ["openssl", "ec", "-check", "-noout"]
    answer = subprocess.run(command, input=signing.private_key_pem(), capture_output=True, text=True, check=False)

    assert answer.returncode == 0, answer.stderr


def test_a_stopped_process_does_nothing_more(tmp_path: Path) -> None:
    """Each of its threads."""
    busy = "import threading\nfor _ in range(4): threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()"
    child = Process("busy", [sys.executable, "-c", busy], log=tmp_path / "log")
    child.start()
    try:
        child.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{child.pid}/task").glob("*/stat")
        assert {each.read_text().rpartition(")")[2].split()[0] for each in tasks} == {"T"}
    finally:
        child.kill()
