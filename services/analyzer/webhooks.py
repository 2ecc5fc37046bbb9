"""The door to webhooks: somebody's HTTP server that judges or accompanies a step.

Request, success, retries and error texts are Flagger's; documented wherever they surprise. Two headers are ours:
`Serinus-Event-Id` is the same for every repetition of the same call, `Serinus-Repeated` marks one whose predecessor may
have arrived. Proxies from HTTP_PROXY and NO_PROXY are honoured, also without TLS verification, where Flagger forgets.
"""

import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp

from services.analyzer.policy import Reply
from shared.wire.messages import Hook, HookPayload

ACCEPTED_UP_TO: Final = 202
"""Flagger takes 203 and above for a refusal."""

REDIRECTS: Final = 10
LONGEST_PAUSE: Final = 30.0
LONGEST_RETRY_AFTER: Final = 300.0
"""Seconds. A server may ask for a day; a step can't wait that long for one attempt."""

SHOWN: Final = 4096
"""Bytes of a refusal's body that become its text."""

_GO_ESCAPES: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
_FINAL: Final = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.NonHttpUrlClientError,
    aiohttp.TooManyRedirects,
    ValueError,
)
"""Failures that the next attempt would only repeat: certificate, redirects, an address that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """How one request ended: a status, or a cause why there is none."""

    status: int = 0
    body: str = ""
    retry_after: str = ""
    cause: str = ""
    final: bool = False

    @property
    def worth_another(self) -> bool:
        if self.cause:
            return not self.final
        return self.status == 429 or (self.status >= 500 and self.status != 501)


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

    async def call(self, hook: Hook, payload: HookPayload, *, event_id: str, repeated: bool) -> Reply:
        """One call with its retries. Never raises for anything that a webhook can do."""
        headers = {"Content-Type": "application/json", "Serinus-Event-Id": quote(event_id, safe="/:+@=,;()! ")}
        if repeated:
            headers["Serinus-Repeated"] = "true"
        data, attempts, attempt = body(hook, payload), max(0, hook.retries) + 1, 1
        while (ended := await self._post(hook, data, headers)).worth_another and attempt < attempts:
            await self._sleep(pause(attempt, ended.status, ended.retry_after, self._now()))
            attempt += 1
        return _reply(hook, ended, attempt, repeated)

    async def _post(self, hook: Hook, data: bytes, headers: dict[str, str]) -> _Attempt:
        try:
            async with self._session.post(
                hook.url,
                data=data,
                headers=headers,
                max_redirects=REDIRECTS,
                ssl=not hook.disable_tls,
                timeout=aiohttp.ClientTimeout(total=max(hook.timeout_seconds, 0.001)),
            ) as response:
                accepted = response.status <= ACCEPTED_UP_TO
                text = "" if accepted else (await _head(response)).decode(errors="replace")
                return _Attempt(status=response.status, body=text, retry_after=response.headers.get("Retry-After", ""))
        except TimeoutError:
            return _Attempt(cause="context deadline exceeded")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _Attempt(cause=_cause(error), final=isinstance(error, _FINAL))


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
    if status in (429, 503) and (asked := _asked(retry_after, now)) is not None:
        return min(asked, LONGEST_RETRY_AFTER)
    return min(LONGEST_PAUSE, 2.0 ** min(attempt - 1, 10))


def _asked(retry_after: str, now: datetime) -> float | None:
    """`Retry-After` in seconds or as a date; None where it's neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        due = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (due.replace(tzinfo=due.tzinfo or UTC) - now).total_seconds())


def _reply(hook: Hook, ended: _Attempt, attempts: int, repeated: bool) -> Reply:
    if not ended.cause and ended.status <= ACCEPTED_UP_TO:
        return Reply(accepted=True, repeated=repeated)
    if not ended.cause and not ended.worth_another:
        return Reply(accepted=False, error=ended.body, repeated=repeated)
    why = f": {ended.cause}" if ended.cause else ""
    error = f"POST {_redacted(hook.url)} giving up after {attempts} attempt(s){why}"
    return Reply(accepted=False, error=error, repeated=repeated)


async def _head(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of a body, which may be endless."""
    read = b""
    async for chunk in response.content.iter_chunked(SHOWN):
        read += chunk
        if len(read) >= SHOWN:
            break
    return read[:SHOWN]


def _redacted(url: str) -> str:
    """A password in a URL is shown as Go shows it."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return url
    return url.replace(f":{password}@", ":xxxxx@", 1) if password else url


def _cause(error: Exception) -> str:
    """In few words, and without the addresses that aiohttp adds."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return f"certificate verify failed: {getattr(error.certificate_error, 'verify_message', '')}"
        case aiohttp.ServerDisconnectedError():
            return "EOF"
        case aiohttp.TooManyRedirects():
            return f"stopped after {REDIRECTS} redirects"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "unsupported protocol scheme or address"
        case OSError() if error.errno and error.errno > 0:  # negative ones are the resolver's
            return os.strerror(error.errno).lower()
        case OSError() if error.strerror:
            return error.strerror.lower()
        case _:
            return str(error) or type(error).__name__
