"""What the API server's answers mean: bodies, watch lines, and failures in the project's two words. Pure.

The door calls this; nothing here knows a client library. Between us and the API server may stand a proxy, so an answer
can be HTML, cut short, or both.
"""

import gc
import json as encoding
from collections.abc import Iterator, Mapping
from typing import Final

from shared.errors import Conflict, RetryLater
from shared.kube import json
from shared.kube.errors import AlreadyExists, Expired, Forbidden, Gone, Refused
from shared.kube.json import Json

MAX_LINE: Final = 32 * 1024 * 1024
"""Bytes of one watch event. etcd's own limit is 1.5 MB by default, so more is no object."""

MAX_DELAY: Final = 60.0
"""Seconds of `Retry-After` that are honoured."""

_BIG_PAGE: Final = 1 << 20
_REFUSED: Final = frozenset({400, 405, 406, 413, 415, 422})


def decoded(body: bytes) -> Json:
    """The body as a JSON object. Raises RetryLater when it's none (a proxy answered, or it was cut short).

    Large pages are decoded with the garbage collector off: it costs three quarters of the time otherwise.
    """
    pause = len(body) > _BIG_PAGE and gc.isenabled()
    if pause:
        gc.disable()
    try:
        found = encoding.loads(body)
    except ValueError as error:
        raise RetryLater(f"the API server's answer is not JSON: {_excerpt(body)}") from error
    finally:
        if pause:
            gc.enable()
    if not isinstance(found, dict):
        raise RetryLater(f"the API server's answer is no object: {_excerpt(body)}")
    return found


def failure(what: str, status: int, headers: Mapping[str, str], body: bytes) -> Exception:
    """The exception for an HTTP status that isn't a success; `what` names the request for people."""
    try:
        answer = decoded(body)
    except RetryLater:
        answer = {"message": _excerpt(body)}
    message = f"{what}: {json.text(answer, 'message') or 'no reason given'} (HTTP {status})"
    reason = json.text(answer, "reason")
    if status == 409:
        return AlreadyExists(message) if reason == "AlreadyExists" else Conflict(message)
    if status in (404, 410):
        return Expired(message) if status == 410 else Gone(message)
    if status == 403:
        return Forbidden(message)
    if status in _REFUSED:
        return Refused(message)
    if _from_the_future(answer):
        return Expired(message)
    return RetryLater(message, delay=_delay(headers))


def watch_event(what: str, line: bytes) -> Json:
    """One line of a watch as `{"type": …, "object": …}`. Raises what an ERROR event stands for."""
    event = decoded(line)
    if json.text(event, "type") == "ERROR":
        status = json.mapping(event, "object")
        raise failure(what, json.number(status, "code"), {}, encoding.dumps(status).encode())
    if not json.text(event, "type") or not json.mapping(event, "object"):
        raise RetryLater(f"{what}: this is no watch event: {_excerpt(line)}")
    return event


class Lines:
    """Cuts a stream of chunks into lines; a torn last line never comes out."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes. Raises Expired when a line exceeds the limit: only a list can tell then."""
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            line = b"".join([*self._parts, piece])
            self._parts, self._size = [], 0
            if line.strip():
                yield line
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._size > self._limit:
            raise Expired(f"a watch event is longer than {self._limit} bytes")


def _from_the_future(answer: Json) -> bool:
    """Did we ask for a version that this server has never had? It was restored or replaced."""
    causes = json.items(answer, "details", "causes")
    return any(json.text(cause, "reason") == "ResourceVersionTooLarge" for cause in causes)


def _delay(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return min(float(text), MAX_DELAY) if text.isascii() and text.isdigit() else 1.0


def _excerpt(body: bytes) -> str:
    """Enough of a foreign body to recognise who sent it."""
    return " ".join(body[:200].decode("utf-8", "replace").split())
