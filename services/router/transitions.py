"""The last transitions of a canary, as its status keeps them: the people's audit trail, and what is still to be told. Pure."""

from typing import Final

from services.router.rollout.machine import Decision
from services.router.rollout.texts import Draft
from shared.kube.json import Json

KEPT: Final = 20


def after(before: list[Json], decision: Decision, cause: str, at: str) -> list[Json]:
    """Those of before and the one of this decision, the last so many."""
    return [*before[-(KEPT - 1) :], _transition(decision, cause, at)]


def _transition(decision: Decision, cause: str, at: str) -> Json:
    state = decision.state
    first = state.seq - len(decision.events) + 1
    return {
        "seq": state.transition,
        "at": at,
        "phase": str(state.phase),
        "stage": str(state.stage),
        "cause": cause,
        "rule": decision.rule,
        "weight": state.weight,
        "failedChecks": state.failed_checks,
        "iterations": state.iterations,
        "events": [_event(first + index, draft) for index, draft in enumerate(decision.events)],
    }


def _event(seq: int, draft: Draft) -> Json:
    event: Json = {
        "seq": seq,
        "type": str(draft.type),
        "eventType": "Warning" if draft.warning else "Normal",
        "message": draft.message,
    }
    if draft.alert:
        event["alert"] = {
            "severity": draft.alert.severity, "message": draft.alert.message, "details": draft.alert.details,
        }  # fmt: skip
    return event
