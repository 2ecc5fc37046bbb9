"""The cookies of session affinity: whoever the canary answered once stays with it as long as this rollout lasts.

They follow from what the state holds anyway, so that no redelivery and no crash makes other ones.
"""

from dataclasses import replace
from hashlib import blake2s

from services.router.rollout.spec import Spec
from services.router.rollout.state import ANALYSING, Cookies, Phase, State

_HELD = ANALYSING | {Phase.PROMOTING}


def follow(spec: Spec, state: State) -> State:
    """The state with the cookies that belong to it; one that has served its time is remembered, to be taken back.

    The primary's is another one each step, so that its clients are divided anew by the new weight.
    """
    canary = primary = ""
    if spec.cookie and state.weight > 0 and state.phase in _HELD:
        canary = f"{spec.cookie}={_value(spec, state)}"
        primary = f"{spec.primary_cookie}={_value(spec, state, str(state.weight))}" if spec.primary_cookie else ""
    had = state.cookies
    former = had.canary if had.canary not in {"", canary} else had.former
    return replace(state, cookies=Cookies(canary, primary, former))


def _value(spec: Spec, state: State, *more: str) -> str:
    """Of this rollout and no other: a revision that is tried again gets another one."""
    began = state.rollout_started.isoformat() if state.rollout_started else ""
    return blake2s("/".join((spec.uid, state.revision, began, *more)).encode(), digest_size=8).hexdigest()
