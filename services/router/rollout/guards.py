"""When a rule of the table applies. Each is one question about spec, state and observation."""

from services.router.rollout.context import Context
from services.router.rollout.inputs import Judged
from services.router.rollout.reach import routed
from services.router.rollout.state import UNDER_WAY, Phase, Purpose, Stage, State, released
from services.router.rollout.state import blocked as is_blocked

BLOCK = "block:"
"""Prefix of the notice that a canary is blocked; what follows is the reason."""
SUSPENDED, REFUSED, HELD, PROBLEM = "suspended", "refused: ", "held: ", "problem: "
"""What a reason is, or begins with."""
CUT_OFF = "held: cut off from the bus"
"""The reason while there is no bus."""


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


def let_go(c: Context) -> bool:
    return released(c.state)


def deleted(c: Context) -> bool:
    """Not begun yet; or another controller has begun, and nothing of ours says how far it came."""
    return c.spec.deleting and not (c.state.phase is Phase.TERMINATING and c.state.stage is not Stage.IDLE)


def due(c: Context) -> bool:
    """The timer has fired, or should have: a deletion needs no analyzer to end."""
    return judged(c) or (c.state.tick is not None and c.now >= c.state.tick.due)


def followed(c: Context) -> bool:
    return c.state.stage is Stage.LEAVING and due(c)


def out_of_time(c: Context) -> bool:
    """A deletion must end."""
    began = c.state.step_started
    return (
        c.state.stage is not Stage.DRAINING and c.seen.fronted and began is not None and c.now > began + c.spec.deadline
    )


def leaving(c: Context) -> bool:
    return c.state.stage is Stage.LEAVING


def nothing_to_return(c: Context) -> bool:
    """Everything leads to the target anyway, or there is none to lead to."""
    return c.spec.deleting and (not c.seen.fronted or c.seen.target_missing)


def drained(c: Context) -> bool:
    return c.state.stage is Stage.DRAINING and due(c)


def restored(c: Context) -> bool:
    return c.state.stage is Stage.RESTORING and not c.seen.unpromoted


def returned(c: Context) -> bool:
    return c.state.stage is Stage.RETURNING and c.seen.canary_sized and c.seen.canary.ready


def raised(c: Context) -> bool:
    """Somebody scaled the idle target up, and it is ours to put back; each time counts once."""
    hands_off = c.spec.suspended or c.seen.refusals or c.seen.hold or c.seen.cut_off or c.state.yielded
    if not c.seen.raised.manager or hands_off:
        return False
    return all(each.generation != c.seen.raised.generation for each in c.state.raises)


def lowered(c: Context) -> bool:
    """The size that was left to somebody is nobody's any more."""
    return bool(c.state.yielded) and (not c.seen.canary_scaled or c.state.yielded not in c.seen.sized_by)


def serves_all(c: Context) -> bool:
    """After a failed promotion the canary serves everybody and must, while its primary can't (W-G5)."""
    return c.state.weight == 100 and not c.seen.primary.ready


def carries(c: Context) -> bool:
    """The primary carries the copy that this promotion asks for."""
    return bool(c.state.promotion) and c.seen.primary_promotion == c.state.promotion


def block_reason(c: Context) -> str:
    """Why we keep our hands off, or an empty text. The order is the order of what a person would fix first."""
    if c.spec.suspended:
        return SUSPENDED
    if c.seen.refusals:
        return REFUSED + "; ".join(c.seen.refusals)
    if c.seen.hold:
        return HELD + c.seen.hold
    if c.seen.cut_off and c.state.phase in UNDER_WAY:
        return CUT_OFF
    return PROBLEM + c.seen.problem if c.seen.problem and not _harmless(c) else ""


def _harmless(c: Context) -> bool:
    """Once the primary has its copy, a promotion needs neither target nor source route to end well."""
    return c.state.phase is Phase.FINALISING or (c.state.phase is Phase.PROMOTING and carries(c))


def blocked(c: Context) -> bool:
    return bool(block_reason(c))


