"""Tells one notice's event: as a Kubernetes Event, as alerts, to event webhooks. Each kind has a durable of its own.

So a dead messenger holds up neither Events nor webhooks; and each provider and webhook has a marker of its own, so that
a notice that goes back because of one of them isn't told twice to the others. What an answer means is policy's business.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from services.notifier import messages, policy
from services.notifier.messages import Target
from services.notifier.policy import Ended, Ending
from services.notifier.ports import Hooks, Markers, Messengers, Meter, Now, Providers
from shared.bus.markers import State
from shared.errors import Never, RetryLater
from shared.http.webhooks import marks
from shared.kube.events import Events
from shared.wire.messages import Alert, Hook, Notice, SecretRef

Effect = Callable[[bool], Awaitable[Ended]]
"""Tells something; the argument says whether an earlier attempt may have arrived."""

PATIENCE: Final = 5
"""Attempts more to note what is done. Each may take the bus's timeout of five seconds."""

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifier:
    """Handles notices. Holds nothing between them."""

    events: Events
    providers: Providers
    messengers: Messengers
    hooks: Hooks
    markers: Markers
    meter: Meter
    clock: Now
    sleep: Callable[[float], Awaitable[object]]
    global_target: Target | None = None
    global_hook: Hook | None = None
    cluster_name: str = ""

    async def on_event(self, notice: Notice) -> None:
        """The Kubernetes Event, exactly once."""
        if notice.kubernetes_event:
            await self.events.tell(notice.event)

    async def on_alert(self, notice: Notice) -> None:
        """The alerts. Raises RetryLater when at least one of them has to be tried again."""
        alert = notice.alert
        if alert is None or self._too_old(notice):
            return
        told = policy.recipients(notice, alert)
        await _all(self._alert(notice, alert, *each) for each in told if each[1] or self.global_target)

    async def on_webhook(self, notice: Notice) -> None:
        """The event webhooks. Raises RetryLater when at least one of them has to be called again."""
        hooks = policy.webhooks(notice, self.global_hook)
        if hooks and not self._too_old(notice):
            await _all(self._call(notice, *each) for each in hooks)

    async def _alert(self, notice: Notice, alert: Alert, key: str, provider: SecretRef | None) -> None:
        kind = "unknown"

        async def send(repeated: bool) -> Ended:
            nonlocal kind
            try:
                target = await self._target(provider)
            except Never as error:
                return Ended(ending=Ending.REFUSED, text=str(error))
            except RetryLater as error:
                return Ended(ending=Ending.UNDELIVERED, text=str(error), delay=error.delay)
            kind = target.kind
            body = messages.payload(target, policy.text(notice, alert, self.cluster_name, repeated=repeated))
            headers = {**messages.headers(target), **marks(policy.ident(notice), repeated=repeated)}
            attempt = await self.messengers.post(messages.url(target), body, headers, proxy=target.proxy)
            return policy.judge_post(target, provider, attempt, self.clock.now())

        ended = await self._once(key, send)
        if ended:
            self.meter.inc("serinus_alerts_total", provider=kind, outcome=ended.ending)
            _settle(ended)

    async def _target(self, provider: SecretRef | None) -> Target:
        if provider:
            return await self.providers.read(provider)
        if self.global_target is None:
            raise Never("there is no global messenger")
        return self.global_target

    async def _call(self, notice: Notice, key: str, hook: Hook) -> None:
        async def call(repeated: bool) -> Ended:
            told, payload = policy.told(hook, notice, repeated=repeated)
            called = await self.hooks.call(told, payload, event_id=policy.ident(notice), repeated=repeated)
            return policy.judge_call(hook, called, self.clock.now())

        ended = await self._once(key, call)
        if ended:
            self.meter.inc("serinus_event_webhooks_total", outcome=ended.ending)
            _settle(ended)

    async def _once(self, key: str, effect: Effect) -> Ended | None:
        """None: it was done before."""
        state, _ = await self.markers.begin(key)
        if state is State.DONE:
            return None
        ended = await effect(state is State.UNSURE)
        if not ended.again:
            await self._done(key, ended)
        elif ended.ending is Ending.UNDELIVERED and state is State.NEW:
            await self.markers.forget(key)
        return ended

    async def _done(self, key: str, ended: Ended) -> None:
        """With patience: without this note the telling would be repeated, although nobody died."""
        for _ in range(PATIENCE):
            try:
                return await self.markers.done(key, ended.ending)
            except RetryLater as error:
                _log.warning("%s is %s, and that can't be noted: %s", key, ended.ending, error)
                await self.sleep(error.delay)
        return await self.markers.done(key, ended.ending)

    def _too_old(self, notice: Notice) -> bool:
        old = policy.too_old(notice.event, self.clock.now())
        if old:
            _log.warning("not told, since it is unknown whether it was told before: %s", notice.event.message)
        return old


def _settle(ended: Ended) -> None:
    if ended.again:
        raise RetryLater(ended.text, delay=ended.delay)
    if ended.ending is Ending.REFUSED:
        _log.error("%s", ended.text)


async def _all(told: Iterable[Awaitable[None]]) -> None:
    """All of them side by side; then, if any has to be tried again, RetryLater with every reason."""
    failures = [each for each in await asyncio.gather(*told, return_exceptions=True) if each is not None]
    for failure in failures:
        if not isinstance(failure, RetryLater):
            raise failure
    later = [failure for failure in failures if isinstance(failure, RetryLater)]
    if later:
        raise RetryLater("; ".join(map(str, later)), delay=max(each.delay for each in later))
