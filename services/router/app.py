"""Composition of the router: real parts, passed down. Nothing else happens here."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final

from services.router import classes, handlers
from services.router.bus_watch import LOOK, BusWatch
from services.router.gauges import Gauges
from services.router.idle import keep_who_scales
from services.router.index import Index
from services.router.objects import Options
from services.router.ports import Cache
from services.router.reconcile import Reconciler, Rules
from services.router.schema import GLANCE, Gate, Schema, slim
from services.router.settings import RouterSettings
from services.router.sweep import Sweep
from services.router.world import METADATA_ONLY, OPTIONAL, WATCHED, World
from shared.bus import broker as bus
from shared.bus.publish import Publisher
from shared.kube import door, json, kinds, measures, versions
from shared.kube.caches import Caches, Follow
from shared.kube.errors import Forbidden, Gone
from shared.kube.events import Events
from shared.kube.informer import Informer, slim_managed_fields
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.runtime.metrics import VERSION
from shared.runtime.serve import Runtime

SERVICE: Final = "router"
FIELD_MANAGER: Final = "serinus-router"
CHECK: Final = 1.0
"""Seconds between looks at the caches' health; it asks nobody."""


class Kept:
    """One kind of `Caches`, as the world wants it."""

    def __init__(self, caches: Caches, kind: Kind) -> None:
        self._caches, self._kind = caches, kind

    def get(self, namespace: str, name: str) -> Json | None:
        return self._caches.get(self._kind, namespace, name)

    def all(self) -> Iterable[Json]:
        return self._caches.all(self._kind)

    def by_namespace(self, namespace: str) -> Iterable[Json]:
        return self._caches.by_namespace(self._kind, namespace)

    def absorb(self, obj: Json) -> None:
        self._caches.absorb(self._kind, obj)

    def forget(self, namespace: str, name: str, uid: str) -> None:
        self._caches.forget(self._kind, namespace, name, uid)

    async def current(self, namespace: str, name: str, resource_version: str, timeout: float) -> Json | None:
        return await self._caches.current(self._kind, namespace, name, resource_version, timeout)


def split(text: str) -> tuple[str, ...]:
    """A list in one setting."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


async def app(settings: RouterSettings, runtime: Runtime) -> None:
    """Connect, sync the caches, then take messages."""
    cluster = await door.connect(settings, field_manager=FIELD_MANAGER, observe=measures.requests(runtime.metrics))
    runtime.stack.push_async_callback(cluster.close)
    gauges, schema, index = _gauges(settings, runtime), Schema(), Index()

    def changed(kind: Kind, old: Json | None, new: Json | None) -> None:
        index.changed(kind, old, new)
        if kind == kinds.CANARY and reconciler.ours(new or old or {}):
            world.memory.learn(new) if new else world.memory.forget(json.uid(old))
            gauges.changed(old, new)

    follow = followed(tracking=settings.enable_config_tracking)
    caches = Caches(
        cluster, follow, namespaces=split(settings.watch_namespace), on_change=changed,
        observe=measures.Watches(runtime.metrics),
    )  # fmt: skip
    ingress = Informer(cluster, kinds.INGRESS_CLASS, keep=classes.slim, absent=(Gone, Forbidden))
    crds = Informer(cluster, kinds.CRD, keep=slim, on_change=partial(_crd_changed, schema, runtime))
    broker = bus.make_broker(settings, SERVICE, partial(runtime.fail, "the connection to NATS is closed for good"))
    publisher = Publisher(broker, runtime)
    kept: dict[Kind, Cache] = {kind: Kept(caches, kind) for kind in follow}
    world = World(
        kept, cluster, tracking=settings.enable_config_tracking, index=index,
        classes=lambda: tuple(ingress.all()) if ingress.known() else None,
    )  # fmt: skip
    reconciler = Reconciler(
        world, cluster, publisher, runtime.clock, _rules(settings),
        schema_problem=lambda: schema.problem, on_commit=gauges.committed,
        on_stale=lambda: runtime.metrics.inc("serinus_stale_messages_total"),
    )  # fmt: skip
    canaries, events = kept[kinds.CANARY], Events(cluster)
    gate = Gate(schema, canaries, reconciler.concerns, events, runtime.clock)
    await _sync(cluster, caches, (crds, ingress), runtime)
    _show(schema, runtime)
    await gate.once()
    runtime.spawn("look at the CRD", _every(GLANCE, gate.once))
    clock, metrics, period, outages = (
        runtime.clock,
        runtime.metrics,
        settings.sweep_seconds,
        lambda: broker.link.outages,
    )
    watch = BusWatch(broker.answers, canaries, reconciler, events, clock, metrics, outages)
    runtime.spawn("watch of the bus", _every(LOOK, watch.once))
    await bus.connect(broker, runtime, partial(handlers.register, broker, reconciler, runtime, gate.passed))
    sweep = Sweep(canaries, reconciler, publisher, clock, metrics, period, outages)
    runtime.spawn("sweep", _every(period, sweep.once, but=broker.link.down))


def _show(schema: Schema, runtime: Runtime) -> None:
    runtime.metrics.set("serinus_crd_incompatible", 1 if schema.problem else 0)
    runtime.health.set("crds", not schema.problem, schema.problem)


def _crd_changed(schema: Schema, runtime: Runtime, old: Json | None, new: Json | None) -> None:
    if schema.changed(old, new):
        _show(schema, runtime)


def _gauges(settings: RouterSettings, runtime: Runtime) -> Gauges:
    """Flagger's metrics, beginning with its version."""
    runtime.metrics.set("flagger_info", 1, version=VERSION, mesh_provider=settings.mesh_provider)
    return Gauges(runtime.metrics, runtime.clock.now)


