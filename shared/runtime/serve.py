"""The life of a process: start, run until told to stop, stop in order, or die loudly; never linger half alive.

SIGTERM or SIGINT: not ready any more, consuming stops, running handlers get up to 15 s, then everything is closed.
Exit codes: 0 told to stop or done, 1 failed, 2 bad settings.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar

from opentelemetry.trace import Tracer

from shared.runtime import health, logs, tasks, telemetry
from shared.runtime.clock import Clock, SystemClock
from shared.runtime.health import Health
from shared.runtime.metrics import Metrics
from shared.runtime.settings import ServiceSettings

log = logging.getLogger(__name__)

S = TypeVar("S", bound=ServiceSettings)

LAST_RESORT: Final = 28.0
"""Seconds from the order to stop to the hard end, whatever hangs: below Kubernetes' default grace period of 30."""


@dataclass(kw_only=True)
class Runtime:
    """What composition gets: everything that is the same in all processes."""

    service: str
    clock: Clock
    metrics: Metrics
    health: Health
    tracer: Tracer
    stack: AsyncExitStack
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str = ""

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts an essential task, cancelled at the end. If it ends before, however it does, the process fails."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self.stack.push_async_callback(tasks.ended, task)
        return task

    def fail(self, reason: str) -> None:
        """Ends the process in order but with exit code 1 and one log line. The first reason counts."""
        if not self.failure and not self.stop.is_set():
            self.failure = reason
            log.error("failed: %s", reason)
        self.stop.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            reason = f"{task.get_name()} was cancelled"
        elif error := task.exception():
            reason = f"{task.get_name()} ended: {type(error).__name__}: {error}"
            if not self.stop.is_set():
                log.error("%s", reason, exc_info=error)
        else:
            reason = f"{task.get_name()} ended"
        self.fail(reason)


def main(
    service: str,
    settings_cls: type[S],
    app: Callable[[S, Runtime], Awaitable[None]],
    *,
    http: bool = True,
    last_resort: float = LAST_RESORT,
) -> NoReturn:
    """Runs a process: `app` composes and starts, and returns; the process then lives until a signal or `fail`.

    A command rather than a service sets `runtime.stop` when it's done, and may do without the HTTP server.
    """
    logs.configure(service)
    settings = settings_cls.load()
    logs.configure(service, settings.log_level)
    sys.exit(asyncio.run(_live(service, settings, app, http=http, last_resort=last_resort)))


async def _live(
    service: str, settings: S, app: Callable[[S, Runtime], Awaitable[None]], *, http: bool, last_resort: float
) -> int:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.loop_error)
    clock, stack = SystemClock(), AsyncExitStack()
    traces = telemetry.traces(service, settings.otel_exporter_otlp_endpoint)
    runtime = Runtime(
        service=service,
        clock=clock,
        metrics=Metrics(service),
        health=Health(clock),
        tracer=traces.tracer,
        stack=stack,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _told, runtime, number)
    stack.push_async_callback(traces.close)
    try:
        if http:
            await _listen(runtime, settings)
        if not runtime.stop.is_set():
            await _run(runtime, app(settings, runtime))
    finally:
        runtime.stop.set()
        _die_in(last_resort)
        await _close(runtime)
    log.info("stopped")
    return 1 if runtime.failure else 0


async def _listen(runtime: Runtime, settings: ServiceSettings) -> None:
    try:
        port = await health.listen(
            runtime.health, runtime.metrics, host=settings.http_host, port=settings.http_port, stack=runtime.stack
        )
    except OSError as error:
        runtime.fail(f"can't listen on {settings.http_host}:{settings.http_port}: {error}")
        return
    log.info("listening on %s:%s", settings.http_host, port)


async def _run(runtime: Runtime, start: Awaitable[None]) -> None:
    """Starts, and waits for the end; an order to stop that comes during the start cuts it short."""
    runtime.health.component("start")
    starting = asyncio.ensure_future(start)
    waiting = asyncio.ensure_future(runtime.stop.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not starting.cancelled() and (error := starting.exception()):
        log.error("the start failed", exc_info=error)
        runtime.fail(f"the start failed: {type(error).__name__}: {error}")
    elif starting.done():
        runtime.health.set("start", True)
        await waiting
    await tasks.ended(starting, waiting)
    runtime.health.set("start", False, "stopping")


async def _close(runtime: Runtime) -> None:
    try:
        await runtime.stack.aclose()
    except Exception:  # the last thing that happens; it must not hide why we stop
        log.exception("closing failed")
        runtime.failure = runtime.failure or "closing failed"


def _told(runtime: Runtime, number: signal.Signals) -> None:
    if not runtime.stop.is_set():
        log.info("told to stop by %s", number.name)
        runtime.stop.set()


def _die_in(seconds: float) -> None:
    """Ends the process hard after a while. A thread that hangs in a client library would keep it alive for ever."""

    def die() -> None:
        log.error("failed: still running %.0f s after the order to stop", seconds)
        os._exit(1)

    timer = threading.Timer(seconds, die)
    timer.daemon = True
    timer.start()
