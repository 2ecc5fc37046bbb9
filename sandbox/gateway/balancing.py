"""Whose turn it is: the classic weighted round robin, kept by each worker process for itself.

It is not the "smooth" kind that spreads a small weight evenly: after a configuration write the heavy backend gets its
whole lead first. Of 90/10 the light one answers after 8 requests, of 97/3 only after 94, and since each write begins
anew, 97/3 with 60 requests between two writes never reaches it at all.
"""

import math
from collections.abc import Iterator, Sequence

from sandbox.gateway.config import Backend, Rule
from sandbox.network import Node


class WeightedTurns:
    """Turns by weight. In steps of the weights' greatest common divisor, each round serves those at or above a level."""

    def __init__(self, weights: Sequence[int]) -> None:
        self._turns = self._deal(list(enumerate(weights)))

    def next(self) -> int:
        """The index of whoever is next."""
        return next(self._turns)

    @staticmethod
    def _deal(weights: list[tuple[int, int]]) -> Iterator[int]:
        highest = max(weight for _, weight in weights)
        # All zero isn't "off": at level zero everybody is served, which makes an even split.
        step = math.gcd(*(weight for _, weight in weights)) or 1
        while True:
            for level in range(highest, 0, -step) or (0,):
                # The later backends come first: measured is a first canary answer right after the primary's lead.
                yield from (index for index, weight in reversed(weights) if weight >= level)


class Worker:
    """One nginx worker: its own turns for each rule, begun anew by every write of that rule."""

    def __init__(self) -> None:
        self._backends: dict[str, tuple[Rule, WeightedTurns]] = {}
        self._nodes: dict[tuple[str, str], tuple[tuple[Node, ...], WeightedTurns]] = {}

    def backend(self, rule: Rule) -> Backend:
        """The backend whose turn it is; there must be one. A single one gets everything, whatever its weight."""
        known, turns = self._backends.get(rule.name, (None, None))
        if known is None or turns is None or _rewritten(known, rule):
            turns = WeightedTurns([backend.weight for backend in rule.backends])
        if known is not rule:
            self._backends[rule.name] = (rule, turns)
        return rule.backends[turns.next()]

    def nodes(self, rule: Rule, backend: Backend) -> Iterator[Node]:
        """The node whose turn it is, then the others for retries. None if the backend has no endpoints."""
        if not backend.nodes:
            return
        key = (rule.name, backend.service)
        known, turns = self._nodes.get(key, ((), None))
        if turns is None or known != backend.nodes:
            turns = WeightedTurns([1] * len(backend.nodes))
            self._nodes[key] = (backend.nodes, turns)
        first = turns.next()
        yield from backend.nodes[first:]
        yield from backend.nodes[:first]


def _rewritten(known: Rule, rule: Rule) -> bool:
    """Somebody wrote the route, or one of its backends vanished or came back."""
    if known is rule:
        return False
    names = [backend.service for backend in known.backends]
    return known.written != rule.written or names != [backend.service for backend in rule.backends]
