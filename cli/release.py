"""`release --all`: takes what ties objects to our Canaries off them, so that nothing is collected with a Canary.

For whoever removes Serinus or its definitions and wants everything to stay as it runs. Only ties to Canaries of ours
are cut: another controller's Canaries keep theirs.
"""

from typing import Final

from cli import canaries
from cli.canaries import Ref
from cli.ports import Api, Refusal, Say
from services.router.parse import FINALIZER
from shared.kube import json, kinds
from shared.kube.errors import Gone
from shared.kube.json import Json
from shared.kube.kinds import Kind

OWNED: Final = (
    kinds.DEPLOYMENT, kinds.SERVICE, kinds.AUTOSCALER, kinds.CONFIG_MAP, kinds.SECRET, kinds.APISIX_ROUTE,
    kinds.APISIX_UPSTREAM,
)  # fmt: skip
"""Everything that the router makes."""


async def all_of(api: Api, namespace: str, default_provider: str, *, dry_run: bool, say: Say) -> None:
    """Idempotent; owners last, so that a run that was cut short still finds what is left of their objects."""
    mine = await canaries.ours(api, namespace, default_provider)
    uids = frozenset(map(json.uid, mine))
    done = 0
    for kind in OWNED if mine else ():
        for each in await _there(api, kind, namespace):
            done += await _cut(api, kind, each, uids, dry_run=dry_run, say=say)
    for each in mine:
        done += await _cut(api, kinds.CANARY, each, uids, dry_run=dry_run, say=say)
    say(f"{done} {'to release' if dry_run else 'released'}, of {len(mine)} Canaries of Serinus")


async def _there(api: Api, kind: Kind, namespace: str) -> list[Json]:
    """None of a kind that isn't served: its definition may have been removed already."""
    try:
        found, _ = await api.list(kind, namespace or None, metadata_only=True)
    except Gone:
        return []
    return found


async def _cut(api: Api, kind: Kind, seen: Json, uids: frozenset[str], *, dry_run: bool, say: Say) -> bool:
    document: Json | None = seen
    for _ in range(canaries.MOST_RACES):
        if document is None or not (metadata := ties(kind, document, uids)):
            return False
        if dry_run or await canaries.rewrite(api, kind, document, {"metadata": metadata}):
            say(f"{'would release' if dry_run else 'released'} {kind.kind} {Ref.of(document)}")
            return True
        document = await api.get(kind, json.namespace(seen), json.name(seen))
    raise Refusal(f"somebody else keeps writing {kind.kind} {Ref.of(seen)}: try again")


def ties(kind: Kind, document: Json, uids: frozenset[str]) -> Json:
    """The merge patch of the metadata that unties it; empty if nothing does."""
    if kind == kinds.CANARY:
        names = json.value(document, "metadata", "finalizers") or []
        return {"finalizers": [each for each in names if each != FINALIZER] or None} if FINALIZER in names else {}
    have = json.items(document, "metadata", "ownerReferences")
    if not any(_canary(each, uids) for each in have):
        return {}
    return {"ownerReferences": [each for each in have if not (_canary(each, uids) or _target(each))] or None}


def _canary(reference: Json, uids: frozenset[str]) -> bool:
    return json.text(reference, "kind") == kinds.CANARY.kind and json.text(reference, "uid") in uids


def _target(reference: Json) -> bool:
    """Beside its Canary the router names the target as an owner, which controls nothing."""
    return json.text(reference, "kind") == kinds.DEPLOYMENT.kind and not json.flag(reference, "controller")
