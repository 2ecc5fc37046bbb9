"""All times of an informer. Pure."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """All times of an informer, in seconds."""

    first: float = 0.2
    """Before the second attempt; doubled each time and jittered, until something was heard."""
    most: float = 10.0
    """The longest wait between attempts: everybody waits for us, so an API server that is back is to be seen soon."""
    missing: float = 5.0
    """The longest wait for a kind that isn't served (yet): somebody is probably installing it."""
    absent: float = 60.0
    """Between looks for a kind that needn't be served, and isn't."""
    watch: tuple[int, int] = (60, 120)
    """How long the server shall hold a watch; random, so that many don't end together."""
    steady: float = 5.0
    """A stream that stood this long is progress even if it was silent."""
    grace: float = 5.0
    """An outage shorter than this is no ill health."""


PACE: Final = Pace()
