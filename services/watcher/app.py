"""Composition: the caches listen, the handlers think, the outbox speaks."""

import asyncio
from functools import partial
from typing import Final

from opentelemetry.trace import SpanKind, Tracer

from services.watcher import handlers, memory
from services.watcher.handlers import Handlers
from services.watcher.outbox import Outbox
from services.watcher.ports import Bus
from services.watcher.settings import Settings
from shared.bus import broker as nats
from shared.bus.publish import Publisher
from shared.kube import door, measures
from shared.kube.caches import Caches
from shared.runtime.health import Health
from shared.runtime.serve import Runtime
from shared.wire.messages import Fact

COMPONENT: Final = "kubernetes"

CHECK: Final = 1.0
"""Seconds between looks at the caches' health; it asks nobody."""


async def app(settings: Settings, runtime: Runtime) -> None:
    """Starts everything and returns once NATS is there."""
    metrics = runtime.metrics
    runtime.health.component(COMPONENT)
    cluster = await door.connect(settings, field_manager="serinus-watcher", observe=measures.requests(metrics))
    runtime.stack.push_async_callback(cluster.close)
    broker = nats.make_broker(settings, "watcher", lambda: runtime.fail("the connection to NATS is closed for good"))
    outbox = Outbox(
        partial(tell, Publisher(broker, runtime), runtime.tracer),
        lambda kind, seconds: metrics.inc("serinus_facts_published_total", kind=kind),
    )
    ears = Handlers(cluster=cluster, outbox=outbox, default_provider=settings.mesh_provider)
    caches = Caches(
        cluster,
        memory.follow(config_tracking=settings.enable_config_tracking),
        namespaces=settings.namespaces,
        on_change=ears.changed,
        observe=measures.Watches(metrics),
    )
    runtime.spawn("caches", caches.run())
    runtime.spawn("ears", listen(caches, ears, runtime.health))
    await nats.connect(broker, runtime)
    runtime.spawn("outbox", outbox.run())


async def tell(bus: Bus, tracer: Tracer, fact: Fact) -> None:
    """Stores a fact. Here begins the trace of everything that it brings about."""
    name = f"{fact.canary.name}.{fact.canary.namespace}"
    with tracer.start_as_current_span(
        "watcher fact",
        kind=SpanKind.PRODUCER,
        attributes={"messaging.message.id": fact.id, "serinus.canary": name, "serinus.object": fact.object.kind},
    ):
        await handlers.store(bus, fact)


async def listen(caches: Caches, ears: Handlers, health: Health) -> None:
    """Lets the handlers speak once everything was listed, and tells ever after whether the caches are in order."""
    begun = False
    beat = health.heartbeat("ears", within=30.0)
    while True:
        beat()
        ailing = caches.ailing()
        if not begun and caches.synced():
            ears.begin(obj for kind in caches.kinds for obj in caches.all(kind))
            begun = True
        health.set(COMPONENT, begun and not ailing, f"not followed: {', '.join(ailing)}" if ailing else "")
        await asyncio.sleep(CHECK if begun else 0.05)
