"""When a rule of the table applies. Each is one question about spec, state and observation."""

from services.router.rollout.context import Context
from services.router.rollout.inputs import Judged, Verb
from services.router.rollout.state import SETTLED, Phase, Purpose, Stage, State

BLOCK = "block:"
"""Prefix of the notice that a canary is blocked; what follows is the reason."""


def is_current(state: State, verdict: Judged) -> bool:
    """The verdict answers the very tick that the state waits for."""
    tick = state.tick
    return tick is not None and (tick.seq, tick.due, tick.revision, tick.purpose) == (
        verdict.seq, verdict.due, verdict.revision, verdict.purpose,
    )  # fmt: skip


def always(_: Context) -> bool:
    return True


def judged(c: Context) -> bool:
    return isinstance(c.message, Judged) and is_current(c.state, c.message)


def deleted(c: Context) -> bool:
    return c.spec.deleting


def reverted(c: Context) -> bool:
    """Ready, or waited for long enough: a deletion must end."""
    over = c.state.rollout_started is not None and c.now > c.state.rollout_started + c.spec.deadline
    return "terminated" not in c.state.noticed and ((c.seen.canary.ready and c.seen.canary_scaled) or over)


def block_reason(c: Context) -> str:
    """Why we keep our hands off, or an empty text. The order is the order of what a person would fix first."""
    if c.spec.suspended:
        return "suspended"
    if c.seen.refusals:
        return "refused: " + "; ".join(c.seen.refusals)
    if c.seen.hold:
        return "held: " + c.seen.hold
    return "problem: " + c.seen.problem if c.seen.problem else ""


def blocked(c: Context) -> bool:
    return bool(block_reason(c))


def unblocked(c: Context) -> bool:
    return any(notice.startswith(BLOCK) for notice in c.state.noticed)


def warned(c: Context) -> bool:
    return any(text not in c.state.noticed for text in c.seen.warnings)


def _asked(c: Context, verb: Verb) -> bool:
    request = c.seen.request
    return request is not None and request.id != c.state.request and request.verb is verb


def asked_abort(c: Context) -> bool:
    return _asked(c, Verb.ABORT)


def asked_promote(c: Context) -> bool:
    return _asked(c, Verb.PROMOTE) and c.state.stage in {Stage.JUDGING, Stage.PREPARING} and c.seen.canary.ready


def asked_retry(c: Context) -> bool:
    return _asked(c, Verb.RETRY) and c.seen.revision not in {"", c.state.promoted} and c.seen.primary.ready


def asked_approve(c: Context) -> bool:
    return _asked(c, Verb.APPROVE) and f"gate:{c.state.phase}" in c.state.noticed


def asked_idly(c: Context) -> bool:
    """Asked for something that has no meaning in this phase: it is used up, so that it can't act by surprise later."""
    request = c.seen.request
    if request is None or request.id == c.state.request:
        return False
    return not (asked_approve(c) or (request.verb is Verb.PROMOTE and c.state.stage is Stage.READYING))


def primary_unready(c: Context) -> bool:
    return not c.seen.primary.ready


def initializable(c: Context) -> bool:
    return c.seen.primary.ready and (c.state.providers_checked or c.spec.skip_analysis)


def settled_judged(c: Context) -> bool:
    return judged(c) and c.verdict.purpose is not Purpose.CONFIRM_ROLLOUT


def new_revision(c: Context) -> bool:
    """Neither the last one analysed nor the one that runs as primary; hooks after the last rollout are done."""
    after = c.state.tick is not None and c.state.tick.purpose is Purpose.POST_ROLLOUT
    return bool(c.seen.revision) and c.seen.revision not in {c.state.revision, c.state.promoted} and not after


def _serves(c: Context) -> bool:
    """After a failed promotion the canary serves everybody; the primary's state decides nothing then (W-G5)."""
    return c.state.weight > 0


def new_but_broken(c: Context) -> bool:
    broken = not c.seen.primary.ready and not c.seen.primary.retriable
    return new_revision(c) and broken and not _serves(c) and not c.spec.skip_analysis


def new_unready(c: Context) -> bool:
    return new_revision(c) and not c.seen.primary.ready and not _serves(c) and not c.spec.skip_analysis


def new_gated(c: Context) -> bool:
    return new_revision(c) and "confirm-rollout" in c.spec.hooks


def reverted_spec(c: Context) -> bool:
    return (
        c.state.phase in SETTLED and c.state.weight == 0 and c.state.stage is Stage.IDLE
        and c.seen.revision == c.state.promoted != c.state.revision
    )  # fmt: skip


def superseded(c: Context) -> bool:
    return bool(c.seen.revision) and c.seen.revision != c.state.revision


def beyond_deadline(c: Context) -> bool:
    if _serves(c) and c.state.weight == 100 and not c.seen.primary.ready:
        return not c.seen.canary.ready and not c.seen.canary.retriable
    sides = (c.seen.canary, c.seen.primary)
    return any(not side.ready and not side.retriable for side in sides)


def over_threshold(c: Context) -> bool:
    return c.state.failed_checks >= max(c.spec.threshold, 1)


def _readying(c: Context) -> bool:
    return c.state.stage is Stage.READYING and c.seen.canary_scaled


def ready_to_skip(c: Context) -> bool:
    return c.spec.skip_analysis and c.seen.canary.ready and c.seen.canary_scaled


def ready_to_begin(c: Context) -> bool:
    return _readying(c) and c.seen.canary.ready and (c.seen.primary.ready or _serves(c))


def readying_judged(c: Context) -> bool:
    return c.state.stage is Stage.READYING and judged(c)


def canary_unready(c: Context) -> bool:
    return c.state.stage is Stage.READYING


def _carries(c: Context) -> bool:
    return bool(c.state.promotion) and c.seen.primary_promotion == c.state.promotion


def promotion_broken(c: Context) -> bool:
    return _carries(c) and not c.seen.primary.ready and not c.seen.primary.retriable


def primary_rolling(c: Context) -> bool:
    return not _carries(c) or not c.seen.primary.ready


def shiftable(c: Context) -> bool:
    return c.state.stage is Stage.COPYING or judged(c)


def finished(state: State) -> bool:
    """Nothing is under way: no tick, no drain."""
    return state.phase in SETTLED | {Phase.NEW} and state.tick is None
