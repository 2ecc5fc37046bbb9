"""What is looked for by something else than its name, kept up to date by `changed`: a look takes the same time, however many
canaries share a namespace.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from services.router.news import News
from services.router.siblings import Siblings
from shared.kube import json, kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind

Key = tuple[str, ...]
_SERVICE_LABEL: Final = "kubernetes.io/service-name"


class By:
    """The objects of one kind by a part of theirs; those without it are left out."""

    def __init__(self, key: Callable[[Json], Key]) -> None:
        self._key = key
        self._found: dict[Key, dict[str, Json]] = {}

    def changed(self, old: Json | None, new: Json | None) -> None:
        """One was made, changed or deleted."""
        if old is not None:
            key = self._key(old)
            there = self._found.get(key, {})
            there.pop(json.name(old), None)
            if not there:
                self._found.pop(key, None)
        if new is not None and all(key := self._key(new)):
            self._found.setdefault(key, {})[json.name(new)] = new

    def of(self, namespace: str, *part: str) -> tuple[Json, ...]:
        """Those of a namespace that have this part."""
        return tuple(self._found.get((namespace, *part), {}).values())


class Index:
    """Everything that the router looks for in this way."""

    def __init__(self, given: Mapping[Kind, Iterable[Json]] | None = None) -> None:
        self.siblings = Siblings()
        self.news = News()
        """What changed when, for facts that a look has answered already."""
        self.slices = By(lambda found: (json.namespace(found), json.text(found, "metadata", "labels", _SERVICE_LABEL)))
        """EndpointSlices by Service."""
        self.scalers = By(lambda found: _aims(found, "scaleTargetRef"))
        """Autoscalers by kind and name of what they scale."""
        self.canaries = By(lambda found: _aims(found, "targetRef"))
        """By kind and name of their targets."""
        self._kept: dict[Kind, By | Siblings] = {
            kinds.APISIX_ROUTE: self.siblings, kinds.ENDPOINT_SLICE: self.slices, kinds.AUTOSCALER: self.scalers,
            kinds.CANARY: self.canaries,
        }  # fmt: skip
        for kind, objects in (given or {}).items():
            for each in objects:
                self.changed(kind, None, each)

    def changed(self, kind: Kind, old: Json | None, new: Json | None) -> None:
        """An object of any kind was made, changed or deleted."""
        self.news.changed(kind, old, new)
        if kept := self._kept.get(kind):
            kept.changed(old, new)


def _aims(found: Json, reference: str) -> Key:
    aim = json.mapping(found, "spec", reference)
    return json.namespace(found), json.text(aim, "kind"), json.text(aim, "name")
