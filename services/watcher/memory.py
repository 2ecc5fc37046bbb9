"""What the watcher remembers of an object: who it is, where it points, and a digest of what matters in it.

Pure. A cluster has many more objects than canaries have parts, so most of what is followed is remembered only to
recognise a change: a Deployment shrinks from 6 kB to 1 kB, and no ConfigMap's or Secret's annotations stay, since
`kubectl apply` leaves a copy of the data there. A Canary is kept whole.
"""

import hashlib
import json as encoding
from collections.abc import Callable
from typing import Any, Final

from services.watcher.policy import OF_SERVICE
from shared.canary import configs
from shared.kube import informer, json, kinds
from shared.kube.caches import Follow
from shared.kube.json import Json
from shared.kube.kinds import Kind

_IDENTITY: Final = ("namespace", "name", "uid", "resourceVersion", "generation", "deletionTimestamp")
_METADATA: Final = ("labels", "annotations", "ownerReferences")
_COUNTS: Final = (
    "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas",
    "collisionCount",
)  # fmt: skip
_ENDPOINT: Final = ("addresses", "conditions", "nodeName")


def follow(*, config_tracking: bool) -> dict[Kind, Follow]:
    """All kinds to follow, and how."""
    followed = {
        kinds.CANARY: Follow(keep=informer.slim_managed_fields),
        kinds.METRIC_TEMPLATE: Follow(keep=_remember(_spec)),
        kinds.ALERT_PROVIDER: Follow(keep=_remember(_spec)),
        kinds.DEPLOYMENT: Follow(keep=_deployment if config_tracking else _remember(_workload)),
        kinds.AUTOSCALER: Follow(keep=_autoscaler),
        kinds.SERVICE: Follow(keep=_remember(_described_spec)),
        kinds.ENDPOINT_SLICE: Follow(keep=_endpoint_slice),
        kinds.APISIX_ROUTE: Follow(keep=_remember(_route)),
        kinds.APISIX_UPSTREAM: Follow(keep=_remember(_described_spec), optional=True),
    }
    if config_tracking:
        config = Follow(keep=_remember(json.version), metadata_only=True)
        followed |= {kinds.CONFIG_MAP: config, kinds.SECRET: config}
    return followed


def tracked(deployment: Json | None) -> tuple[configs.ConfigRef, ...]:
    """The configs that a remembered Deployment's pod template refers to."""
    return tuple(configs.ConfigRef(kind, name) for kind, name in json.value(deployment, "configs") or ())


def _remember(essence: Callable[[Json], Any]) -> Callable[[Json], Json]:
    def keep(obj: Json) -> Json:
        metadata = json.mapping(obj, "metadata")
        return {
            "kind": obj["kind"],
            "metadata": {field: metadata[field] for field in _IDENTITY if field in metadata},
            "digest": _digest([essence(obj), metadata.get("deletionTimestamp")]),
        }

    return keep


def _digest(essence: Any) -> bytes:
    return hashlib.blake2b(encoding.dumps(essence, sort_keys=True).encode(), digest_size=16).digest()


def _spec(obj: Json) -> Any:
    return obj.get("spec")


def _described_spec(obj: Json) -> Any:
    """Status isn't in it: Services' and autoscalers' controllers report there what they did."""
    metadata = json.mapping(obj, "metadata")
    return [obj.get("spec"), [metadata.get(field) for field in _METADATA]]


def _route(obj: Json) -> Any:
    """And whether its controller takes it, without the generations that it reports of every write."""
    conditions = json.items(obj, "status", "conditions")
    told = [[condition.get(field) for field in ("type", "status", "reason")] for condition in conditions]
    return [_described_spec(obj), sorted(told, key=str)]


def _workload(obj: Json) -> Any:
    """The generation stands for the spec. A condition's times and its message of progress are no news."""
    status = json.mapping(obj, "status")
    conditions = [
        [condition.get(field) for field in ("type", "status", "reason")]
        for condition in json.items(status, "conditions")
    ]
    metadata = json.mapping(obj, "metadata")
    return [
        [metadata.get(field) for field in ("generation", "labels", "ownerReferences")],
        json.value(obj, "spec", "replicas"),
        [status.get(field) for field in _COUNTS],
        sorted(conditions, key=str),
    ]


def _deployment(obj: Json) -> Json:
    refs = configs.references(json.mapping(obj, "spec", "template"))
    return _remember(_workload)(obj) | {"configs": [(ref.kind, ref.name) for ref in refs]}


def _autoscaler(obj: Json) -> Json:
    """Its status, which moves every 15 s, is nothing to us."""
    return _remember(_described_spec)(obj) | {"spec": {"scaleTargetRef": json.mapping(obj, "spec", "scaleTargetRef")}}


def _endpoint_slice(obj: Json) -> Json:
    kept = _remember(_endpoints)(obj)
    kept["metadata"]["labels"] = {OF_SERVICE: json.text(obj, "metadata", "labels", OF_SERVICE)}
    return kept


def _endpoints(obj: Json) -> Any:
    endpoints = [[endpoint.get(field) for field in _ENDPOINT] for endpoint in json.items(obj, "endpoints")]
    return [sorted(endpoints, key=str), obj.get("ports"), json.text(obj, "metadata", "labels", OF_SERVICE)]
