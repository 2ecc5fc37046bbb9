"""Does the API server keep our status fields? Flagger's own CRD would prune them without a word.

While it doesn't, the router isn't ready and writes nothing.
"""

from typing import Final

from shared.kube import json
from shared.kube.json import Json

NAME: Final = "canaries.flagger.app"
MISSING: Final = "the Canary CRD is not installed: apply k8s/crds"
FOREIGN: Final = "the installed Canary CRD drops our status fields: apply k8s/crds"


def slim(crd: Json) -> Json:
    """What is worth its memory of a CustomResourceDefinition: its name, and for ours whether it keeps our fields."""
    metadata = {key: crd["metadata"][key] for key in ("name", "uid", "resourceVersion") if key in crd["metadata"]}
    return {"metadata": metadata, "keeps": json.name(crd) == NAME and _keeps(crd)}


def _keeps(crd: Json) -> bool:
    served = [each for each in json.items(crd, "spec", "versions") if json.flag(each, "served")]
    path = ("schema", "openAPIV3Schema", "properties", "status", "properties", "serinus")
    return bool(served) and all(json.mapping(each, *path) for each in served)


class Schema:
    """What the CRD watch last said."""

    def __init__(self) -> None:
        self.problem = MISSING

    def changed(self, _: Json | None, new: Json | None) -> bool:
        """Take in one CRD; True if it was ours."""
        name = json.name(new or _)
        if name != NAME:
            return False
        self.problem = MISSING if new is None else "" if new["keeps"] else FOREIGN
        return True
