"""Builds the notifier's real parts and starts them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import aiohttp
from pydantic import TypeAdapter

from services.notifier import policy
from services.notifier.handlers import Notifier
from services.notifier.messages import Messenger, Target
from services.notifier.messengers import Messengers
from services.notifier.ports import Objects
from services.notifier.providers import Providers
from services.notifier.settings import NotifierSettings
from shared.bus import broker as bus
from shared.bus.consume import consume
from shared.bus.delivery import Delivery
from shared.bus.markers import Markers
from shared.errors import Never, RetryLater
from shared.http.webhooks import Webhooks
from shared.kube import door, measures
from shared.kube.events import Events
from shared.kube.kinds import ALERT_PROVIDER
from shared.runtime.serve import Runtime
from shared.wire import subjects
from shared.wire.messages import Notice

SERVICE: Final = "notifier"

Handler = Callable[[Notice], Awaitable[None]]

EVENTS_DELIVER: Final = 20
ALERTS_DELIVER: Final = 12
WEBHOOKS_DELIVER: Final = 7
"""Deliveries of a notice before it becomes a dead letter; the durables themselves allow 20.

Events wait as long as they can for an API server, about a quarter of an hour; alerts some eight minutes for their
messenger. A webhook gets half a minute: those behind a dead one would otherwise wait with it.
"""

EVENTS_LONGEST: Final = 60.0
ALERTS_LONGEST: Final = 120.0
WEBHOOKS_LONGEST: Final = 30.0

LOOK: Final = 2.0
"""Seconds between two requests to an API server that didn't answer the last one. One that did isn't asked."""


async def app(settings: NotifierSettings, runtime: Runtime) -> None:
    """Composes the process and starts consuming."""
    broker = bus.make_broker(settings, SERVICE, lambda: runtime.fail("the connection to NATS is closed"))
    notifier = await _notifier(settings, runtime, Markers(broker))

    def on(durable: str, handler: Handler, max_deliver: int, longest_delay: float) -> None:
        async def handle(notice: Notice, _: Delivery) -> None:
            await handler(notice)

        consume(
            broker,
            stream=subjects.NOTICE_STREAM,
            durable=durable,
            filter_subject=subjects.NOTICES,
            decode=TypeAdapter(Notice),
            handler=handle,
            runtime=runtime,
            service=SERVICE,
            workers=settings.notifier_concurrency,
            max_deliver=max_deliver,
            longest_delay=longest_delay,
        )

    on(subjects.EVENTS_DURABLE, notifier.on_event, EVENTS_DELIVER, EVENTS_LONGEST)
    on(subjects.ALERTS_DURABLE, notifier.on_alert, ALERTS_DELIVER, ALERTS_LONGEST)
    on(subjects.WEBHOOKS_DURABLE, notifier.on_webhook, WEBHOOKS_DELIVER, WEBHOOKS_LONGEST)
    await bus.connect(broker, runtime)


async def _notifier(settings: NotifierSettings, runtime: Runtime, markers: Markers) -> Notifier:
    clock, stack = runtime.clock, runtime.stack
    reach = Reach(measures.requests(runtime.metrics))
    cluster = await door.connect(settings, field_manager=f"serinus-{SERVICE}", observe=reach)
    stack.push_async_callback(cluster.close)
    runtime.health.probe("kubernetes", lambda: reach.trouble)
    runtime.spawn(
        "reach", reach.keep(cluster, settings.watch_namespace.split(",")[0].strip() or "default", asyncio.sleep)
    )
    session = await stack.enter_async_context(
        aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar())
    )
    return Notifier(
        events=Events(cluster),
        providers=Providers(cluster),
        messengers=Messengers(session),
        hooks=Webhooks(session, sleep=asyncio.sleep, now=clock.now),
        markers=markers,
        meter=runtime.metrics,
        clock=clock,
        sleep=asyncio.sleep,
        global_target=global_target(settings),
        global_hook=policy.global_webhook(settings.event_webhook_url.get_secret_value()),
        cluster_name=settings.cluster_name,
    )


def global_target(settings: NotifierSettings) -> Target | None:
    """The messenger of Canaries that name none. Teams wins over Slack, as in Flagger."""
    if address := settings.msteams_url.get_secret_value():
        return Target(kind=Messenger.MSTEAMS, url=address, proxy=settings.msteams_proxy_url.get_secret_value())
    if address := settings.slack_url.get_secret_value():
        return Target(
            kind=Messenger.SLACK,
            url=address,
            channel=settings.slack_channel,
            username=settings.slack_user,
            token=settings.slack_token.get_secret_value(),
            proxy=settings.slack_proxy_url.get_secret_value(),
        )
    return None


class Reach:
    """Whether the API server answers, told by the requests that are made anyway.

    Only one that didn't answer, or wasn't asked yet, is asked in between; so an idle notifier costs it nothing.
    """

    def __init__(self, observe: door.Observe) -> None:
        self.trouble = "not asked yet"
        self._observe = observe

    def __call__(self, verb: str, kind: str, outcome: str, seconds: float) -> None:
        self._observe(verb, kind, outcome, seconds)
        if outcome != "cancelled":
            self.trouble = "the API server doesn't answer" if outcome == "later" else ""

    async def keep(self, objects: Objects, namespace: str, sleep: Callable[[float], Awaitable[object]]) -> None:
        """Any answer will do, also that there's no such object, or that it mustn't be read."""
        while True:
            if self.trouble:
                with suppress(RetryLater, Never):
                    await objects.get(ALERT_PROVIDER, namespace, "none")
            await sleep(LOOK)
