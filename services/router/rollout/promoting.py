"""The promotion: the primary gets the judged template, then its traffic back."""

from dataclasses import replace

from services.router.rollout import guards, starting, texts
from services.router.rollout.context import Context, Step
from services.router.rollout.spec import next_promotion_weight
from services.router.rollout.state import Phase, Purpose, Stage, State
from services.router.rollout.steps import GRACE, forget, handled, next_due, primary_pending, timeout
from services.router.rollout.texts import Draft


def copied(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    """Traffic stays where it is while the primary rolls out."""
    state = replace(
        forget(state, "gate:", "open:", "pending:"), phase=Phase.PROMOTING, stage=Stage.COPYING,
        promotion=f"{c.spec.uid}:{state.transition + 1}", step_started=c.now, step_ticks=0, hold=None,
    )  # fmt: skip
    return Step(state, (*drafts, texts.copying(c.spec)), timeout(c))


def copy(c: Context) -> Step:
    return copied(c, c.state, ())


def promote(c: Context) -> Step:
    return copied(c, handled(c), ())


def restart_promoting(c: Context) -> Step:
    """If the primary already carries the approved copy that stays promoted; the new revision starts over."""
    if guards.carries(c):
        c = replace(c, state=replace(c.state, promoted=c.state.revision))
    return starting.restart(c)


def promotion_pending(c: Context) -> Step | None:
    """The primary rolls out; a timer that fires meanwhile is armed again for the deadline or the next shift."""
    told = None if c.seen.primary.ready else primary_pending(c)
    if not guards.judged(c):
        return told
    due = (c.seen.primary.deadline or c.now + c.spec.interval) + GRACE
    state, events = (told.state, told.events) if told else (c.state, ())
    return Step(state, events, (Purpose.TIMER, max(due, c.now + GRACE)))


def shift(c: Context) -> Step:
    """Traffic back to the promoted primary, in one jump or in steps of stepWeightPromotion an interval."""
    weight = next_promotion_weight(c.spec, c.state.weight)
    state = forget(replace(c.state, weight=weight, stage=Stage.SHIFTING), "pending:")
    told = (
        texts.primary_advanced(c.spec, 100 - weight) if c.spec.promotion_step > 0 and c.state.weight > 0
        else texts.routed()
    )  # fmt: skip
    if weight > 0:
        return Step(state, (told,), (Purpose.TIMER, next_due(c)))
    state = replace(state, phase=Phase.FINALISING, stage=Stage.DRAINING, iterations=0)
    return Step(state, (told,), (Purpose.TIMER, c.now + c.spec.drain))
