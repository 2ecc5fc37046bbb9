"""What the checks of a tick come to beside each other, once all are made. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from services.analyzer import texts
from services.analyzer.policy import Answer
from shared.wire.messages import Blame, Check, CheckKind, Outcome, Question

NOTHING_JUDGED: Final = "nothing else was judged by numbers, so what is ignored can't let this pass"


def settled(checks: Sequence[Check]) -> list[Check]:
    """The same checks; where all that passed only passed because its lack of values is ignored, it holds instead."""
    judged = (CheckKind.METRIC, CheckKind.HOOK)
    if any(check.kind in judged and check.outcome is Outcome.PASS and not check.no_data for check in checks):
        return list(checks)
    held = {"outcome": Outcome.HOLD, "reason": NOTHING_JUDGED}
    return [
        check.model_copy(update=held) if check.no_data and check.outcome is Outcome.PASS else check for check in checks
    ]


def blamed(question: Question, check: Check, found: Answer) -> Check:
    """With whose answers the failed requests got, and a sentence of its own where some were the gateway's."""
    by = {row.labels.get("by", ""): row.value for row in found.rows}
    blame = Blame(application=by.get("application", 0.0), gateway=by.get("gateway", 0.0))
    if not blame.application + blame.gateway:
        return check
    note = texts.blamed(question, blame) if blame.gateway else None
    return check.model_copy(update={"blame": blame, "note": note})


def counted(checks: Iterable[Check]) -> Iterator[str]:
    """What each check by numbers came to, in the words of the metric: what failed, had no data or erred is told apart."""
    words = {Outcome.PASS: "passed", Outcome.FAIL: "failed", Outcome.HOLD: "held", Outcome.ERROR: "error"}
    for check in checks:
        if check.kind in (CheckKind.METRIC, CheckKind.EVIDENCE):
            yield "no_data" if check.no_data else words[check.outcome]
