"""Old and new versions of several services, side by side: which walks pass what. Pure.

What an order of updates can differ in is the mixes that it passes, and from which mix it comes to which.
"""

from collections.abc import Sequence


def each_mix(services: Sequence[str]) -> list[str]:
    """Whose version changes, one after the other, so that each mix of old and new is seen once; the last change comes
    back to the first one. A Gray code."""
    last = len(services) - 1
    return [services[min(_trailing_zeros(step), last)] for step in range(1, 2 ** len(services) + 1)]


def _trailing_zeros(number: int) -> int:
    return (number & -number).bit_length() - 1


def each_change(services: Sequence[str]) -> list[str]:
    """The same, so that in each mix each service is changed once, up or down: whatever any order of updates does at any
    point, and any order of going back. An Eulerian circuit of the cube, by Hierholzer."""
    passed: set[tuple[frozenset[str], str]] = set()
    walk: list[str] = []

    def go_on(mix: frozenset[str]) -> None:
        for service in services:
            if (mix, service) not in passed:
                passed.add((mix, service))
                go_on(mix ^ {service})
                walk.append(service)

    go_on(frozenset())
    return walk
