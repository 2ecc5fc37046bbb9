"""Small processes that behave as the tests want: `python -m tests.unit.runtime.programs <name>`."""

import asyncio
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import NoReturn

from pydantic import Field

from shared.runtime import logs, serve
from shared.runtime.serve import Runtime
from shared.runtime.settings import ServiceSettings

log = logging.getLogger("tests.program")


class Settings(ServiceSettings):
    """One that must be given, beside what every process has."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535, description="TCP port.")
    needed: str = Field(default="given", description="What it can't do without.")


class Needy(Settings):
    needed: str = Field(description="What it can't do without.")


async def orderly(_: Settings, runtime: Runtime) -> None:
    """Says when its parts are closed: the last opened first."""
    for name in ("first", "second"):
        runtime.stack.callback(log.info, "closing the %s", name)

    async def lingering() -> None:
        deadline = runtime.clock.monotonic() + 20
        while not os.access(sys.argv[2], os.F_OK) and runtime.clock.monotonic() < deadline:
            await asyncio.sleep(0.02)

    if len(sys.argv) > 2:
        runtime.stack.push_async_callback(lingering)
    log.info("started")


async def failing_start(_: Settings, __: Runtime) -> None:
    raise ConnectionError("nobody there")


async def endless_start(_: Settings, __: Runtime) -> None:
    log.info("starting")
    await asyncio.Event().wait()


async def mortal(_: Settings, runtime: Runtime) -> None:
    async def part() -> None:
        raise ValueError("a fault of ours")

    runtime.spawn("part", part())


async def finished(_: Settings, runtime: Runtime) -> None:
    runtime.stop.set()


async def hanging(_: Settings, runtime: Runtime) -> None:
    """A client library that never lets go, in the loop and in a thread."""
    threading.Thread(target=time.sleep, args=(60,)).start()
    runtime.stack.push_async_callback(asyncio.Event().wait)
    log.info("started")


async def traced(_: Settings, runtime: Runtime) -> None:
    with runtime.tracer.start_as_current_span("start"):
        log.info("started")


class Sore:
    def __del__(self) -> None:
        raise KeyError("from a destructor")


def noisy() -> NoReturn:
    """Everything that may be written by anybody, and then a crash."""
    logs.configure("watcher", "debug")
    log.info("grüße %s", "\udcff\nand a second line", extra={"odd": object(), "msg_id": 7})
    with logs.bound("podinfo.test", "tick/1"):
        log.debug("inside")
    logging.getLogger("aiohttp.client").debug("a whole body")
    logging.getLogger("nats.aio.client").warning("a library's word")
    log.info("%d", "not a number")
    warnings.warn("something is old", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=lambda: 1 / 0, name="worker")
    thread.start()
    thread.join()
    Sore()

    async def careless() -> None:
        asyncio.get_running_loop().set_exception_handler(logs.loop_error)
        task = asyncio.ensure_future(asyncio.to_thread(int, "x"))
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0)

    asyncio.run(careless())
    raise RuntimeError("the crash")


APPS: dict[str, tuple[type[Settings], Callable[[Settings, Runtime], Awaitable[None]]]] = {
    "orderly": (Settings, orderly),
    "failing_start": (Settings, failing_start),
    "endless_start": (Settings, endless_start),
    "mortal": (Settings, mortal),
    "finished": (Settings, finished),
    "hanging": (Settings, hanging),
    "traced": (Settings, traced),
    "needy": (Needy, orderly),
}

if __name__ == "__main__":
    if sys.argv[1] == "noisy":
        noisy()
    settings, app = APPS[sys.argv[1]]
    serve.main("watcher", settings, app, last_resort=0.5 if sys.argv[1] == "hanging" else serve.LAST_RESORT)
