"""GET: objects, lists in consistent pages, and tables of them."""

import base64
import json
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sandbox.apiserver import calls, errors, printing, selectors
from sandbox.apiserver.calls import Look, Target
from sandbox.apiserver.kinds import Json, Resource
from sandbox.apiserver.objects import Objects
from sandbox.apiserver.store import Stored, encode

_PICTURES: Final = 64  # lists that may be paged through at the same time

Matches = Callable[[Json], bool]


class Reader:
    """Answers as bytes of JSON."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._pictures: OrderedDict[str, tuple[int, Sequence[Stored]]] = OrderedDict()

    def one(self, target: Target, look: Look) -> bytes:
        return shown(target.resource, self._objects.get(target.resource, target.key), look)

    def list(self, target: Target, query: Mapping[str, str], look: Look) -> bytes:
        """All that match, or a page of them: later pages show the same moment as the first one."""
        store = self._objects.store
        if (asked := calls.number(query, "resourceVersion")) > store.version:
            raise errors.too_large_version(asked, store.version)
        if token := query.get("continue"):
            version, found = self._continued(token)
        else:
            version, matches = store.version, matcher(target, query)
            all_of_it = store.scan(target.resource.key, target.namespace)
            found = [each for each in all_of_it if matches(each.object)]
        more: Json = {}
        if (limit := calls.number(query, "limit")) and len(found) > limit:
            found, rest = found[:limit], found[limit:]
            more = {"continue": self._keep(version, rest)}
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                more["remainingItemCount"] = len(rest)
        if look.shape == "Table":
            objects = [converted(target.resource, each) for each in found]
            return encode(printing.table(target.resource, objects, look.include, str(version), more))
        return _listed(target.resource, found, look, {"resourceVersion": str(version), **more})

    def forget(self) -> None:
        """No list that was begun can be continued."""
        self._pictures.clear()

    def _keep(self, version: int, rest: Sequence[Stored]) -> str:
        name = uuid.uuid4().hex
        self._pictures[name] = version, rest
        while len(self._pictures) > _PICTURES:
            self._pictures.popitem(last=False)
        return base64.urlsafe_b64encode(json.dumps({"v": "sandbox", "rest": name}).encode()).decode()

    def _continued(self, token: str) -> tuple[int, Sequence[Stored]]:
        try:
            name = json.loads(base64.urlsafe_b64decode(token))["rest"]
        except (ValueError, KeyError, TypeError) as error:
            raise errors.bad_request("continue key is not valid") from error
        if name not in self._pictures:
            raise errors.expired_continue()
        return self._pictures[name]


def matcher(target: Target, query: Mapping[str, str]) -> Matches:
    """The test of a list or a watch: label selector, field selector, and the name of a watched object."""
    labels = selectors.labels(query.get("labelSelector", ""))
    fields = selectors.fields(query.get("fieldSelector", ""), target.resource.fields)

    def matches(obj: Json) -> bool:
        metadata = obj["metadata"]
        return (
            (not target.name or metadata["name"] == target.name)
            and (labels is None or labels(metadata.get("labels") or {}))
            and (fields is None or fields(obj))
        )

    return matches


def converted(resource: Resource, stored: Stored) -> Json:
    """The object in the version that was asked for: versions of a kind differ in nothing but their name here."""
    if stored.object["apiVersion"] == resource.api_version:
        return stored.object
    return {**stored.object, "apiVersion": resource.api_version}


def shown(resource: Resource, stored: Stored, look: Look) -> bytes:
    """One object as an answer or in an event."""
    if look.shape == "PartialObjectMetadata":
        return stored.metadata_raw
    if look.shape == "Table":
        version = stored.object["metadata"]["resourceVersion"]
        return encode(printing.table(resource, [converted(resource, stored)], look.include, version))
    same = stored.object["apiVersion"] == resource.api_version
    return stored.raw if same else encode(converted(resource, stored))


def _listed(resource: Resource, found: Sequence[Stored], look: Look, metadata: Json) -> bytes:
    if look.shape:
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        items = [each.metadata_raw for each in found]
    else:
        head = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version}
        items = [shown(resource, each, look) if resource.custom else each.bare for each in found]
    return encode({**head, "metadata": metadata})[:-1] + b',"items":[' + b",".join(items) + b"]}"
