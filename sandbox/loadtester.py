"""The load tester that the guide's webhooks talk to: its gates, and its `cmd` tasks as far as they're `hey`.

Requests are really sent, over the loopback, to whatever the Network has under the command's URL.
"""

import argparse
import asyncio
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, NoReturn, Self

import aiohttp
from aiohttp import web
from yarl import URL

from sandbox.listener import Listener
from sandbox.network import Network

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_TASK: Final = 3600.0


class Unknown(Exception):
    """Not a command that this double understands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one `hey` command asks for. `rate` is per worker and second, 0 for as fast as possible."""

    url: URL
    duration: float
    """Seconds; 0 means `number` requests instead."""
    number: int
    workers: int
    rate: float
    method: str
    headers: dict[str, str]
    timeout: float


class LoadTester:
    """An async context manager. It has the name `host` in the Network, on port 80."""

    def __init__(self, network: Network, *, host: str = "flagger-loadtester.test", port: int = 0) -> None:
        self.gates: dict[str, bool] = {}
        """By `<name>.<namespace>` and `rollback.<name>.<namespace>`; closed if it isn't in there."""
        self.payloads: list[tuple[str, Any]] = []
        """Path and body of every webhook that had one."""
        self.answers: Counter[int] = Counter()
        """Of the load so far, by status; 0 where no answer came."""
        self.failed: list[str] = []
        """Commands that couldn't be run, each with the reason."""
        self._network = network
        self._host = host
        self._listener = Listener(self._handle, port=port)
        self._session: aiohttp.ClientSession | None = None
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    @property
    def port(self) -> int:
        """Its loopback port."""
        return self._listener.port

    @property
    def running(self) -> list[tuple[str, str]]:
        """The tasks under way: canary and command."""
        return list(self._tasks)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
        )
        await self._listener.start()
        self._network.claim(self._host, 80, self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._network.release(self._host, 80)
        await self._listener.stop()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            await asyncio.sleep(0)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        match request.path:
            case "/healthz" | "/gate/approve":
                return web.Response(text="OK")
            case "/gate/halt":
                return web.Response(status=403, text="Forbidden")
        try:
            payload = json.loads(await request.read())
            key = f"{payload['name']}.{payload['namespace']}"
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400)
        self.payloads.append((request.path, payload))
        if found := re.fullmatch(r"/(gate|rollback)/(check|open|close)", request.path):
            return self._gate(found[2], f"rollback.{key}" if found[1] == "rollback" else key)
        return self._task(request, key, payload.get("metadata") or {})

    def _gate(self, verb: str, key: str) -> web.Response:
        if verb != "check":
            self.gates[key] = verb == "open"
            return web.Response(status=202)
        if self.gates.get(key, False):
            return web.Response(text="Approved")
        return web.Response(status=403, text="Forbidden")

    def _task(self, request: web.BaseRequest, canary: str, metadata: dict[str, str]) -> web.Response:
        if not metadata:
            return web.Response(status=400, text="metadata not found in payload")
        kind, command = metadata.get("type", "cmd"), metadata.get("cmd")
        if kind not in ("cmd", "bash"):
            if request.transport is not None:  # the original panics here, and its server hangs up
                request.transport.abort()
            return web.Response(status=500)
        if command is None:
            return web.Response(status=400, text="cmd not found in metadata")
        if kind == "bash":
            return web.Response(status=500, text=f"command {command} failed: : the sandbox runs no shell")
        self._start(canary, command)
        return web.Response(status=202)

    def _start(self, canary: str, command: str) -> None:
        """Unless the same command already runs for the same canary."""
        key = (canary, command)
        if key in self._tasks:
            return
        try:
            load = parse(command)
        except Unknown as error:
            self.failed.append(f"{command}: {error}")
            return
        task = self._tasks[key] = asyncio.create_task(self._run(load))
        task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def _run(self, load: Load) -> None:
        now = asyncio.get_running_loop().time
        end = now() + (load.duration or _LONGEST_TASK)
        share, left = divmod(load.number, load.workers)
        async with asyncio.TaskGroup() as group:
            for worker in range(load.workers):
                number = None if load.duration else share + (worker < left)
                group.create_task(self._worker(load, number, end, now))

    async def _worker(self, load: Load, number: int | None, end: float, now: Callable[[], float]) -> None:
        due = now()
        while number != 0 and now() < end:
            if load.rate:
                # Late turns are dropped, never made up for: a slow application gets less load, as from the real tool.
                due = max(due + 1 / load.rate, now())
                if due >= end:
                    return
                await asyncio.sleep(due - now())
            self.answers[await self._ask(load)] += 1
            number = None if number is None else number - 1

    async def _ask(self, load: Load) -> int:
        assert self._session is not None
        host, port = load.url.host or "", load.url.port or 80
        listener = self._network.resolve(host, port)
        if listener is None:
            await asyncio.sleep(0.01)  # a refused connection takes a moment, too: no endless loop without a pause
            return 0
        url = load.url.with_scheme("http").with_host("127.0.0.1").with_port(listener)
        try:
            async with self._session.request(
                load.method, url, headers=load.headers, timeout=aiohttp.ClientTimeout(total=load.timeout)
            ) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


class _Parser(argparse.ArgumentParser):
    """Raises instead of ending our process."""

    def error(self, message: str) -> NoReturn:
        raise Unknown(message)


def parse(command: str) -> Load:
    """A `hey` command line; raises Unknown for any other, and for options that would change the load unnoticed."""
    try:
        program, *arguments = shlex.split(command)
    except ValueError as error:
        raise Unknown(str(error)) from None
    if program.rpartition("/")[2] != "hey":
        raise Unknown("the sandbox's load tester only knows hey")
    given = _parser().parse_args(arguments)
    headers = {"Host": given.host} if given.host else {}
    for header in given.H:
        name, _, value = header.partition(":")
        headers[name.strip()] = value.strip()
    return Load(
        url=URL(given.url),
        duration=seconds(given.z) if given.z else 0.0,
        number=given.n,
        workers=given.c,
        rate=given.q,
        method=given.m,
        headers=headers,
        timeout=given.t,
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hey", add_help=False, allow_abbrev=False)
    parser.add_argument("-z", default="")
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("-q", type=float, default=0.0)
    parser.add_argument("-c", type=int, default=50)
    parser.add_argument("-m", default="GET")
    parser.add_argument("-t", type=float, default=20.0)
    parser.add_argument("-host", default="")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-h2", action="store_true")  # over plain HTTP there is no version 2 to negotiate
    parser.add_argument("url")
    return parser


def seconds(text: str) -> float:
    """Of a Go duration like `1m30s`."""
    parts = re.findall(r"([\d.]+)(ms|s|m|h)", text)
    if not parts or "".join(map("".join, parts)) != text:
        raise Unknown(f"{text!r} is no duration")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
