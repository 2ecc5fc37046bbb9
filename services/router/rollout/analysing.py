"""The analysis: from a canary that is ready to its last step. Only a passed verdict raises its weight."""

from dataclasses import replace

from services.router.rollout import ending, promoting, texts
from services.router.rollout.context import Context, Step
from services.router.rollout.inputs import Kind, Outcome
from services.router.rollout.reach import routed
from services.router.rollout.spec import first_gates, gate, next_move
from services.router.rollout.state import BEHIND, Hold, Phase, Purpose, Stage, State
from services.router.rollout.steps import (
    GRACE,
    forget,
    handled,
    next_due,
    noted,
    notice,
    once,
    primary_pending,
    refused_gate,
    told,
)
from services.router.rollout.texts import Draft, Event


def begin(c: Context) -> Step:
    """The canary is ready: the first step at once, unless somebody has to be asked."""
    state = forget(c.state, "pending:")
    drafts = (texts.started(c.spec),)
    if state.weight:
        return _judging(c, state, drafts)
    if c.spec.hooks & first_gates(c.spec):
        return Step(replace(state, stage=Stage.PREPARING), drafts, (Purpose.PRE_ROLLOUT, c.now))
    return _advanced(c, state, drafts)


def rearm_deadline(c: Context) -> Step:
    due = (c.seen.canary.deadline or c.now + c.spec.interval) + GRACE
    return Step(c.state, (), (Purpose.TIMER, max(due, c.now + GRACE)))


def canary_pending(c: Context) -> Step | None:
    if not c.seen.canary_scaled:
        return None
    if c.seen.canary.ready:
        return primary_pending(c)
    text = texts.canary_unready(c.spec, c.seen.canary.text)
    return once(c, "pending", texts.warning(Event.PENDING, text))


def approve(c: Context) -> Step:
    """A person opens the gate that the last verdict found shut."""
    return _advanced(c, handled(c), ())


def judge(c: Context) -> Step:
    """The heart: one verdict on a canary that is being analysed."""
    if c.verdict.abort:
        return ending.rolled_back(c, c.state, (texts.fast_aborted(c.spec, c.verdict.abort),))
    state = replace(forget(c.state, "open:"), step_ticks=c.state.step_ticks + 1)
    state, notes = noted(c, state)
    drafts = (*told(c, Kind.ROLLBACK, Kind.HOOK, Kind.METRIC, Kind.EVIDENCE), *notes)
    state, drafts = _unmeasured(c, state, drafts)
    if any(check.outcome is Outcome.PASS for check in c.verdict.of(Kind.ROLLBACK)):
        return ending.rolled_back(c, state, (*drafts, texts.manual_rollback(c.spec)))
    if c.verdict.outcome in {Outcome.FAIL, Outcome.ERROR}:
        state = replace(state, failed_checks=state.failed_checks + 1, hold=None)
        if state.failed_checks >= max(c.spec.threshold, 1):
            return ending.rolled_back(c, state, (*drafts, texts.threshold_reached(c.spec, state.failed_checks)))
        return Step(state, drafts, (c.verdict.purpose, next_due(c)))
    if c.verdict.outcome is Outcome.HOLD:
        return _held(c, state, drafts)
    return _passed(c, state, drafts)


def _unmeasured(c: Context, state: State, drafts: tuple[Draft, ...]) -> tuple[State, tuple[Draft, ...]]:
    """Where nothing is routed to the canary, a lack of numbers has a reason of its own, told once a rollout."""
    late = c.state.step_ticks > 0
    lacking = any(
        check.outcome is Outcome.FAIL or (late and check.outcome is Outcome.HOLD)
        for check in c.verdict.of(Kind.EVIDENCE)
    )
    waits = None
    if lacking and not routed(c.spec, state):
        waits = once(replace(c, state=state), "unmeasured", texts.unmeasured(c.spec))
    return (waits.state, (*drafts, *waits.events)) if waits else (state, drafts)


def _judging(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    began = state.analysis_started or c.now
    state = replace(state, stage=Stage.JUDGING, analysis_started=began, step_started=c.now, step_ticks=0)
    return Step(state, drafts, (Purpose.ANALYSIS, c.now + c.spec.interval))


def _advanced(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    """One step up, or the promotion when there is none left."""
    move = next_move(c.spec, state.weight, state.iterations, begun=state.stage is Stage.JUDGING)
    if move is None:
        return promoting.copied(c, state, drafts)
    state = forget(state, "gate:", "open:", BEHIND)
    state = replace(state, phase=Phase.PROGRESSING, weight=move.weight, iterations=move.iterations)
    return _judging(c, state, (*drafts, texts.advanced(c.spec, move)))


def _held(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    """No evidence yet: nothing counts, within bounds."""
    reasons = [check.name for check in c.verdict.checks if check.outcome is Outcome.HOLD]
    reason = "without fresh numbers for " + ", ".join(reasons or ["its checks"])
    again = (c.verdict.purpose, next_due(c))
    if state.hold is None:
        return Step(replace(state, hold=Hold(reason, c.now)), (*drafts, texts.holding(c.spec, reason)), again)
    if c.now >= state.hold.since + c.spec.deadline:
        return ending.rolled_back(c, state, (*drafts, texts.deadline_exceeded(c.spec, state.hold.reason)))
    return Step(state, drafts, again)


def _unready(c: Context, state: State, drafts: tuple[Draft, ...], text: str) -> Step:
    """What is measured is fine, and too few replicas answer. Kubernetes may never call that a failure, so we do."""
    waits = once(replace(c, state=state), "pending", texts.warning(Event.PENDING, text))
    drafts = (*drafts, *(waits.events if waits else ()))
    hold = state.hold or Hold("short of ready replicas", c.now)
    if c.now >= hold.since + c.spec.deadline:
        return ending.rolled_back(c, state, (*drafts, texts.deadline_exceeded(c.spec, text)))
    return Step(replace(waits.state if waits else state, hold=hold), drafts, (c.verdict.purpose, next_due(c)))


def _passed(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    """All checks passed: the workloads must be ready too, then the gates decide."""
    again = (c.verdict.purpose, next_due(c))
    serving = state.weight == 100
    for ready, text in (
        (c.seen.primary.ready or serving, texts.primary_unready(c.spec, c.seen.primary.text)),
        (c.seen.canary.ready, texts.canary_unready(c.spec, c.seen.canary.text)),
    ):
        if not ready:
            return _unready(c, state, drafts, text)
    if state.hold:
        drafts = (*drafts, texts.resumed(c.spec, state.hold.reason))
    state = replace(forget(state, "pending:"), hold=None)
    gates = tuple(draft for draft in told(c, Kind.GATE) if not draft.warning)
    refused = refused_gate(c)
    if not refused:
        return _advanced(c, state, (*drafts, *gates))
    last = gate(c.spec, state.weight, state.iterations) == "confirm-promotion"
    phase = Phase.WAITING_PROMOTION if last else state.phase
    draft = texts.waiting_promotion(c.spec, refused) if last else texts.waiting_traffic(c.spec, refused)
    shut = f"gate:{phase}"
    fresh = () if shut in state.noticed else (draft,)
    state = notice(notice(replace(state, phase=phase), shut), f"open:{phase}")
    return Step(state, (*drafts, *gates, *fresh), again)
