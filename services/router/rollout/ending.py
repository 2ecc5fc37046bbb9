"""How rollouts end: rolled back, not even started, failed on promotion, succeeded; and what is left to do after."""

from dataclasses import replace
from datetime import datetime

from services.router.rollout import guards, texts
from services.router.rollout.context import Context, Step
from services.router.rollout.inputs import Kind
from services.router.rollout.state import Phase, Purpose, Stage, State
from services.router.rollout.steps import forget, handled, noted, told
from services.router.rollout.texts import Draft, Event

_OVER = ("pending:", "gate:", "open:")
Tick = tuple[Purpose, datetime]


def rolled_back(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    """All traffic to the primary, unless the canary serves everybody and the primary can't."""
    keep = state.weight == 100 and not c.seen.primary.ready
    if guards.carries(c):
        state = replace(state, promoted=state.revision)  # whatever comes next, this is what the primary runs
    state = replace(
        forget(state, *_OVER), phase=Phase.FAILED, weight=100 if keep else 0, failed_checks=0, iterations=0, hold=None,
        promotion="",
    )  # fmt: skip
    if keep:
        return _closed(c, state, (*drafts, texts.kept(c.spec)))
    return _drained(c, state, (*drafts, texts.failed(c.spec)))


def deadline(c: Context) -> Step:
    canary = not c.seen.canary.ready and not c.seen.canary.retriable
    text = (
        texts.canary_unready(c.spec, c.seen.canary.text) if canary
        else texts.primary_unready(c.spec, c.seen.primary.text)
    )  # fmt: skip
    return rolled_back(c, c.state, (texts.warning(Event.PENDING, text), texts.deadline_exceeded(c.spec, text)))


def abort(c: Context) -> Step:
    return rolled_back(c, forget(handled(c), guards.BLOCK), (texts.aborted(c.spec),))


def abandon(c: Context) -> Step:
    return rolled_back(c, forget(c.state, guards.BLOCK), (texts.abandoned(c.spec),))


def roll_back(c: Context) -> Step:
    return rolled_back(c, c.state, (texts.threshold_reached(c.spec, c.state.failed_checks),))


def refuse_start(c: Context) -> Step:
    """The primary is beyond its deadline: nothing to compare with, so nothing is started."""
    drafts = (texts.warning(Event.PENDING, texts.primary_unready(c.spec, c.seen.primary.text)), texts.failed(c.spec))
    state = replace(forget(c.state, *_OVER), phase=Phase.FAILED, revision=c.seen.revision, failed_checks=0)
    return _drained(c, state, drafts) if c.state.stage is Stage.DRAINING else _closed(c, state, drafts)


def fail_promotion(c: Context) -> Step:
    """The primary can't take the traffic: all of it goes to the canary, which stays up. If that can't either, the
    primary's old pods are the better bet."""
    dead = not c.seen.canary.ready and not c.seen.canary.retriable
    state = replace(
        forget(c.state, *_OVER), phase=Phase.FAILED, weight=0 if dead else 100, failed_checks=0, iterations=0,
        promoted=c.state.revision, promotion="",
    )  # fmt: skip
    drafts = (texts.promotion_failed(c.spec, c.seen.primary.text),)
    return _drained(c, state, drafts) if dead else _closed(c, state, drafts)


def succeed(c: Context) -> Step:
    state, notes = noted(c, c.state)
    state = replace(
        state, phase=Phase.SUCCEEDED, weight=0, iterations=0, promoted=c.state.revision, promotion="", hold=None,
    )  # fmt: skip
    return _closed(c, state, (*notes, texts.promoted(c.spec)))


def settled(c: Context) -> Step:
    """A drain is over, the post-rollout hooks have answered, or a gate answered while we keep our hands off."""
    if c.verdict.purpose is Purpose.TIMER and c.state.phase is not Phase.INITIALIZED:
        return _closed(c, *noted(c, c.state))
    return Step(replace(c.state, stage=Stage.IDLE), told(c, Kind.HOOK), clear_tick=True)


def _drained(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    """The canary keeps its replicas until no gateway sends it anything."""
    return Step(replace(state, stage=Stage.DRAINING), drafts, (Purpose.TIMER, c.now + c.spec.drain))


def _closed(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    """At rest, once the post-rollout hooks have been asked."""
    if "post-rollout" in c.spec.hooks:
        return Step(replace(state, stage=Stage.REPORTING), drafts, (Purpose.POST_ROLLOUT, c.now))
    return Step(replace(state, stage=Stage.IDLE), drafts, clear_tick=True)
