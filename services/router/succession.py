"""Whether this replica knows all that was committed for a canary. Pure.

Replicas take turns at a partition, message by message, and what one has committed reaches the other by its watch: mostly
within milliseconds, but later than the next message can. A replica that acted on the state before would put weights
back, and take for doubled what it should have waited for.

A durable numbers its deliveries, whoever gets them. While they come here one after the other, nobody else can have
written; after a gap each canary is looked up once.
"""


class Succession:
    """Of one durable."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._known: set[str] = set()

    def unbroken(self, number: int, uid: str) -> bool:
        """Has this canary been looked up, and everything come here since? `number` is this delivery's."""
        if self._last is None or number != self._last + 1:
            self._known.clear()
        self._last = number
        return uid in self._known

    def looked_up(self, uid: str) -> None:
        """Its newest version is known now."""
        self._known.add(uid)
