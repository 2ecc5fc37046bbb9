"""The gateway as a process would be: a port for users, a port for Prometheus, and a configuration that arrives late."""

import asyncio
import contextlib
import functools
import math
import random
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

import aiohttp
from aiohttp import web

from sandbox.controlplane.api import Json
from sandbox.forwarding import Forwarder
from sandbox.gateway import config, dialect, plugins
from sandbox.gateway.balancing import Worker
from sandbox.gateway.matching import Match, Table
from sandbox.gateway.metrics import Meter, Seen
from sandbox.listener import Listener
from sandbox.network import Network, ServiceTable

_COPY_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)
METRICS_PATH: Final = "/apisix/prometheus/metrics"


class Gateway:
    """Started by `async with`, and configured by `apply`: `controller.follow` does that from a cluster.

    The knobs are plain attributes. `lag` is in seconds, from `apply` until the configuration is in force, or asked for
    each one: the order stays. `host` is the name under which the Network knows the gateway. `global_prefer_name` stands
    for a global rule with the prometheus plugin: None means that there is none, and only rules with a plugin of their
    own are measured.
    """

    def __init__(
        self,
        network: Network,
        *,
        version: str = "2.15.3",
        workers: int = 1,
        lag: float | Callable[[], float] = 0.0,
        upstream_lag: float = 0.0,
        host: str = "apisix-gateway.apisix",
        refresh_interval: float | None = None,
        global_prefer_name: bool | None = None,
        default_class: bool = True,
        chance: Callable[[], float] = random.random,
        http_port: int = 0,
        metrics_port: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dialect = dialect.dialect(version)
        self.lag = lag
        self.upstream_lag = upstream_lag
        """Seconds for which the further upstreams of a new rule don't exist yet (controller 2.x with etcd)."""
        self.default_class = default_class
        self.meter = Meter(self.dialect)
        self._network = network
        self._host = host
        self._refresh = self.dialect.refresh_interval if refresh_interval is None else refresh_interval
        self.global_prefer_name = global_prefer_name
        self._chance = chance
        self._monotonic = monotonic
        self.memo = config.Memo()
        self._rules: dict[config.Key, tuple[config.Rule, ...]] = {}
        self._born: dict[str, float] = {}
        self._table = Table()
        self._forwarder = Forwarder()
        self._http = Listener(*(functools.partial(self._serve, Worker()) for _ in range(workers)), port=http_port)
        self._metrics = Listener(self._scrape, port=metrics_port)
        self._page: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._pending: set[asyncio.TimerHandle] = set()
        self._latest = 0.0
        self._copies: set[asyncio.Task[None]] = set()

    @property
    def http_port(self) -> int:
        """Where users' requests go, told apart by their Host."""
        return self._http.port

    @property
    def metrics_port(self) -> int:
        """Where Prometheus scrapes METRICS_PATH."""
        return self._metrics.port

    async def __aenter__(self) -> Self:
        await self._forwarder.__aenter__()
        await self._http.start()
        await self._metrics.start()
        self._network.claim(self._host, 80, self.http_port)
        if self._refresh:
            self._page = self.meter.page()
            self._task = asyncio.create_task(self._render())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for timer in self._pending:
            timer.cancel()
        self._network.release(self._host, 80)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._http.stop()
        copies = list(self._copies)  # by now nobody sends another one
        for task in copies:
            task.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        await self._metrics.stop()
        await self._forwarder.__aexit__(kind, error, trace)

    def apply(self, routes: Iterable[Json], services: Iterable[Json], slices: Iterable[Json]) -> None:
        """All objects of the cluster as they are now. kube-proxy knows at once, the gateway after its lag."""
        table = ServiceTable(services, slices)
        self._network.follow(table)
        given, now = list(routes), asyncio.get_running_loop().time()
        lag = self.lag() if callable(self.lag) else self.lag
        if lag <= 0 and self._latest < now:
            self._configure(given, table)
            return
        self._latest = max(now + lag, math.nextafter(self._latest, math.inf))
        timer = asyncio.get_running_loop().call_at(self._latest, self._configure, given, table)
        self._pending = {known for known in self._pending if known.when() > now} | {timer}

    def _configure(self, routes: list[Json], table: ServiceTable) -> None:
        self._rules = config.translate(
            routes, table, self._rules, self.dialect, default_class=self.default_class, memo=self.memo
        )
        rules = [rule for of_route in self._rules.values() for rule in of_route]
        now = self._monotonic()
        self._born = {rule.name: self._born.get(rule.name, now) for rule in rules}
        self._table = Table(rules, host_first=self.dialect.host_first)

    async def _render(self) -> None:
        """Newer versions render the page on their own time and hand out the same text until the next."""
        while True:
            await asyncio.sleep(self._refresh)
            self._page = self.meter.page()

    async def _scrape(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != METRICS_PATH:
            return web.Response(status=404)
        return web.Response(text=self.meter.page() if self._page is None else self._page)

    async def _serve(self, worker: Worker, request: web.BaseRequest) -> web.StreamResponse:
        started = self._monotonic()
        self.meter.arrived()
        match = self._table.find(request)
        if match is None:
            return self._own(404, '{"error_msg":"404 Route Not Found"}')
        if match.rule.mirror is not None and self._chance() < match.rule.mirror.ratio:
            await request.read()  # here, since the request is over when its copy is sent
            task = asyncio.create_task(self._copy(match.rule.mirror, request))
            self._copies.add(task)
            task.add_done_callback(self._copies.discard)
        exchange = await self._answer(worker, match.rule, request)
        if match.rule.rewrite is not None:
            match.rule.rewrite.apply(request, exchange.response, exchange.node)
        prefer_name = self.global_prefer_name if match.rule.prefer_name is None else match.rule.prefer_name
        if prefer_name is not None:
            self.meter.count(self._seen(match, prefer_name, request, exchange, self._monotonic() - started))
        return exchange.response

    async def _copy(self, mirror: plugins.Mirror, request: web.BaseRequest) -> None:
        """Nobody hears what becomes of it."""
        listener = self._network.resolve(mirror.host, mirror.port)
        if listener is not None:
            with contextlib.suppress(aiohttp.ClientError):
                await self._forwarder.send(request, listener, request.raw_path, _COPY_TIMEOUT)

    async def _answer(self, worker: Worker, rule: config.Rule, request: web.BaseRequest) -> "Exchange":
        if rule.abort is not None:
            return Exchange(self._own(rule.abort, "Fault Injection!"))
        if not rule.backends:
            return Exchange(self._own(503))
        unborn = len(rule.backends) > 1 and self._monotonic() - self._born[rule.name] < self.upstream_lag
        if unborn and self.dialect.strict_upstreams:
            return Exchange(self._own(500))
        backend = worker.backend(rule)
        if unborn and backend is not rule.backends[0]:
            return Exchange(self._own(502))
        exchange = Exchange(self._own(503))  # what remains if there is nobody to ask
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=rule.connect_timeout, sock_read=rule.read_timeout)
        began = self._monotonic()
        for node in worker.nodes(rule, backend):
            exchange = Exchange(self._own(502), node=node.host, source="nginx")
            try:
                listener = self._network.resolve(node.host, node.port)
                if listener is not None:
                    exchange.response = await self._forwarder.send(request, listener, request.raw_path, timeout)
                    exchange.source = "upstream"
                    break
            except aiohttp.ServerTimeoutError:
                exchange.response = self._own(504)
            except aiohttp.ClientError:
                pass  # refused or cut off: the next node
        if exchange.node:
            exchange.upstream_seconds = self._monotonic() - began
        return exchange

    def _own(self, status: int, text: str = "") -> web.Response:
        """An answer of the gateway itself."""
        return web.Response(status=status, text=text, headers={"Server": f"APISIX/{self.dialect.version}"})

    def _seen(
        self, match: Match, prefer_name: bool, request: web.BaseRequest, exchange: "Exchange", seconds: float
    ) -> Seen:
        upstream = exchange.upstream_seconds
        body = exchange.response.body
        return Seen(
            code=exchange.response.status,
            route=config.label(match.rule.name, prefer_name),
            matched_uri=match.path,
            matched_host=match.host,
            service=config.label(match.rule.service, prefer_name),
            node=exchange.node,
            source=exchange.source,
            request_time=seconds * 1000,
            upstream_time=None if upstream is None else upstream * 1000,
            ingress=_size(request.headers.items()) + (request.content_length or 0),
            egress=_size(exchange.response.headers.items()) + (len(body) if isinstance(body, bytes) else 0),
        )


class Exchange:
    """What became of one request: the response, and whom the metrics charge with it."""

    __slots__ = ("node", "response", "source", "upstream_seconds")

    def __init__(self, response: web.Response, *, node: str = "", source: str = "apisix") -> None:
        self.response = response
        self.node = node
        self.source = source
        self.upstream_seconds: float | None = None


def _size(headers: Iterable[tuple[str, str]]) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers)