def followed(*, tracking: bool) -> dict[Kind, Follow]:
    """What is watched, and how much of it is kept."""
    watched = [kind for kind in WATCHED if tracking or kind not in METADATA_ONLY]
    follow = {kind: Follow(metadata_only=kind in METADATA_ONLY, optional=kind in OPTIONAL) for kind in watched}
    others = {kinds.CANARY: slim_managed_fields, kinds.DEPLOYMENT: keep_who_scales}  # who else writes status and size
    return follow | {kind: Follow(keep=keep) for kind, keep in others.items()}


async def _sync(cluster: door.Cluster, caches: Caches, others: Sequence[Informer], runtime: Runtime) -> None:
    """Follows everything from now on; answers when all of it was listed once."""
    for name in ("kubernetes", "crds", "versions"):
        runtime.health.component(name)
    runtime.spawn("caches", caches.run())
    for each in others:
        runtime.spawn(each.kind.plural, each.run())
    runtime.spawn("health of caches", _watch_health(caches, runtime))
    # The watcher follows the same kinds; one of the two may say what is missing.
    fit = versions.wait(cluster, caches.needed, partial(runtime.health.set, "versions"), asyncio.sleep)
    await asyncio.gather(fit, caches.wait_synced(), *(each.wait_synced() for each in others))
    _look(caches, runtime)


async def _watch_health(caches: Caches, runtime: Runtime) -> None:
    while True:
        _look(caches, runtime)
        await asyncio.sleep(CHECK)


def _look(caches: Caches, runtime: Runtime) -> None:
    ailing = caches.ailing()
    runtime.health.set("kubernetes", not ailing, f"not followed: {', '.join(ailing)}")


async def _every(period: float, once: Callable[[], Awaitable[object]], but: asyncio.Event | None = None) -> None:
    """Again and again, but not while the event is set."""
    while True:
        await asyncio.sleep(period)
        if but is None or not but.is_set():
            await once()


def _rules(settings: RouterSettings) -> Rules:
    return Rules(
        default_provider=settings.mesh_provider,
        metrics_server=settings.metrics_server,
        drain=timedelta(seconds=settings.drain_seconds),
        options=Options(
            split(settings.selector_labels),
            split(settings.include_label_prefix),
            cluster_domain=settings.cluster_domain,
            apisix_before_3=settings.apisix_before_3,
            settle=timedelta(seconds=settings.settle_seconds),
        ),
        gateway_workers=settings.gateway_workers,
        cut_off_for=timedelta(seconds=settings.bus_lost_after) if settings.bus_lost_policy == "rollback" else None,
    )
