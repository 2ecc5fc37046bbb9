"""Whom an event is told, and what becomes of the telling. Pure; handlers.py acts on it.

| a POST ended | its marker | the notice |
| --- | --- | --- |
| delivered | done | is done |
| refused: the answer, or a misconfiguration, says that no repetition helps | done | is done, with a line in the log |
| undelivered: surely not arrived, or answered with an error that may pass | forgotten, if nobody tried before | goes back |
| unsure: under way when the answer failed to come | stays as begun | goes back |

A marker that is found as begun means that an earlier attempt may have arrived; so whatever follows is marked as repeated.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.notifier.messages import Messenger, Target, Text
from shared.http import posting
from shared.http.posting import Attempt
from shared.http.webhooks import Called
from shared.wire.messages import Alert, AlertRoute, Hook, HookPayload, Notice, RolloutEvent, SecretRef, Severity

FORGOTTEN_AFTER: Final = timedelta(hours=23)
"""Markers live for a day. An alert or webhook older than they are isn't told: nobody knows any more whether it was."""

HOOK_TYPE: Final = "event"

_SEVERITIES: Final = tuple(Severity)
_SLACK_BUSY: Final = ("ratelimited", "rate_limited")


class Ending(StrEnum):
    """What became of one telling."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    UNDELIVERED = "undelivered"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How one telling ended; `text` says why it isn't delivered, `delay` when to try again, in seconds."""

    ending: Ending
    text: str = ""
    delay: float = 1.0

    @property
    def again(self) -> bool:
        return self.ending in (Ending.UNDELIVERED, Ending.UNSURE)


def ident(notice: Notice) -> str:
    """The event's id, the same as of its public CloudEvent."""
    return f"{notice.event.canary.uid}:{notice.event.seq}"


def too_old(event: RolloutEvent, now: datetime) -> bool:
    return now - event.at > FORGOTTEN_AFTER


def recipients(notice: Notice, alert: Alert) -> tuple[tuple[str, SecretRef | None], ...]:
    """Providers that want this severity, each with its marker's key; None, for a Canary without any, is the global one.

    A provider that is listed twice is told once.
    """
    if not alert.routes:
        return ((f"alert/{ident(notice)}/", None),)
    wanted = dict.fromkeys(route.provider for route in alert.routes if wants(route, alert.severity))
    return tuple((f"alert/{ident(notice)}/{each.namespace}/{each.name}", each) for each in wanted)


def wants(route: AlertRoute, severity: Severity) -> bool:
    """Does a route receive this severity? An empty one means info, as documented (Flagger tells it nothing)."""
    least = Severity(route.severity) if route.severity in _SEVERITIES else Severity.INFO
    return _SEVERITIES.index(severity) >= _SEVERITIES.index(least)


def text(notice: Notice, alert: Alert, cluster_name: str, *, repeated: bool) -> Text:
    """What people read."""
    canary = notice.event.canary
    cluster = (("Cluster", cluster_name),) if cluster_name else ()
    return Text(
        author=f"{canary.name}.{canary.namespace}",
        message=f"{alert.message} (repeated)" if repeated else alert.message,
        severity=alert.severity,
        fields=cluster + alert.fields,
    )


def webhooks(notice: Notice, global_hook: Hook | None) -> tuple[tuple[str, Hook], ...]:
    """The Canary's own event webhooks, else the global one, each with its marker's key."""
    hooks = notice.hooks or ((global_hook,) if global_hook else ())
    return tuple((f"hook/{ident(notice)}/{position}/{hook.name}", hook) for position, hook in enumerate(hooks))


def global_webhook(url: str) -> Hook | None:
    return Hook(name="events", type=HOOK_TYPE, url=url) if url else None


def told(hook: Hook, notice: Notice, *, repeated: bool) -> tuple[Hook, HookPayload]:
    """The hook with this event in its metadata, which the Canary's own can't override; and the rest of the body."""
    event = notice.event
    own = {
        "eventMessage": event.message,
        "eventType": event.event_type,
        "timestamp": str(milliseconds(event.at)),
    }
    mark = {"repeated": "true"} if repeated else {}
    payload = HookPayload(
        name=event.canary.name, namespace=event.canary.namespace, phase=event.phase, checksum=notice.checksum
    )
    return hook.model_copy(update={"metadata": {**hook.metadata, **own, **mark}}), payload


def milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def judge_post(target: Target, provider: SecretRef | None, attempt: Attempt, now: datetime) -> Ended:
    """What an alert's POST came to. Success is 2xx; Slack's API says its errors in a 200."""
    prefix = f"alert provider {provider.name}.{provider.namespace} send error" if provider else "alert can't be sent"
    if attempt.cause:
        why = f"{prefix}: sending notification failed: POST {posting.host(target.url)}: {attempt.cause}"
        return Ended(ending=_without_answer(final=attempt.final, unsure=attempt.unsure), text=why)
    said = _slack_error(attempt.body) if target.kind is Messenger.SLACK and attempt.status == 200 else ""
    if 200 <= attempt.status < 300 and not said:
        return Ended(ending=Ending.DELIVERED)
    why = f"{prefix}: sending notification bad response {attempt.status}: {said or attempt.body.strip()}"
    if attempt.status == 429 or attempt.status >= 500 or said in _SLACK_BUSY:
        return Ended(ending=Ending.UNDELIVERED, text=why, delay=_delay(attempt, now))
    return Ended(ending=Ending.REFUSED, text=why)


def judge_call(hook: Hook, called: Called, now: datetime) -> Ended:
    """What an event webhook's call came to. Its URL may hold a token, so the text shows the host only."""
    if called.accepted:
        return Ended(ending=Ending.DELIVERED)
    why = f"error sending event to webhook: {called.error(posting.host(hook.url))}"
    if called.last.cause:
        return Ended(ending=_without_answer(final=called.last.final, unsure=called.unsure), text=why)
    if not called.last.worth_another:
        return Ended(ending=Ending.REFUSED, text=why)
    ending = Ending.UNSURE if called.unsure else Ending.UNDELIVERED
    return Ended(ending=ending, text=why, delay=_delay(called.last, now))


def _without_answer(*, final: bool, unsure: bool) -> Ending:
    if final:
        return Ending.REFUSED
    return Ending.UNSURE if unsure else Ending.UNDELIVERED


def _delay(attempt: Attempt, now: datetime) -> float:
    return max(1.0, posting.asked_pause(attempt.retry_after, now) or 0.0)


def _slack_error(body: str) -> str:
    try:
        found = json.loads(body)
    except ValueError:  # an incoming webhook answers the word ok
        return ""
    return str(found.get("error", "unknown")) if isinstance(found, dict) and found.get("ok") is False else ""
