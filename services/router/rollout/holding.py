"""Hands off: suspended, refused, held, in trouble; and what people ask for in vain."""

from dataclasses import replace
from datetime import datetime

from services.router.rollout import ending, guards, texts
from services.router.rollout.context import Context, Step
from services.router.rollout.state import ANALYSING, SETTLED, Hold, Phase, Purpose, Stage, State
from services.router.rollout.steps import GRACE, forget, handled, notice, timeout
from services.router.rollout.texts import Draft, Event

BOUNDED = ANALYSING | {Phase.PROMOTING}
"""Here a canary may have traffic, so a hold ends after progressDeadlineSeconds; elsewhere it lasts as long as it lasts.
How long one for the bus lasts is for the settings to say."""


def block(c: Context) -> Step | None:
    reason = guards.block_reason(c)
    told = guards.BLOCK + reason
    bounded = c.state.phase in BOUNDED and reason not in {guards.SUSPENDED, guards.CUT_OFF}
    since = _since(c, reason)
    if bounded and c.now >= since + c.spec.deadline:
        draft = texts.deadline_exceeded(c.spec, _plain(reason))
        return ending.rolled_back(c, forget(c.state, guards.BLOCK), (draft,))
    if told in c.state.noticed:
        return None
    state = replace(notice(forget(c.state, guards.BLOCK, "open:"), told), hold=Hold(reason, since))
    state = _off_the_missing(c, replace(state, supported=not reason.startswith(guards.REFUSED)))
    tick = (Purpose.TIMER, since + c.spec.deadline + GRACE) if bounded else None
    # A drain and the last hooks run out by themselves; everything else is asked again when the block is over.
    return Step(state, (_event(c),), tick, clear_tick=c.state.phase not in SETTLED)


def unblock(c: Context) -> Step:
    reason = c.state.hold.reason if c.state.hold else ""
    state = replace(forget(c.state, guards.BLOCK), hold=None, supported=True)
    told = (texts.resumed(c.spec, _plain(reason)),) if reason.startswith(guards.HELD) else ()
    return Step(state, told, _rearmed(c), clear_tick=c.state.phase not in SETTLED)


def warn(c: Context) -> Step:
    new = [text for text in c.seen.warnings if text not in c.state.noticed]
    return Step(notice(c.state, new[0]), (texts.warning(Event.WARNING, new[0]),))


def ignore_request(c: Context) -> Step:
    return Step(handled(c))


def _since(c: Context, reason: str) -> datetime:
    """Reasons that follow each other are one hold; a suspension isn't ours to bound, and an outage has a bound of its
    own."""
    hold = c.state.hold
    if hold is None or hold.reason == guards.SUSPENDED:
        return c.now
    return hold.since if (hold.reason == guards.CUT_OFF) == (reason == guards.CUT_OFF) else c.now


def _off_the_missing(c: Context, state: State) -> State:
    """Without a target nobody serves the canary's share: it's taken away at once, and the analysis starts over when
    the target is back."""
    if not c.seen.target_missing or state.phase not in ANALYSING or guards.serves_all(c):
        return state
    return replace(
        state, phase=Phase.PROGRESSING, stage=Stage.READYING, weight=0, iterations=0, analysis_started=None,
        step_started=None, step_ticks=0,
    )  # fmt: skip


def _event(c: Context) -> Draft:
    if c.spec.suspended:
        return texts.suspended()
    if c.seen.refusals:
        return texts.warning(Event.REFUSED, "; ".join(c.seen.refusals))
    if c.seen.hold or c.seen.cut_off:
        return texts.holding(c.spec, _plain(guards.block_reason(c)))
    return texts.warning(Event.WARNING, c.seen.problem)


def _plain(reason: str) -> str:
    """A reason without the word for its kind."""
    return reason.partition(": ")[2]


def _rearmed(c: Context) -> tuple[Purpose, datetime] | None:
    """The tick that the stage waits for; a block has taken it away."""
    if c.state.phase in SETTLED:
        return None
    if c.state.phase is Phase.WAITING:
        return Purpose.CONFIRM_ROLLOUT, c.now + c.spec.interval
    return {
        Stage.READYING: timeout(c),
        Stage.PREPARING: (Purpose.PRE_ROLLOUT, c.now),
        Stage.JUDGING: (Purpose.ANALYSIS, c.now + c.spec.interval),
        Stage.COPYING: timeout(c),
        Stage.SHIFTING: (Purpose.TIMER, c.now + c.spec.interval),
        Stage.DRAINING: (Purpose.TIMER, c.now + c.spec.drain),
    }.get(c.state.stage)
