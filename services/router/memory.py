"""What `status.serinus` held last, for when somebody takes it away.

The status is the only truth, but others can wipe ours out of it: a controller that writes a whole status of its own
type, as Flagger does, or an API server whose definition of the Canary doesn't have our fields. Our next commit puts back
what was there. A router that never saw it takes the Canary over as it stands.
"""

from shared.kube import json
from shared.kube.json import Json


class Memory:
    """By uid; costs a reference each."""

    def __init__(self) -> None:
        self._own: dict[str, Json] = {}

    def learn(self, document: Json) -> None:
        """The newest that was seen counts, whichever way it came."""
        own, known = json.mapping(document, "status", "serinus"), self._own.get(json.uid(document))
        if own and json.number(own, "transition") >= json.number(known, "transition"):
            self._own[json.uid(document)] = own

    def forget(self, uid: str) -> None:
        self._own.pop(uid, None)

    def wiped(self, document: Json) -> bool:
        """Is what we wrote no longer there?"""
        return not json.mapping(document, "status", "serinus") and json.uid(document) in self._own

    def recalled(self, document: Json) -> Json:
        """The Canary as if nobody had wiped anything."""
        if not self.wiped(document):
            return document
        status = {**json.mapping(document, "status"), "serinus": self._own[json.uid(document)]}
        return {**document, "status": status}
