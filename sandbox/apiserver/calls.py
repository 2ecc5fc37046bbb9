"""One request as plain data: which resource, which object, what is wanted of it, and how the answer has to look. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sandbox.apiserver import errors
from sandbox.apiserver.kinds import Resource
from sandbox.apiserver.registry import Registry
from sandbox.apiserver.store import Key

_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_TRUE: Final = frozenset({"1", "true", "True", "t", "T", "TRUE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path names: a collection, an object or a subresource. An empty namespace is all of them, or none."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        return self.namespace, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How the client wants objects: whole, their metadata only, or as rows of a table."""

    shape: str = ""  # "", Table or PartialObjectMetadata
    include: str = "Metadata"  # how much of an object a row carries


def target(registry: Registry, path: str) -> Target:
    """Raises NotFound for a path that nothing is served under."""
    steps = path.strip("/").split("/")
    if steps[0] == "api" and len(steps) > 2:
        group, version, rest = "", steps[1], steps[2:]
    elif steps[0] == "apis" and len(steps) > 3:
        group, version, rest = steps[1], steps[2], steps[3:]
    else:
        raise errors.no_such_path()
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and (inner := registry.find(group, version, rest[2])):
        if not inner.namespaced:
            raise errors.no_such_path()
        namespace, rest = rest[1], rest[2:]
    resource = registry.find(group, version, rest[0])
    if resource is None or len(rest) > 3:
        raise errors.no_such_path()
    name, subresource, *_ = [*rest[1:], "", ""]
    return Target(resource=resource, namespace=namespace, name=name, subresource=subresource)


def verb(method: str, found: Target, query: Mapping[str, str]) -> str:
    """Kubernetes' own word for the request."""
    if method == "GET":
        return "watch" if watching(query) else "get" if found.name else "list"
    word = _VERBS.get(method)
    if word is None:
        raise errors.method_not_allowed()
    return "deletecollection" if word == "delete" and not found.name else word


def watching(query: Mapping[str, str]) -> bool:
    return truth(query, "watch")


def truth(query: Mapping[str, str], name: str) -> bool:
    """Clients write 1, true or True."""
    return query.get(name, "") in _TRUE


def number(query: Mapping[str, str], name: str) -> int:
    """0 when it isn't given. Raises BadRequest."""
    text = query.get(name, "") or "0"
    if not text.isdigit():
        raise errors.bad_request(f'invalid value for {name}: "{text}" is no number')
    return int(text)


def look(accept: str, query: Mapping[str, str]) -> Look:
    """The first wanted form that is JSON. Raises NotAcceptable when there is none."""
    for wanted in (accept or "*/*").split(","):
        kind, *parameters = [part.strip() for part in wanted.split(";")]
        if kind not in ("application/json", "application/*", "*/*"):
            continue
        shape = next((each.removeprefix("as=") for each in parameters if each.startswith("as=")), "")
        shape = shape.removesuffix("List")
        if shape in ("", "Table", "PartialObjectMetadata"):
            return Look(shape=shape, include=query.get("includeObject", "Metadata"))
    raise errors.not_acceptable("application/json")


def manager(query: Mapping[str, str], agent: str) -> str:
    """Who a write is recorded for: the field manager that it names, otherwise the program that asks."""
    return query.get("fieldManager") or re.sub(r"[^ -~]", "", agent.split("/")[0])[:128] or "unknown"
