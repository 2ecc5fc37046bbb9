"""What a Prometheus answered, as one number or one of Flagger's error texts. Pure; prometheus.py does the asking.

Equal faults must read equal, or Kubernetes couldn't fold their Events: so no addresses of memory, no ports of our own.
"""

import math
import re
import ssl
from http.client import responses
from typing import Final

from services.analyzer.policy import Row

SHOWN: Final = 1000
"""Characters of a body shown in an error; a Kubernetes Event's text holds about as many."""

TOO_LATE: Final = "context deadline exceeded"

_MEMORY: Final = re.compile(r"<?[\w.]+(?: object at 0x[0-9a-f]+>|\(host=[^)]*\)): ")


class Unsuitable(Exception):
    """A proper answer, of which no single number can be made."""


def value_of(result: object) -> float | None:
    """The number in the `result` of an instant query; None: there is none.

    Raises Unsuitable for several numbers or none that is one, and KeyError, TypeError or ValueError for anything else.
    """
    if not isinstance(result, list):
        raise TypeError("the result is no list")
    if not result:
        return None
    if not isinstance(result[0], dict):  # a scalar: [time, "value"]
        return _number(result)
    if any("values" in series or "histograms" in series for series in result):
        raise Unsuitable("query returned multiple values")
    if len(result) > 1:
        raise Unsuitable(
            f"query returned {len(result)} series where one is needed: aggregate them, for instance with sum()"
        )
    if "histogram" in result[0] and "value" not in result[0]:
        raise Unsuitable("query returned a native histogram instead of a number: use histogram_quantile() or the like")
    return _number(result[0]["value"])


def rows_of(result: object) -> tuple[Row, ...]:
    """All series of an instant query's `result`; those that are no number are left out.

    Raises KeyError, TypeError or ValueError for what is no such result.
    """
    if not isinstance(result, list):
        raise TypeError("the result is no list")
    found = ((each["metric"], _number(each["value"])) for each in result)
    return tuple(Row(dict(labels), value) for labels, value in found if not math.isnan(value))


def refused(status: int, reason: str | None, body: bytes) -> str:
    """An answer of another status than 200."""
    if status < 400:
        return garbled(ValueError(f"unexpected status {status}"), body)
    return f"error response: Status {status} {reason or responses.get(status, '')}: {_shown(body)}"


def garbled(error: Exception, body: bytes) -> str:
    """A 200 whose body makes no sense."""
    text = f"no {error} in it" if isinstance(error, KeyError) else str(error)
    return f"error unmarshaling result: {text}, '{_shown(body)}'"


def cause(error: Exception) -> str:
    """Why there was no answer, in few words."""
    origin = root(error)
    if isinstance(origin, TimeoutError) or "Timeout" in type(error).__name__:
        return TOO_LATE
    if "InvalidHeader" in type(error).__name__:
        return "invalid header"  # the original's text holds the header's value
    if isinstance(origin, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {origin.verify_message}"
    if isinstance(origin, OSError) and origin.strerror:
        return origin.strerror.lower()
    return _MEMORY.sub("", str(origin)) or type(origin).__name__


def reason_of(error: str) -> str:
    """One of five words for an error text, to count by."""
    if TOO_LATE in error:
        return "timeout"
    words = {"error response": "refused", "request failed": "unreachable", "error unmarshaling": "malformed"}
    return next((word for start, word in words.items() if error.startswith(start)), "unsuitable")


def root(error: BaseException) -> BaseException:
    """The first failure in a chain of translated ones."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def _number(value: object) -> float:
    if not isinstance(value, list) or len(value) != 2 or not isinstance(value[1], str):
        raise ValueError("a sample is no pair of time and number")
    return float(value[1])


def _shown(body: bytes) -> str:
    return body[: 4 * SHOWN].decode(errors="replace")[:SHOWN]
