"""The vocabulary of wanted objects: what one is, whose it is, and which labels it may take over. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from services.router.found import Found
from services.router.parse import Canary
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind

COPIED: Final = "serinus.dev/copied"
"""Annotation of what is made from an object of people's: which of its labels and annotations follow (W-A17)."""
OPT_OUT: Final = {
    "kustomize.toolkit.fluxcd.io/reconcile": "disabled",
    "helm.toolkit.fluxcd.io/driftDetection": "disabled",
}
"""Annotations that keep Flux off generated objects."""


@dataclass(frozen=True, slots=True)
class Options:
    """Settings that shape objects."""

    selector_labels: tuple[str, ...] = ("app", "name", "app.kubernetes.io/name")
    label_prefixes: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    apisix_before_3: bool = False
    settle: timedelta = timedelta(seconds=10)
    """How long a gateway may take to know what its controller has accepted."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One object as it shall be.

    `create` is posted if it isn't there (None: it's never created). Otherwise only what we own is compared: `exact`
    subtrees are ours entirely (None: it shall not be there), `merged` keys are ours and their neighbours somebody
    else's. `gone` asks for its deletion.
    """

    kind: Kind
    name: str
    create: Json | None = None
    exact: Mapping[tuple[str, ...], object] = field(default_factory=dict)
    merged: Json = field(default_factory=dict)
    gone: bool = False


class NoSelector(Exception):
    """The target's selector has none of the labels that tell workloads apart; the text is Flagger's."""


def selector(canary: Canary, found: Found, options: Options) -> tuple[str, str]:
    """(LABEL, VALUE): the first of the known labels in the target's selector (behaviour sheet §3.1)."""
    labels = json.mapping(found.target, "spec", "selector", "matchLabels")
    for label in options.selector_labels:
        if label in labels:
            return label, json.text(labels, label)
    known = " ".join(options.selector_labels)
    text = f"deployment {canary.spec.target_ref} spec.selector.matchLabels must contain one of [{known}]"
    raise NoSelector(f"getSelectorLabel failed: {text}")


def owner(canary: Canary) -> Json:
    """The controller reference that lets the garbage collector follow the Canary."""
    return {
        "apiVersion": kinds.CANARY.api_version, "kind": "Canary", "name": canary.spec.name, "uid": canary.spec.uid,
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip


def owners(canary: Canary, found: Found) -> list[Json]:
    """The Canary, and its target beside it: as long as that is there the garbage collector takes nothing, however the
    Canary is deleted. In the foreground it would otherwise take everything at once, whatever finalizers there are."""
    if found.target is None:
        return [owner(canary)]
    name, uid = json.name(found.target), json.uid(found.target)
    return [owner(canary), {"apiVersion": kinds.DEPLOYMENT.api_version, "kind": "Deployment", "name": name, "uid": uid}]


def kept(canary: Canary, found: Found, kind: Kind, document: Json) -> Wanted:
    """The same object with all its owners, where another controller named only the Canary."""
    return _owned_by(kind, document, [*owners(canary, found), *_others(canary, document)])


def kept_by_target(canary: Canary, document: Json) -> bool:
    """Does the target keep this object from being collected with the Canary?"""
    return any(_keeps(canary, each) for each in json.items(document, "metadata", "ownerReferences"))


def _keeps(canary: Canary, reference: Json) -> bool:
    names = (json.text(reference, "kind"), json.text(reference, "name"))
    return names == ("Deployment", canary.spec.target) and not json.flag(reference, "controller")


def tied(canary: Canary, kind: Kind, document: Json) -> Wanted:
    """The same object, which goes with the Canary, whether or not its target is there."""
    return _owned_by(kind, document, [owner(canary), *_others(canary, document)])


def owned(canary: Canary, document: Json | None) -> bool:
    """Is this object's controller a Canary of our name?"""
    references = json.items(document, "metadata", "ownerReferences")
    return any(_refers(canary, each) and json.flag(each, "controller") for each in references)


def _refers(canary: Canary, reference: Json) -> bool:
    return (json.text(reference, "kind"), json.text(reference, "name")) == ("Canary", canary.spec.name)


def untied(canary: Canary, kind: Kind, document: Json) -> Wanted:
    """The same object, which no longer goes with the Canary."""
    return _owned_by(kind, document, _others(canary, document))


def _others(canary: Canary, document: Json) -> list[Json]:
    have = json.items(document, "metadata", "ownerReferences")
    return [each for each in have if not _refers(canary, each) and not _keeps(canary, each)]


def _owned_by(kind: Kind, document: Json, references: list[Json]) -> Wanted:
    return Wanted(kind, json.name(document), None, {("metadata", "ownerReferences"): references or None})


def included(labels: Mapping[str, str], options: Options) -> dict[str, str]:
    """Labels that may be copied to generated objects (behaviour sheet §3.4)."""
    prefixes = options.label_prefixes
    return {
        key: value
        for key, value in without_flux(labels).items()
        if "*" in prefixes or key.startswith(tuple(prefixes) or ("\0",))
    }


def without_flux(metadata: Mapping[str, str]) -> dict[str, str]:
    """Labels or annotations but those by which Flux knows its own."""
    return {key: value for key, value in metadata.items() if "toolkit.fluxcd.io" not in key}
