"""Does the gateway divide requests as was written? By its own numbers, each gateway for itself. Pure.

A weight may be on its way, refused by a controller, or known to some gateways only: then a step would be judged on the
weight before. What is too few requests to tell holds nobody up.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from scipy import special

from services.analyzer import texts
from services.analyzer.policy import Answer, Row
from shared.wire.messages import Check, CheckKind, MetricSource, Outcome, Question, Shift

NAME: Final = "weight"
CHANCE: Final = 1e-4
"""How likely a gateway that follows is thought to be behind: its round robin is more even than the chance that is
reckoned with, so it is less than this."""

WAY: Final = 0.25
"""How much of the way to its weight a share must have come. Pages and scrapes are late, so with short intervals a good part
of the numbers is of before; a gateway that doesn't follow has come nowhere."""


@dataclass(frozen=True, slots=True)
class Division:
    """What one gateway sent where: to the canary, and to both sides together."""

    own: float = 0.0
    all: float = 0.0

    @property
    def share(self) -> float:
        """The canary's, in percent."""
        return 100 * self.own / self.all if self.all else 0.0


def judge_shift(question: Question, asked: Shift, answer: Answer) -> list[Check]:
    """One check; none where the canary had no request, which is for the evidence to judge."""
    if answer.fault:
        text = texts.query_failed(MetricSource.SUCCESS_RATE, NAME, answer.error)
        return [_check(asked, Outcome.ERROR, message=text, reason=answer.error)]
    found = divided(asked, answer.rows)
    every = Division(sum(each.own for each in found.values()), sum(each.all for each in found.values()))
    if not every.own:
        return []
    late = {name: each for name, each in found.items() if behind(asked, each)}
    if not late:
        return [_check(asked, Outcome.PASS, value=every.share)]
    name, worst = min(late.items(), key=lambda each: each[1].share)
    text = texts.behind(question, asked.weight, worst.own, worst.all, name if len(found) > 1 else "")
    note = text if asked.overdue else None
    return [_check(asked, Outcome.HOLD, value=worst.share, reason=text, note=note)]


def divided(asked: Shift, rows: Iterable[Row]) -> dict[str, Division]:
    """By gateway: the canary's requests, and both sides'. What reached nobody may have been the canary's."""
    found: dict[str, Division] = {}
    for row in rows:
        node = row.labels.get("node", "")
        own = not node or re.fullmatch(asked.canary, node) is not None
        if not own and not re.fullmatch(asked.primary, node):
            continue
        name = row.labels.get("instance", "")
        known = found.get(name, Division())
        found[name] = Division(known.own + own * row.value, known.all + row.value)
    return found


def behind(asked: Shift, found: Division) -> bool:
    """Has the canary too little for its weight, and about what it had before? More is no matter: testers and clients
    with a cookie come on top."""
    most, enough = found.own + asked.slack, asked.before + WAY * (asked.weight - asked.before)
    if most >= found.all * enough / 100:
        return False
    return float(special.bdtr(int(most), int(found.all), asked.weight / 100)) < CHANCE


def _check(asked: Shift, outcome: Outcome, **parts: object) -> Check:
    return Check.model_validate(
        {"name": NAME, "kind": CheckKind.EVIDENCE, "outcome": outcome, "query": asked.query, "lower": asked.weight}
        | parts
    )
