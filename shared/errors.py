"""The two words for failure, and nothing else.

Every door translates its client library's errors into one of them, chaining the original. The message loop knows
only these: `RetryLater` puts the message back, `Never` sends it to the dead letters.
"""


class RetryLater(Exception):
    """The world isn't there right now (API server, bus, Prometheus); the same attempt may work later.

    `delay` is in seconds and only a proposal to the message loop.
    """

    def __init__(self, message: str, *, delay: float = 1.0) -> None:
        super().__init__(message)
        self.delay = delay


class Never(Exception):
    """The same attempt can't ever succeed: undecodable, forbidden by schema, or refused by validation."""


class Conflict(RetryLater):
    """Somebody wrote the object since it was read (HTTP 409); load it again and decide again, at once."""

    def __init__(self, message: str) -> None:
        super().__init__(message, delay=0.0)
