"""POST, PUT, PATCH and DELETE of objects and of their status. What other subresources do is in `subresources`."""

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.apiserver import bodies, calls, errors
from sandbox.apiserver.calls import Look, Target
from sandbox.apiserver.kinds import Json
from sandbox.apiserver.objects import Objects, Writer
from sandbox.apiserver.reading import matcher, shown
from sandbox.apiserver.store import encode
from sandbox.apiserver.subresources import Subresources

Answer = tuple[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A request that wants to change something, as it came in."""

    verb: str
    target: Target
    query: Mapping[str, str]
    look: Look
    agent: str
    content: str
    raw: bytes

    def writer(self) -> Writer:
        apply = self.content == bodies.APPLY and self.verb == "patch"
        if apply and not self.query.get("fieldManager"):
            raise errors.bad_request(
                "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: for apply patch"
            )
        return Writer(
            manager=calls.manager(self.query, self.agent),
            operation="Apply" if apply else "Update",
            subresource=self.target.subresource,
            strict=self.query.get("fieldValidation") == "Strict",
            applied=bodies.configuration(self.raw) if apply else None,
        )


class Author:
    """Carries out writes; answers a status code and a body."""

    def __init__(self, objects: Objects, subresources: Subresources) -> None:
        self._objects = objects
        self._subresources = subresources

    def write(self, asked: Write) -> Answer:
        if asked.query.get("dryRun"):
            raise errors.bad_request("this server has no dry run")
        target = asked.target
        if target.subresource and target.subresource != "status":
            return self._subresources.write(asked.verb, target, asked.raw, asked.content, asked.writer())
        if target.subresource and not target.resource.status:
            raise errors.no_such_path()
        match asked.verb:
            case "create" if not target.name:
                return self._create(asked)
            case "update" if target.name:
                stored = self._objects.replace(
                    target.resource, target.key, bodies.obj(asked.raw, asked.content), asked.writer()
                )
                return 200, shown(target.resource, stored, asked.look)
            case "patch" if target.name:
                return self._patch(asked)
            case "delete" if not target.subresource:
                return 200, self._delete(asked)
            case "deletecollection":
                return 200, self._delete_all(asked)
        raise errors.method_not_allowed()

    def _create(self, asked: Write) -> Answer:
        target, body = asked.target, bodies.obj(asked.raw, asked.content)
        if target.resource.namespaced and not target.namespace:
            raise errors.method_not_allowed()
        stored = self._objects.create(target.resource, target.namespace, body, asked.writer())
        return 201, shown(target.resource, stored, asked.look)

    def _patch(self, asked: Write) -> Answer:
        target, writer = asked.target, asked.writer()
        if writer.applied is not None:
            known = self._objects.store.get(target.resource.key, target.key)
            force = calls.truth(asked.query, "force")
            stored = self._objects.apply(target.resource, target.key, writer, force=force)
            return (200 if known else 201), shown(target.resource, stored, asked.look)
        change = bodies.change(target.resource, asked.raw, asked.content)
        stored = self._objects.patch(target.resource, target.key, change, writer)
        return 200, shown(target.resource, stored, asked.look)

    def _delete(self, asked: Write) -> bytes:
        target = asked.target
        options = bodies.options(asked.raw, asked.query)
        stored = self._objects.delete(target.resource, target.key, options)
        if self._objects.store.get(target.resource.key, target.key):
            return shown(target.resource, stored, asked.look)
        details: Json = {"name": target.name, "kind": target.resource.plural, "uid": stored.object["metadata"]["uid"]}
        if target.resource.group:
            details["group"] = target.resource.group
        return encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    def _delete_all(self, asked: Write) -> bytes:
        target, matches = asked.target, matcher(asked.target, asked.query)
        options = bodies.options(asked.raw, asked.query)
        for stored in self._objects.store.scan(target.resource.key, target.namespace):
            if matches(stored.object):
                self._objects.delete(target.resource, stored.key, options)
        return encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"})
