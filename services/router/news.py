"""Which facts tell nothing new.

A look at a canary sees what the caches hold when it begins, and they mostly are ahead of the facts: each write of ours comes
back as one. Has an object not changed since a look began that left nothing to do, that look has answered its fact.
"""

from shared.kube import json
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire.messages import Fact


class News:
    """Counts what changes in the caches, object by object. What it never heard of, or heard the end of, is news."""

    def __init__(self) -> None:
        self._count = 0
        self._changed: dict[tuple[str, str, str], int] = {}
        self._quiet: dict[str, int] = {}

    def changed(self, kind: Kind, old: Json | None, new: Json | None) -> None:
        """An object was made, changed or deleted."""
        self._count += 1
        if new is not None:
            self._changed[kind.kind, json.namespace(new), json.name(new)] = self._count
        elif old is not None:
            self._changed.pop((kind.kind, json.namespace(old), json.name(old)), None)

    def moment(self) -> int:
        """Where we are now: a look that begins here sees all changes so far."""
        return self._count

    def quiet(self, uid: str, moment: int) -> None:
        """A look at this canary that began at that moment found nothing left to do."""
        self._quiet[uid] = moment

    def forget(self, uid: str) -> None:
        """The next fact is looked into, whatever it is about."""
        self._quiet.pop(uid, None)

    def tells(self, fact: Fact) -> bool:
        """May a look find something that the last one hasn't seen? The cache has reached the fact's version."""
        seen = fact.object
        changed = self._changed.get((seen.kind, seen.namespace, seen.name))
        quiet = self._quiet.get(fact.canary.uid)
        return bool(fact.checksum) or changed is None or quiet is None or changed > quiet
