"""The subresources beside status: `scale`, a pod's `binding` and a service account's `token`."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.apiserver import bodies, errors, kinds, selectors
from sandbox.apiserver.calls import Target
from sandbox.apiserver.kinds import Json, Resource, Scale
from sandbox.apiserver.objects import Objects, Writer
from sandbox.apiserver.store import Stored, encode
from sandbox.controlplane.pods import timestamp


class Subresources:
    """Tokens are random words; `users` says whose they are."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self.users: dict[str, str] = {}

    def read(self, target: Target) -> bytes:
        """Raises NotFound for all but `scale`, which alone can be read."""
        return encode(_scale_of(self._objects.get(target.resource, target.key), _scale(target)))

    def write(self, verb: str, target: Target, raw: bytes, content: str, writer: Writer) -> tuple[int, bytes]:
        match target.resource.key, target.subresource, verb:
            case kinds.PODS, "binding", "create":
                return 201, self._bind(target, bodies.obj(raw, content))
            case kinds.SERVICE_ACCOUNTS, "token", "create":
                return 201, self._token(target, bodies.obj(raw, content))
            case _, "scale", "update":
                body = bodies.obj(raw, content)
                return 200, self._rescale(target, lambda _: body, writer)
            case _, "scale", "patch":
                return 200, self._rescale(target, bodies.change(target.resource, raw, content), writer)
        raise errors.no_such_path()

    def _bind(self, target: Target, body: Json) -> bytes:
        """Give a pod its node, once."""
        node = body.get("target", {}).get("name", "")
        stored = self._objects.get(target.resource, target.key)
        pod = stored.object
        if known := pod["spec"].get("nodeName"):
            why = f'pod {target.name} is already assigned to node "{known}"'
            raise errors.conflict(target.resource, target.name, why)
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp()}
        conditions = [each for each in pod["status"].get("conditions") or () if each["type"] != "PodScheduled"]
        status = {**pod["status"], "conditions": [*conditions, scheduled]}
        self._objects.put(target.resource, stored, {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": status})
        return encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})

    def _token(self, target: Target, body: Json) -> bytes:
        account = self._objects.get(target.resource, target.key)
        seconds = int((body.get("spec") or {}).get("expirationSeconds") or 3600)
        token = secrets.token_urlsafe(24)
        self.users[token] = f"system:serviceaccount:{account.key[0]}:{account.key[1]}"
        until = timestamp(datetime.now(UTC) + timedelta(seconds=seconds))
        head = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {"name": target.name}}
        spec = {"audiences": [], "expirationSeconds": seconds}
        return encode({**head, "spec": spec, "status": {"token": token, "expirationTimestamp": until}})

    def _rescale(self, target: Target, change: Callable[[Json], Any], writer: Writer) -> bytes:
        where = _scale(target)
        stored = self._objects.get(target.resource, target.key)
        wanted = change(_scale_of(stored, where))
        replicas = (wanted.get("spec") or {}).get("replicas", 0)
        version = (wanted.get("metadata") or {}).get("resourceVersion", "")

        def set_replicas(old: Json) -> Json:
            metadata = {**old["metadata"], **({"resourceVersion": version} if version else {})}
            return {**_with(old, where.replicas, replicas), "metadata": metadata}

        return encode(_scale_of(self._objects.patch(target.resource, target.key, set_replicas, writer), where))


def _scale(target: Target) -> Scale:
    if target.resource.scale is None or target.subresource != "scale":
        raise errors.no_such_path()
    return target.resource.scale


def _scale_of(stored: Stored, where: Scale) -> Json:
    obj = stored.object
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = _at(obj, where.selector) if where.selector else ""
    text = selectors.text_of(selector) if isinstance(selector, dict) else selector or ""
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: obj["metadata"][name] for name in names if name in obj["metadata"]},
        "spec": {"replicas": _at(obj, where.replicas) or 0},
        "status": {"replicas": _at(obj, where.status) or 0, **({"selector": text} if text else {})},
    }


def _at(obj: Json, path: tuple[str, ...]) -> Any:
    here: Any = obj
    for step in path:
        here = here.get(step) if isinstance(here, dict) else None
    return here


def _with(obj: Json, path: tuple[str, ...], value: Any) -> Json:
    step, *rest = path
    return {**obj, step: _with(obj.get(step) or {}, tuple(rest), value) if rest else value}


def allowed(resource: Resource) -> list[tuple[str, str, str]]:
    """The subresources of a kind for discovery: name, group/version and kind of what they hold."""
    found = [("status", resource.api_version, resource.kind)] if resource.status else []
    if resource.scale:
        found.append(("scale", "autoscaling/v1", "Scale"))
    if resource.key == kinds.PODS:
        found.append(("binding", "v1", "Binding"))
    if resource.key == kinds.SERVICE_ACCOUNTS:
        found.append(("token", "authentication.k8s.io/v1", "TokenRequest"))
    return found
