"""From a changed object to the Canaries that it matters to, in constant time. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass

from services.watcher import policy
from services.watcher.policy import Address
from shared.canary.configs import ConfigRef
from shared.kube.json import Json
from shared.wire.messages import CanaryRef


@dataclass(frozen=True, slots=True)
class Entry:
    """One Canary of ours, and where it waits."""

    canary: Json
    target: Address
    waits: frozenset[Address]

    @property
    def ref(self) -> CanaryRef:
        return policy.canary_ref(self.canary)


class Index:
    """All Canaries of ours."""

    def __init__(self) -> None:
        self._entries: dict[Address, Entry] = {}
        self._waiting: dict[Address, set[Address]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, canary: Json, tracked: tuple[ConfigRef, ...]) -> None:
        """A Canary as it is now, with what its target's template refers to."""
        own = policy.address(canary)
        self.drop(own)
        entry = Entry(canary, policy.target(canary), policy.matters(canary, tracked))
        self._entries[own] = entry
        for address in entry.waits:
            self._waiting.setdefault(address, set()).add(own)

    def drop(self, own: Address) -> None:
        entry = self._entries.pop(own, None)
        for address in entry.waits if entry else ():
            waiting = self._waiting[address]
            waiting.discard(own)
            if not waiting:
                del self._waiting[address]

    def retrack(self, target: Address, tracked: tuple[ConfigRef, ...]) -> None:
        """The pod template of `target` changed: its Canaries may depend on other configs now."""
        for own in tuple(self._waiting.get(target, ())):
            if self._entries[own].target == target:
                self.put(self._entries[own].canary, tracked)

    def of(self, addresses: Iterable[Address]) -> tuple[CanaryRef, ...]:
        """Whom an object under these addresses matters to, each once."""
        found = {own for address in addresses for own in self._waiting.get(address, ())}
        return tuple(self._entries[own].ref for own in sorted(found))

    def all(self) -> tuple[Entry, ...]:
        return tuple(self._entries.values())
