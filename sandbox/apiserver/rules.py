"""What holds for one object whoever writes it: its kind, its place, its generation, its preconditions. Pure."""

from typing import Any

from sandbox.apiserver import errors, kinds
from sandbox.apiserver.errors import invalid_value
from sandbox.apiserver.kinds import Json, Resource
from sandbox.apiserver.store import Stored


def typed(resource: Resource, body: Json) -> Json:
    """A new top level with the kind in it. Raises BadRequest or Invalid for an object of another kind."""
    kind, name = body.get("kind"), (body.get("metadata") or {}).get("name", "")
    if resource.custom and kind and kind != resource.kind:
        raise errors.invalid(resource, name, [invalid_value("kind", kind, f"must be {resource.kind}")])
    for name, wanted in (("apiVersion", resource.api_version), ("kind", resource.kind)):
        given = body.get(name)
        if resource.custom and not given:
            raise errors.bad_request(f"Object '{name[0].upper() + name[1:]}' is missing")
        if given and given != wanted:
            raise errors.bad_request(f"the {name} in the data ({given}) does not match the expected one ({wanted})")
    return {**body, "kind": resource.kind, "apiVersion": resource.api_version}


def placed(resource: Resource, namespace: str, metadata: Json) -> Json:
    if not resource.namespaced:
        return metadata
    if metadata.get("namespace", namespace) != namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return {**metadata, "namespace": namespace}


def spec(resource: Resource, obj: Json) -> Any:
    """What the generation counts the changes of."""
    if resource.key == kinds.DEPLOYMENTS:
        return obj["spec"], obj["metadata"].get("annotations")
    if not resource.custom:
        return obj.get("spec")
    ignored = ("metadata", "apiVersion", "kind", "status") if resource.status else ("metadata", "apiVersion", "kind")
    return {name: value for name, value in obj.items() if name not in ignored}


def lives(resource: Resource, metadata: Json) -> bool:
    """Does something beside finalizers keep a deleted object: its node, or its contents?"""
    return bool(metadata.get("deletionGracePeriodSeconds")) or resource.key == kinds.NAMESPACES


def check_preconditions(resource: Resource, stored: Stored, wanted: Json) -> None:
    for name in ("uid", "resourceVersion"):
        given, found = wanted.get(name), stored.object["metadata"][name]
        if given and given != found:
            word = {"uid": "UID", "resourceVersion": "ResourceVersion"}[name]
            why = f"Precondition failed: {word} in precondition: {given}, {word} in object meta: {found}"
            raise errors.conflict(resource, stored.key[1], why)


def without_status(obj: Json) -> Json:
    return {name: value for name, value in obj.items() if name != "status"}
