"""Config tracking: which ConfigMaps and Secrets a pod template uses, and when one of them changed.

Pure. The watcher puts checksums into facts, the router compares them with `status.trackedConfigs`, copies the objects
for the primary and points the primary's template at the copies. Scanned are volumes (plain and projected), `env` and
`envFrom` of containers and initContainers; not scanned are imagePullSecrets, CSI volumes and ephemeral containers.
"""

import copy
import hashlib
import json as encoding
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from shared.canary.names import PRIMARY
from shared.kube import json
from shared.kube.json import Json

OPT_OUT: Final = "flagger.app/config-tracking"
"""Annotation of an object that nobody should track: any value that starts with `disable`."""

TRACKED_SECRET_TYPES: Final = frozenset(
    {"Opaque", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/tls"}
)

_ESCAPED: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)
# What Go's encoder writes in its own way inside strings.


@dataclass(frozen=True, slots=True, order=True)
class ConfigRef:
    """One reference of a pod template: `kind` is `ConfigMap` or `Secret`."""

    kind: str
    name: str
    optional: bool = False

    @property
    def key(self) -> str:
        """As in `status.trackedConfigs`: `configmap/<name>` or `secret/<name>`."""
        return f"{self.kind.lower()}/{self.name}"


def references(template: Json) -> tuple[ConfigRef, ...]:
    """What a pod template (`spec.template`) uses, sorted, each object once; the last reference's `optional` wins."""
    found: dict[str, ConfigRef] = {}
    for kind, field, source in _sources(template):
        if name := json.text(source, field):
            ref = ConfigRef(kind, name, json.flag(source, "optional"))
            found[ref.key] = ref
    return tuple(sorted(found.values()))


def checksum(data: Mapping[str, str] | None) -> str:
    """The first 16 hex digits of the SHA-256 of `data` as Go writes it: Flagger's own values stay valid.

    A Secret's values are given as they are in the API, in base64.
    """
    ordered = None if data is None else {key: data[key] for key in sorted(data, key=lambda key: key.encode())}
    text = encoding.dumps(ordered, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPED)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ignored(obj: Json) -> bool:
    """Does this ConfigMap or Secret opt out of tracking, or is it a Secret of a type that nobody tracks?"""
    if json.text(obj, "metadata", "annotations", OPT_OUT).startswith("disable"):
        return True
    return json.text(obj, "kind") == "Secret" and json.text(obj, "type") not in TRACKED_SECRET_TYPES


def rename(template: Json, tracked: Collection[str]) -> Json:
    """A copy of `template` whose references in `tracked` (keys like `configmap/a`) are to the primary's copies."""
    return _renamed(template, lambda ref: ref.name + PRIMARY if ref.key in tracked else ref.name)


def rename_back(template: Json, tracked: Collection[str]) -> Json:
    """A copy of `template` that refers to the sources in `tracked` again instead of to their copies."""

    def source(ref: ConfigRef) -> str:
        name = ref.name.removesuffix(PRIMARY)
        return name if name != ref.name and ConfigRef(ref.kind, name).key in tracked else ref.name

    return _renamed(template, source)


def _renamed(template: Json, new: Callable[[ConfigRef], str]) -> Json:
    renamed = copy.deepcopy(template)
    for kind, field, source in _sources(renamed):
        if name := json.text(source, field):
            source[field] = new(ConfigRef(kind, name))
    return renamed


def _sources(template: Json) -> Iterator[tuple[str, str, Json]]:
    """(kind, field of the name, the object that holds that field), in the order in which the last one wins."""
    for volume in json.items(template, "spec", "volumes"):
        yield "ConfigMap", "name", json.mapping(volume, "configMap")
        yield "Secret", "secretName", json.mapping(volume, "secret")
        for projected in json.items(volume, "projected", "sources"):
            yield "ConfigMap", "name", json.mapping(projected, "configMap")
            yield "Secret", "name", json.mapping(projected, "secret")
    for group in ("initContainers", "containers"):
        for container in json.items(template, "spec", group):
            for variable in json.items(container, "env"):
                if source := json.mapping(variable, "valueFrom"):  # most are plain values
                    yield "ConfigMap", "name", json.mapping(source, "configMapKeyRef")
                    yield "Secret", "name", json.mapping(source, "secretKeyRef")
            for variables in json.items(container, "envFrom"):
                yield "ConfigMap", "name", json.mapping(variables, "configMapRef")
                yield "Secret", "name", json.mapping(variables, "secretRef")
