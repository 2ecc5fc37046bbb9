"""Webhooks of a Canary: somebody's HTTP server that judges or accompanies a step, or wants to hear of it.

Request, success, retries and error texts are Flagger's; documented wherever they surprise. Two headers are ours:
`Serinus-Event-Id` is the same for every repetition of the same call, `Serinus-Repeated` marks one whose predecessor may
have arrived. Proxies from HTTP_PROXY and NO_PROXY are honoured, also without TLS verification, where Flagger forgets.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote

import aiohttp

from shared.http import posting
from shared.http.posting import Attempt
from shared.wire.messages import Hook, HookPayload

ACCEPTED_UP_TO: Final = 202
"""Flagger takes 203 and above for a refusal."""

LONGEST_PAUSE: Final = 30.0

_GO_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """How a call ended, after its last attempt. `unsure`: any of them may have arrived without an answer."""

    last: Attempt
    attempts: int
    unsure: bool = False

    @property
    def accepted(self) -> bool:
        return not self.last.cause and self.last.status <= ACCEPTED_UP_TO

    def error(self, shown_url: str) -> str:
        """Flagger's text, which may be empty for a refusal without a body."""
        if self.accepted:
            return ""
        if not self.last.cause and not self.last.worth_another:
            return self.last.body
        why = f": {self.last.cause}" if self.last.cause else ""
        return f"POST {shown_url} giving up after {self.attempts} attempt(s){why}"


class Webhooks:
    """Calls webhooks."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        sleep: Callable[[float], Awaitable[object]],
        now: Callable[[], datetime],
    ) -> None:
        """The session must trust the environment for its proxies."""
        self._session = session
        self._sleep = sleep
        self._now = now

    async def call(self, hook: Hook, payload: HookPayload, *, event_id: str, repeated: bool) -> Called:
        """One call with its retries. Never raises for anything that a webhook can do."""
        headers = {"Content-Type": "application/json", **marks(event_id, repeated=repeated)}
        data, attempts, attempt, unsure = body(hook, payload), max(0, hook.retries) + 1, 1, False
        while (ended := await self._post(hook, data, headers)).worth_another and attempt < attempts:
            unsure = unsure or ended.unsure
            await self._sleep(pause(attempt, ended.status, ended.retry_after, self._now()))
            attempt += 1
        return Called(last=ended, attempts=attempt, unsure=unsure or ended.unsure)

    async def _post(self, hook: Hook, data: bytes, headers: dict[str, str]) -> Attempt:
        return await posting.post(
            self._session,
            hook.url,
            data,
            headers,
            seconds=hook.timeout_seconds,
            read=lambda status: status > ACCEPTED_UP_TO,
            verify=not hook.disable_tls,
        )


def marks(event_id: str, *, repeated: bool) -> dict[str, str]:
    """The headers by which a receiver tells a repetition from a new call."""
    found = {"Serinus-Event-Id": quote(event_id, safe="/:+@=,;()! ")}
    return found | ({"Serinus-Repeated": "true"} if repeated else {})


def body(hook: Hook, payload: HookPayload) -> bytes:
    """Byte for byte what Flagger sends: key order, sorted metadata, no metadata when empty, Go's escapes."""
    fields: dict[str, object] = {
        "name": payload.name,
        "namespace": payload.namespace,
        "phase": payload.phase,
        "checksum": payload.checksum,
    }
    if hook.metadata:
        fields["metadata"] = dict(sorted(hook.metadata.items(), key=lambda item: item[0].encode()))
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).translate(_GO_ESCAPES).encode()


def pause(attempt: int, status: int, retry_after: str, now: datetime) -> float:
    """Seconds to wait after this attempt, the first of which is 1."""
    if status in (429, 503) and (asked := posting.asked_pause(retry_after, now)) is not None:
        return asked
    return min(LONGEST_PAUSE, 2.0 ** min(attempt - 1, 10))
