"""`status.conditions` of a Canary: how it stands, for `kubectl wait` and whoever judges health. Pure."""

from typing import Final

from services.router.rollout import texts
from services.router.rollout.guards import HELD, PROBLEM
from services.router.rollout.state import Phase, State
from shared.kube import json
from shared.kube.json import Json

_MESSAGES: Final = {
    Phase.INITIALIZED: ("True", "{kind} initialization completed."),
    Phase.WAITING: ("Unknown", "Waiting for approval."),
    Phase.WAITING_PROMOTION: ("Unknown", "Waiting for approval."),
    Phase.PROGRESSING: ("Unknown", "New revision detected, progressing canary analysis."),
    Phase.PROMOTING: ("Unknown", "Canary analysis completed, starting primary rolling update."),
    Phase.FINALISING: ("Unknown", "Canary analysis completed, routing all traffic to primary."),
    Phase.SUCCEEDED: ("True", "Canary analysis completed successfully, promotion finished."),
    Phase.FAILED: ("False", "Canary analysis failed, {kind} scaled to zero."),
}


def of(old: Json, state: State, kind: str, at: str) -> list[Json]:
    """`Promoted` as Flagger has it; `Supported`, `TargetIdle` and `Runnable` once there was something to say."""
    had = {json.text(each, "type"): each for each in json.items(old, "conditions")}
    found = []
    if state.phase is not Phase.NEW:
        value, message = _MESSAGES.get(state.phase, ("Unknown", "New {kind} detected, starting initialization."))
        message = message.format(kind=kind)
        if state.hold and state.hold.reason.startswith(HELD):
            message += f" On hold: {state.hold.reason.removeprefix(HELD)}."
        found.append(condition(had.get("Promoted"), "Promoted", value, str(state.phase), message, at))
    if not state.supported or "Supported" in had:
        reasons = [
            notice.removeprefix("block:refused: ") for notice in state.noticed if notice.startswith("block:refused")
        ]
        value, reason = ("True", "Supported") if state.supported else ("False", "Refused")
        found.append(
            condition(had.get("Supported"), "Supported", value, reason, "; ".join(reasons) or "Supported.", at)
        )
    if state.yielded or "TargetIdle" in had:
        value, reason = ("False", "ScaledUp") if state.yielded else ("True", "Idle")
        text = f"{state.yielded} keeps scaling the target up: {texts.unyielded(state.yielded)}."
        message = text if state.yielded else "The target is kept at zero between rollouts."
        found.append(condition(had.get("TargetIdle"), "TargetIdle", value, reason, message, at))
    problem = state.hold.reason.removeprefix(PROBLEM) if state.hold and state.hold.reason.startswith(PROBLEM) else ""
    if problem or "Runnable" in had:
        value, reason = ("False", "Problem") if problem else ("True", "Runnable")
        found.append(
            condition(had.get("Runnable"), "Runnable", value, reason, problem or "Nothing stands in the way.", at)
        )
    return found


def condition(had: Json | None, kind: str, value: str, reason: str, message: str, at: str) -> Json:
    """The condition as it should be: the one that was there, where it says the same."""
    same = had is not None and had.get("status") == value
    if had is not None and same and had.get("reason") == reason and had.get("message") == message:
        return had
    since = json.text(had, "lastTransitionTime") if same else ""
    return {
        "type": kind, "status": value, "reason": reason, "message": message,
        "lastUpdateTime": at,
        "lastTransitionTime": since or at,
    }  # fmt: skip
