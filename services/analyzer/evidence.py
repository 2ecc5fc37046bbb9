"""Did the canary serve anybody, and enough of them? Pure."""

from collections.abc import Sequence
from typing import Final

from services.analyzer import texts
from services.analyzer.policy import IGNORED, LABEL_OFF, NOT_MOVED, Answer, Fault, Sightings
from shared.wire.messages import Check, CheckKind, Evidence, MetricSource, NoData, Outcome, Question

NOT_SERVED: Final = "the canary itself answered no request since this step's weight was applied"


def judge_evidence(question: Question, asked: Evidence, seen: Sightings, metrics: Sequence[Check]) -> Check:
    """Did the canary serve anybody? `metrics` are the other checks, so that nothing is said twice."""
    counted = seen.route if seen.label_off else seen.own
    outcome, message, reason = _weight(question, asked, seen, counted)
    return Check(
        name="evidence",
        kind=CheckKind.EVIDENCE,
        outcome=outcome,
        value=None if counted.fault else counted.count,
        query=asked.route_query if seen.label_off else asked.query,
        message="" if message in {check.message for check in metrics} else message,
        reason="; ".join(filter(None, (reason, LABEL_OFF if seen.label_off else ""))),
        no_data=(outcome is not Outcome.ERROR and counted.count <= 0) or None,
        note=_noted(question, asked, seen),
    )


def _noted(question: Question, asked: Evidence, seen: Sightings) -> str | None:
    """A warning, told once."""
    if seen.label_off:
        return texts.mixed(question, LABEL_OFF)
    return _starved(question, asked, seen) if seen.own.count <= 0 else None


def _weight(question: Question, asked: Evidence, seen: Sightings, counted: Answer) -> tuple[Outcome, str, str]:
    """(outcome, Flagger's sentence, reason) of what was counted."""
    least = asked.least or 1
    if counted.count >= least:
        return Outcome.PASS, "", ""
    faults = [each for each in (seen.own, seen.nodes, seen.route) if each.fault]
    for each in faults:
        if each.fault is Fault.CLUSTER:
            return Outcome.HOLD, "", each.error
    if faults:
        error = faults[0].error
        return Outcome.ERROR, texts.query_failed(MetricSource.SUCCESS_RATE, texts.SUCCESS_RATE, error), error
    if counted.count > 0 and asked.no_data is not NoData.IGNORE:
        return Outcome.HOLD, "", f"the canary itself answered {counted.count:.0f} of {least} requests"
    if asked.first_tick:
        return Outcome.HOLD, "", NOT_MOVED
    if asked.no_data is NoData.HOLD:
        return Outcome.HOLD, "", NOT_SERVED
    if asked.no_data is NoData.IGNORE:
        return Outcome.PASS, "", IGNORED
    return Outcome.FAIL, texts.no_values(question, MetricSource.SUCCESS_RATE, texts.SUCCESS_RATE), NOT_SERVED


def _starved(question: Question, asked: Evidence, seen: Sightings) -> str | None:
    """A warning where the gateway can't have had a request for the canary yet, by its round robin."""
    if not 0 < seen.route.count <= (asked.first_after or 0):
        return None
    return texts.starved(question, asked, seen.route.count)