def abandoned(c: Context) -> bool:
    """Cut off for longer than the settings allow."""
    hold, longest = c.state.hold, c.seen.cut_off_for
    if hold is None or hold.reason != CUT_OFF or longest is None:
        return False
    return block_reason(c) == CUT_OFF and c.now >= hold.since + longest


def unblocked(c: Context) -> bool:
    return is_blocked(c.state)


def warned(c: Context) -> bool:
    return any(text not in c.state.noticed for text in c.seen.warnings)


def primary_unready(c: Context) -> bool:
    return not c.seen.primary.ready


def unasked_providers(c: Context) -> bool:
    return c.state.tick is None and not c.state.providers_checked and not c.spec.skip_analysis


def initializable(c: Context) -> bool:
    return c.seen.primary.ready and (c.state.providers_checked or c.spec.skip_analysis)


def foreign(c: Context) -> bool:
    """The phase is another controller's: nothing of ours was ever recorded."""
    return not c.state.revision and not c.state.promoted and bool(c.seen.revision)


def settled_judged(c: Context) -> bool:
    return judged(c) and (c.verdict.purpose is not Purpose.CONFIRM_ROLLOUT or blocked(c))


def new_revision(c: Context) -> bool:
    """Neither the last one analysed nor the one that runs as primary; hooks after the last rollout are done."""
    draining = c.state.stage is Stage.DRAINING and c.state.phase is Phase.FAILED
    reporting = c.state.stage is Stage.REPORTING or (draining and "post-rollout" in c.spec.hooks)
    return bool(c.seen.revision) and c.seen.revision not in {c.state.revision, c.state.promoted} and not reporting


def confirmable(c: Context) -> bool:
    return judged(c) and new_revision(c)


def _compared(c: Context) -> bool:
    """A rollout needs a primary to compare with, unless nobody is judged or the canary serves everybody anyway."""
    return c.state.weight == 0 and not c.spec.skip_analysis


def new_but_broken(c: Context) -> bool:
    return new_revision(c) and _compared(c) and not c.seen.primary.ready and not c.seen.primary.retriable


def new_unready(c: Context) -> bool:
    return new_revision(c) and _compared(c) and not c.seen.primary.ready


def new_gated(c: Context) -> bool:
    return new_revision(c) and "confirm-rollout" in c.spec.hooks


def reverted_spec(c: Context) -> bool:
    return (
        c.state.weight == 0 and c.state.stage is Stage.IDLE
        and c.seen.revision == c.state.promoted != c.state.revision
    )  # fmt: skip


def withdrawn(c: Context) -> bool:
    return c.state.weight == 0 and c.seen.revision == c.state.promoted


def superseded(c: Context) -> bool:
    return bool(c.seen.revision) and c.seen.revision != c.state.revision


def beyond_deadline(c: Context) -> bool:
    sides = (c.seen.canary,) if serves_all(c) else (c.seen.canary, c.seen.primary)
    return any(not side.ready and not side.retriable for side in sides)


def over_threshold(c: Context) -> bool:
    return c.state.failed_checks >= max(c.spec.threshold, 1)


def ready_to_skip(c: Context) -> bool:
    return c.spec.skip_analysis and c.seen.canary.ready and c.seen.canary_scaled


def ready_to_begin(c: Context) -> bool:
    ready = c.seen.canary.ready and (c.seen.primary.ready or serves_all(c))
    return c.state.stage is Stage.READYING and c.seen.canary_scaled and ready


def readying_judged(c: Context) -> bool:
    return c.state.stage is Stage.READYING and judged(c)


def canary_unready(c: Context) -> bool:
    return c.state.stage is Stage.READYING


def promotion_broken(c: Context) -> bool:
    return carries(c) and not c.seen.primary.ready and not c.seen.primary.retriable


def canary_broken(c: Context) -> bool:
    """The canary still has traffic and won't be ready again; the primary's rolling update keeps it serving."""
    exposed = routed(c.spec, c.state) and not serves_all(c)
    return exposed and not c.seen.canary.ready and not c.seen.canary.retriable


def primary_rolling(c: Context) -> bool:
    return not carries(c) or not c.seen.primary.ready


def shiftable(c: Context) -> bool:
    return c.state.stage is Stage.COPYING or judged(c)
