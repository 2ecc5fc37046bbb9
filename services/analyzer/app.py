"""Builds the analyzer's real parts and starts them."""

import asyncio
import logging
import os
import socket
from typing import Final

import aiohttp
from pydantic import TypeAdapter

from services.analyzer.handlers import Analyzer
from services.analyzer.prometheus import Observe, Prometheus
from services.analyzer.secrets import Secrets
from services.analyzer.settings import AnalyzerSettings
from services.analyzer.webhooks import Webhooks
from shared.bus import broker as bus
from shared.bus.consume import consume
from shared.bus.delivery import Delivery
from shared.bus.markers import Markers
from shared.bus.publish import Publisher
from shared.kube import door as kube
from shared.runtime.metrics import Metrics
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import Glance, Tick

log = logging.getLogger(__name__)

SERVICE: Final = "analyzer"

MAX_DELIVER: Final = 20
"""Deliveries of a tick before it becomes a dead letter; its canary is then found by the router's sweep."""


GLANCING: Final = 2
"""Looks between ticks at the same time: each is one query."""

QUERIES: Final = 4
"""Queries of a tick that are asked at the same time, in general: two builtin checks and the evidence."""


async def app(settings: AnalyzerSettings, runtime: Runtime) -> None:
    """Composes the process and starts consuming."""
    broker = bus.make_broker(settings, SERVICE, lambda: runtime.fail("the connection to NATS is closed"))
    analyzer = await _analyzer(settings, runtime, Markers(broker), Publisher(broker, runtime))

    async def on_tick(tick: Tick, delivery: Delivery) -> None:
        await analyzer.on_tick(tick, delivery.sequence)

    consume(
        broker,
        stream=subjects.TICK_STREAM,
        durable=subjects.ANALYZER_DURABLE,
        filter_subject=subjects.TICKS,
        decode=TypeAdapter(Tick),
        handler=on_tick,
        runtime=runtime,
        service=SERVICE,
        workers=settings.analyzer_concurrency,
        max_deliver=MAX_DELIVER,
    )

    async def on_glance(glance: Glance, _: Delivery) -> None:
        await analyzer.on_glance(glance)

    consume(
        broker,
        stream=subjects.TICK_STREAM,
        durable=subjects.GLANCES_DURABLE,
        filter_subject=subjects.GLANCES,
        decode=TypeAdapter(Glance),
        handler=on_glance,
        runtime=runtime,
        service=SERVICE,
        workers=GLANCING,
        max_deliver=MAX_DELIVER,
    )
    await bus.connect(broker, runtime)


async def _analyzer(settings: AnalyzerSettings, runtime: Runtime, markers: Markers, outbox: Publisher) -> Analyzer:
    clock, metrics, stack = runtime.clock, runtime.metrics, runtime.stack
    cluster = await kube.connect(settings, field_manager=f"serinus-{SERVICE}", observe=_kubernetes(metrics))
    stack.push_async_callback(cluster.close)
    session = await stack.enter_async_context(
        aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar())
    )
    secrets = Secrets(cluster, clock.monotonic)
    stack.push_async_callback(secrets.close)
    prometheus = Prometheus(
        secrets,
        threads=QUERIES * settings.analyzer_concurrency,
        monotonic=clock.monotonic,
        observe=_queries(metrics),
        tell=log.warning,
    )
    stack.push_async_callback(prometheus.close)
    return Analyzer(
        prometheus=prometheus,
        hooks=Webhooks(session, sleep=asyncio.sleep, now=clock.now),
        markers=markers,
        outbox=outbox,
        clock=clock,
        meter=metrics,
        judged_by=f"{socket.gethostname()}/{os.getpid()}",
    )


def _queries(metrics: Metrics) -> Observe:
    def observe(reason: str, seconds: float) -> None:
        metrics.observe("serinus_prometheus_query_seconds", seconds)
        if reason:
            metrics.inc("serinus_prometheus_errors_total", reason=reason)

    return observe


def _kubernetes(metrics: Metrics) -> kube.Observe:
    def observe(_verb: str, _kind: str, _outcome: str, seconds: float) -> None:
        metrics.observe("serinus_kubernetes_seconds", seconds)

    return observe
