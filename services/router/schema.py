"""Does the API server keep our status fields? Flagger's own CRD would prune them without a word.

While it doesn't, the router isn't ready and writes nothing: a single write of a status would lose what is stored there.
The rolling canaries' people hear of it from Kubernetes Events, which need no status.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from services.router import status
from services.router.ports import Cache
from services.router.rollout.state import UNDER_WAY
from shared.errors import Never, RetryLater
from shared.kube import json
from shared.kube.events import Events
from shared.kube.json import Json
from shared.runtime.clock import Clock
from shared.wire import messages as wire

log = logging.getLogger(__name__)
NAME: Final = "canaries.flagger.app"
FIX: Final = "kubectl apply --server-side --force-conflicts -k k8s/crds"
MISSING: Final = f"the Canary CRD is not installed: {FIX}"
FOREIGN: Final = f"the installed Canary CRD drops our status fields: {FIX}"
RETURNED: Final = "the installed Canary CRD keeps our status fields again"
GLANCE: Final = 2.0
"""Seconds between looks. API servers take a moment to serve what a CRD says: ours counts from the second look on."""


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
        self.version = 0
        """Of the CRD that the problem is about; another one for every time that it is put back."""

    def changed(self, _: Json | None, new: Json | None) -> bool:
        """Take in one CRD; True if it was ours."""
        shown = new or _
        if json.name(shown) != NAME:
            return False
        self.problem = MISSING if new is None else "" if new["keeps"] else FOREIGN
        if self.problem:
            self.version = json.order(json.version(shown))
        return True


class Gate:
    """Shut while the CRD isn't ours: messages wait before it, and people are told why, once by whichever replica."""

    def __init__(
        self, schema: Schema, canaries: Cache, concerns: Callable[[Json], bool], events: Events, clock: Clock
    ) -> None:
        self._schema, self._canaries, self._concerns = schema, canaries, concerns
        self._events, self._clock = events, clock
        self._open = asyncio.Event()
        self._fine = True
        self._told: dict[str, wire.CanaryRef] = {}
        self._open.set()

    async def passed(self) -> None:
        """Returns once it is open."""
        await self._open.wait()

    async def once(self) -> None:
        """Look at what the watch said, and tell."""
        problem = self._schema.problem
        if problem:
            self._open.clear()
            await self._hold(problem)
        elif self._fine and not self._open.is_set():
            self._open.set()
            await self._resume()
        self._fine = not problem

    async def _hold(self, problem: str) -> None:
        for document in list(self._canaries.all()):
            held = self._concerns(document) and status.decode(document).phase in UNDER_WAY
            if held and json.uid(document) not in self._told:
                ref = wire.CanaryRef(
                    namespace=json.namespace(document), name=json.name(document), uid=json.uid(document)
                )
                if await self._tell(ref, f"Holding {ref.name}.{ref.namespace}: {problem}", warning=True):
                    self._told[ref.uid] = ref

    async def _resume(self) -> None:
        for ref in self._told.values():
            await self._tell(ref, f"Resuming {ref.name}.{ref.namespace}: {RETURNED}", warning=False)
        self._told.clear()

    async def _tell(self, ref: wire.CanaryRef, text: str, *, warning: bool) -> bool:
        event = wire.RolloutEvent(
            canary=ref,
            seq=self._schema.version,
            at=self._clock.now(),
            type=wire.EventType.HOLD,
            event_type="Warning" if warning else "Normal",
            message=text,
            phase="",
        )
        try:
            await self._events.tell(event)
        except (RetryLater, Never) as error:
            log.warning("not told yet: %s: %s", text, error)
            return False
        log.warning("%s", text)
        return True
