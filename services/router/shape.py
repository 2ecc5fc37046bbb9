"""What shall happen to the requests of one canary, as a value: the machine decides it, `services.router.routes` turns it
into rules of the gateway. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """Where in a request a condition looks; the words of ApisixRoute."""

    HEADER = "Header"
    COOKIE = "Cookie"
    QUERY = "Query"


class Operator(StrEnum):
    """How a condition compares; the words of `analysis.match`."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class Condition:
    """One question about a request."""

    scope: Scope
    name: str
    operator: Operator
    value: str


Alternative = tuple[Condition, ...]
"""All of its conditions must hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Clients that the canary answered once get a cookie, and with it the canary again."""

    cookie: str
    value: str = ""
    """Belongs to one rollout: that of another one has no meaning any more. Empty while no rollout gives any."""
    max_age: int = 86400
    """Seconds."""
    domain: str = ""
    path: str = ""
    same_site: str = ""
    """Strict, Lax or None."""
    secure: bool = False
    http_only: bool = False
    partitioned: bool = False
    primary_cookie: str = ""
    """The primary's answers set this one, if it has a name: who has it stays with the primary."""
    primary_value: str = ""
    primary_max_age: int = 60
    """Seconds: an interval, so that its clients are divided anew by each weight."""
    expired: tuple[str, ...] = ()
    """Values that rollouts before gave to `cookie`: clients that still send one are asked to forget it, once there is no
    `value` that would replace it anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How the traffic of one canary is divided."""

    weight: int = 0
    """The canary's percent of what is not pinned."""
    pinned: tuple[Alternative, ...] = ()
    """Requests that one of them describes all go to the canary. Where a rule of the source has other backends too, those
    keep their share."""
    resting: tuple[Alternative, ...] = ()
    """The same alternatives while nobody is pinned: their rules stay and answer like everybody's. A rule that comes and
    goes would leave a hole in the gateway for a moment, or a stray behind (APISIX's ingress controllers do both)."""
    mirror: float = 0.0
    """Share of the primary's requests that are copied to the canary, whose answers nobody gets."""
    affinity: Affinity | None = None
