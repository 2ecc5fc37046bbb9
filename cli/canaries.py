"""Which Canaries are meant: by name, or all that are Serinus's."""

import contextlib
from dataclasses import dataclass

from cli.ports import Api, Refusal
from shared.canary import ownership
from shared.errors import Conflict
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind

MOST_RACES = 5
"""Writes that somebody else may be faster with before a person is told."""


@dataclass(frozen=True, slots=True)
class Ref:
    """NAMESPACE/NAME."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Ref":
        """Raises ValueError."""
        namespace, slash, name = text.partition("/")
        if not (namespace and slash and name) or "/" in name:
            raise ValueError(f"{text} is not NAMESPACE/NAME")
        return cls(namespace, name)

    @classmethod
    def of(cls, document: Json) -> "Ref":
        return cls(json.namespace(document), json.name(document))

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


async def one(api: Api, ref: Ref, default_provider: str) -> Json:
    """This Canary, if it's Serinus's. Raises Refusal."""
    found = await api.get(kinds.CANARY, ref.namespace, ref.name)
    if found is None:
        raise Refusal(f"there is no Canary {ref}")
    if not ownership.ours(found, default_provider):
        raise Refusal(
            f"{ref} is not Serinus's: its provider is {json.text(found, 'spec', 'provider') or 'the default'}"
        )
    return found


async def ours(api: Api, namespace: str, default_provider: str) -> list[Json]:
    """All Canaries that are Serinus's, in this namespace or (empty) in all, by name."""
    found, _ = await api.list(kinds.CANARY, namespace or None)
    mine = [each for each in found if ownership.ours(each, default_provider)]
    return sorted(mine, key=lambda each: (json.namespace(each), json.name(each)))


async def rewrite(api: Api, kind: Kind, document: Json, patch: Json) -> Json | None:
    """Patch the version that was looked at; None if somebody was faster, so that it's looked at again."""
    versioned = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": json.version(document)}}
    with contextlib.suppress(Conflict):
        return await api.patch(kind, json.namespace(document), json.name(document), versioned)
    return None
