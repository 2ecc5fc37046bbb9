"""What Kubernetes and Prometheus ask of a process: /livez, /readyz, /healthz and /metrics on one port."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web

from shared.runtime.clock import Clock
from shared.runtime.metrics import CONTENT_TYPE, Metrics

_ABSENT: Final = "not started yet"


@dataclass(slots=True)
class _Beat:
    within: float
    last: float


class Health:
    """What is ready and what is alive. Anyone with a part in it registers once and reports changes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._components: dict[str, str] = {}
        self._probes: dict[str, Callable[[], str]] = {}
        self._beats: dict[str, _Beat] = {}

    def component(self, name: str) -> None:
        """Registers something without which the process isn't ready; it starts as missing."""
        self._components.setdefault(name, _ABSENT)

    def set(self, name: str, ok: bool, reason: str = "") -> None:
        """Reports a component's state; the reason is shown while it isn't ok."""
        self._components[name] = "" if ok else reason or "not ok"

    def probe(self, name: str, ask: Callable[[], str]) -> None:
        """Registers a component that is asked each time instead of reporting: a reason, or nothing when it's ok."""
        self._probes[name] = ask

    def heartbeat(self, name: str, within: float) -> Callable[[], None]:
        """A function to call at least every `within` seconds; silence for longer makes the process not alive."""
        self._beats[name] = _Beat(within, self._clock.monotonic())
        return partial(self.beat, name)

    def beat(self, name: str) -> None:
        """The same by name; one that isn't registered is nobody's."""
        if name in self._beats:
            self._beats[name].last = self._clock.monotonic()

    def stopped(self, name: str) -> None:
        """Forgets a heartbeat whose owner has ended in order."""
        self._beats.pop(name, None)

    def missing(self) -> dict[str, str]:
        """Why the process isn't ready: component → reason. Empty when it is."""
        states = self._components | {name: ask() for name, ask in self._probes.items()}
        return {name: reason for name, reason in states.items() if reason}

    def silent(self) -> dict[str, str]:
        """Why the process isn't alive: heartbeat → how long it has been silent. Empty when it is."""
        now = self._clock.monotonic()
        return {
            name: f"silent for {now - beat.last:.0f} s"
            for name, beat in self._beats.items()
            if now - beat.last > beat.within
        }


async def listen(health: Health, metrics: Metrics, *, host: str, port: int, stack: AsyncExitStack) -> int:
    """Serves until the stack is closed; answers the port, which the system chooses when 0 was asked for."""

    def state(problems: dict[str, str], good: str) -> web.Response:
        body = {"status": "no", "missing": problems} if problems else {"status": good}
        return web.json_response(body, status=503 if problems else 200)

    async def livez(_: web.Request) -> web.Response:
        return state(health.silent(), "alive")

    async def readyz(_: web.Request) -> web.Response:
        return state(health.missing(), "ready")

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/healthz", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", exposition)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port).start()
    return int(runner.addresses[0][1])
