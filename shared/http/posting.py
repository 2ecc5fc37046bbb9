"""One POST to somebody's HTTP server, and everything that can become of it, as plain data.

Never raises for anything a server can do. Whether the request may have arrived matters to those who count effects:
`unsure` says that it was under way when the answer failed to come.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp

REDIRECTS: Final = 10

LONGEST_RETRY_AFTER: Final = 300.0
"""Seconds. A server may ask for a day; nobody here can wait that long for one attempt."""

SHOWN: Final = 4096
"""Bytes of a body that are read."""

_FINAL: Final = (
    aiohttp.ClientConnectorCertificateError,
    aiohttp.NonHttpUrlClientError,
    aiohttp.TooManyRedirects,
    ValueError,
)
"""Failures that the next attempt would only repeat: certificate, redirects, an address that is none."""

_BEFORE: Final = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)
"""Failures before the request was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one request ended: a status, or a cause why there is none."""

    status: int = 0
    body: str = ""
    retry_after: str = ""
    cause: str = ""
    final: bool = False
    unsure: bool = False

    @property
    def worth_another(self) -> bool:
        if self.cause:
            return not self.final
        return self.status == 429 or (self.status >= 500 and self.status != 501)


async def post(
    session: aiohttp.ClientSession,
    url: str,
    data: bytes,
    headers: Mapping[str, str],
    *,
    seconds: float,
    read: Callable[[int], bool],
    verify: bool = True,
    proxy: str = "",
) -> Attempt:
    """One request with its redirects. `read` tells by the status whether the body's beginning is wanted.

    Without a `proxy` the session decides, by HTTP_PROXY and NO_PROXY if it trusts the environment.
    """
    try:
        async with session.post(
            url,
            data=data,
            headers=headers,
            max_redirects=REDIRECTS,
            ssl=verify,
            proxy=proxy or None,
            timeout=aiohttp.ClientTimeout(total=max(seconds, 0.001)),
        ) as response:
            text = (await _head(response)).decode(errors="replace") if read(response.status) else ""
            return Attempt(status=response.status, body=text, retry_after=response.headers.get("Retry-After", ""))
    except TimeoutError as error:
        return Attempt(cause="context deadline exceeded", unsure=not isinstance(error, _BEFORE))
    except (aiohttp.ClientError, OSError, ValueError) as error:
        final = isinstance(error, _FINAL)
        return Attempt(cause=_cause(error), final=final, unsure=not final and not isinstance(error, _BEFORE))


def asked_pause(retry_after: str, now: datetime) -> float | None:
    """`Retry-After`, in seconds or as a date, as seconds; None where it's neither."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_RETRY_AFTER)
    try:
        due = parsedate_to_datetime(text)
    except ValueError:
        return None
    return min(max(0.0, (due.replace(tzinfo=due.tzinfo or UTC) - now).total_seconds()), LONGEST_RETRY_AFTER)


def redacted(url: str) -> str:
    """A password in a URL is shown as Go shows it."""
    try:
        password = urlsplit(url).password
    except ValueError:
        return url
    return url.replace(f":{password}@", ":xxxxx@", 1) if password else url


def host(url: str) -> str:
    """All of a URL that may be shown where its path or query is a credential, as messengers have it."""
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname
    except ValueError:
        return "an address that is none"
    return f"{parts.scheme}://{place}" if place else "an address that is none"


async def _head(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of a body, which may be endless."""
    read = b""
    async for chunk in response.content.iter_chunked(SHOWN):
        read += chunk
        if len(read) >= SHOWN:
            break
    return read[:SHOWN]


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
        case aiohttp.ClientResponseError():
            return f"{error.status} {error.message}"
        case OSError() if error.errno and error.errno > 0:  # negative ones are the resolver's
            return os.strerror(error.errno).lower()
        case OSError() if error.strerror:
            return error.strerror.lower()
        case _:
            return str(error) or type(error).__name__
