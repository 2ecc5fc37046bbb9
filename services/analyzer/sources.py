"""Which client a provider needs: its address, headers and credentials, checked. Pure; prometheus.py builds the client."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

from shared.wire.messages import Provider

ELSEWHERE: Final = frozenset(
    {
        "cloudwatch",
        "datadog",
        "dynatrace",
        "externalmetrics",
        "graphite",
        "influxdb",
        "keptn",
        "newrelic",
        "splunk",
        "stackdriver",
    }
)
"""Provider types that don't speak PromQL. Any other word is taken for a Prometheus, as Flagger does."""


class Unusable(Exception):
    """No client can be built from this provider; the message is Flagger's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What makes two questions go to the same client. Its text form shows no credentials."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    authorization: str = field(default="", repr=False)
    insecure: bool = False


def source_of(provider: Provider, secret: Mapping[str, str] | None) -> Source:
    """The client that this provider needs. Raises Unusable. `secret` is None where none is configured."""
    if provider.type in ELSEWHERE:
        raise Unusable(f"{provider.type} isn't supported, only prometheus is")
    url, named = _address(provider)
    return Source(
        url=url,
        headers=tuple((name, ", ".join(values)) for name, values in sorted(provider.headers.items())),
        authorization=named if secret is None else _authorization(provider, secret),
        insecure=provider.insecure_skip_verify,
    )


def _address(provider: Provider) -> tuple[str, str]:
    """The URL without trailing slash, query and user, and the Authorization of a user named in it."""
    try:
        url = urlsplit(provider.address)
        host = url.hostname or ""
        port = f":{url.port}" if url.port else ""
    except ValueError:
        host = ""
    if not host or url.scheme not in ("http", "https"):
        raise Unusable(f"{provider.type} address {provider.address} is not a valid URL")
    named = _basic(unquote(url.username), unquote(url.password or "")) if url.username else ""
    bracketed = f"[{host}]" if ":" in host else host
    return urlunsplit((url.scheme, bracketed + port, url.path.rstrip("/"), "", "")), named


def _authorization(provider: Provider, secret: Mapping[str, str]) -> str:
    """A token wins over a user; both replace an Authorization among the headers, they never add up."""
    if "token" in secret:
        token = secret["token"].strip()
        if not token.isascii() or not token.isprintable():
            raise Unusable(f"{provider.type} credentials contain a token that can't be sent")
        return f"Bearer {token}"
    for key in ("username", "password"):
        if key not in secret:
            raise Unusable(f"{provider.type} credentials does not contain a {key}")
    return _basic(secret["username"], secret["password"])


def _basic(username: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
