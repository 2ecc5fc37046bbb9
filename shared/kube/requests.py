"""One request to the API server as plain data, in the words of RBAC and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.errors import Conflict
from shared.kube.errors import AlreadyExists, Expired, Forbidden, Gone, Refused
from shared.kube.json import Json
from shared.kube.kinds import Kind

_METHODS: Final = {"create": "POST", "patch": "PATCH", "update": "PUT", "delete": "DELETE"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`verb` is Kubernetes' own word: get, list, watch, create, patch, update, delete."""

    verb: str
    kind: Kind
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    accept: str = "application/json"
    content: str = "application/json"

    @property
    def method(self) -> str:
        return _METHODS.get(self.verb, "GET")

    @property
    def what(self) -> str:
        """For people."""
        return f"{self.verb} {self.path}"


def below(path: str, subresource: str) -> str:
    return f"{path}/{subresource}" if subresource else path


_OUTCOMES: Final = (
    (AlreadyExists, "exists"),
    (Conflict, "conflict"),
    (Gone, "gone"),
    (Expired, "expired"),
    (Forbidden, "forbidden"),
    (Refused, "refused"),
)


def outcome(error: Exception) -> str:
    """The word for a failure in metrics; `later` is everything that time may heal."""
    return next((word for kind, word in _OUTCOMES if isinstance(error, kind)), "later")
