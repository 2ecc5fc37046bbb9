"""A share of events, spread evenly: 18 % is every fifth or sixth, never by chance, so that runs repeat exactly."""

from fractions import Fraction


class Share:
    """Says of each event in turn whether it belongs to the share."""

    def __init__(self, ratio: float) -> None:
        # By its decimal text: of 0.1 as a binary fraction, the tenth event would come out as the eleventh.
        self._ratio = Fraction(str(ratio))
        self._seen = 0

    def next(self) -> bool:
        """True for the event that completes the next whole one of the share."""
        self._seen += 1
        return self._seen * self._ratio // 1 > (self._seen - 1) * self._ratio // 1
