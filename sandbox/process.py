"""Child processes of the sandbox and the tests: started by us, ended by their id, never outliving us.

Every server the sandbox runs (etcd, kube-apiserver, nats-server, Prometheus, our own services) is a `Process`. Its
output goes to a file, because a pipe nobody reads blocks the child.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def written(log: Path) -> list[bytes]:
    """The lines of a log that are all there: of one that is being written at this moment, a reader may see the half."""
    return log.read_bytes().split(b"\n")[:-1]


class ProcessFailed(Exception):
    """A child ended when it should be running; the message carries the end of its log."""


class Process:
    """One child process with its log file. It can be started again after it ended (the log is appended to).

    On Linux the kernel kills the child when the *thread* that started it ends: call `start` from the thread that
    lives as long as the child should (the one of the event loop), never through `asyncio.to_thread`.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.name = name
        self.argv = [str(part) for part in argv]
        self.env = env  # None: our own
        self.log = log
        self.cwd = cwd
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running (or last) child."""
        return self._started().pid

    @property
    def alive(self) -> bool:
        """True while the child runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def returncode(self) -> int | None:
        """How the child ended (negative: by that signal); None while it runs or before its first start."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        """Start the child. Answers once the program is being executed, which doesn't mean that it's ready."""
        if self.alive:
            raise RuntimeError(f"{self.name} already runs as {self.pid}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log, warnings.catch_warnings():
            # Python 3.12 and later warn of any code between fork and exec in a threaded process; ours is one system call.
            warnings.simplefilter("ignore", DeprecationWarning)
            # A session of its own: Ctrl-C in the terminal reaches us alone, and we end the children in order.
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self.env is None else dict(self.env),
                cwd=self.cwd,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )

    def signal(self, number: int) -> None:
        """Send a signal to the child itself (SIGSTOP, SIGHUP, …); nothing happens if it has ended. A stopped one does nothing
        more when this returns: its threads stop one after the other, and may answer somebody until they do."""
        child = self._started()
        child.send_signal(number)
        if number == signal.SIGSTOP and child.returncode is None:
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self) -> None:
        """End the child, and whatever it started, at once; nothing happens if it has ended."""
        child = self._child
        if child is None or child.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # the session we made for it: its group has its id
        child.wait()

    def terminate(self, timeout: float = 10.0) -> int | None:
        """Ask the child to end, kill it if it hasn't within `timeout` seconds. Blocks; `stop` is for event loops."""
        if self._child is not None and self.alive:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout)
            self.kill()
        return self.returncode

    async def stop(self, timeout: float = 10.0) -> int | None:
        """Like `terminate`, without blocking the event loop."""
        if self._child is not None and self.alive:
            self._child.terminate()
            try:
                async with asyncio.timeout(timeout):
                    await self.exited()
            except TimeoutError:
                pass
            finally:
                self.kill()
        return self.returncode

    async def exited(self) -> int:
        """Wait until the child has ended; answers its return code."""
        child = self._started()
        if child.poll() is None:
            await (_gone(child.pid) if hasattr(os, "pidfd_open") else asyncio.to_thread(child.wait))
        return child.wait()

    def log_tail(self, lines: int = 20) -> str:
        """The end of the log, for error messages."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def check(self) -> None:
        """Raise ProcessFailed, with the end of the log, unless the child runs."""
        if not self.alive:
            raise ProcessFailed(f"{self.name} ended with {self.returncode}:\n{self.log_tail()}")

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child


async def _gone(pid: int) -> None:
    """Wait for the end of a child of ours without a thread or a poll: its pidfd becomes readable."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    fd = os.pidfd_open(pid)
    try:
        loop.add_reader(fd, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


def _die_with(parent: int) -> Callable[[], None] | None:
    """What the child does before its program starts, so that it gets SIGKILL when we die however we die.

    The library is opened here, before the fork: loading it in the child of a threaded process could deadlock.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def before_exec() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died between the fork and the line above
            os._exit(1)

    return before_exec
