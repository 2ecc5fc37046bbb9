"""What a rule of the table does: from a context to the next state, its events and its next tick.

An action may answer None: the rule fits, and nothing is to be done (the same wait goes on).
"""

from dataclasses import replace
from datetime import datetime, timedelta

from services.router.rollout import guards, texts
from services.router.rollout.context import Context, Step
from services.router.rollout.inputs import Kind, Outcome
from services.router.rollout.spec import next_promotion_weight, next_weight
from services.router.rollout.state import ANALYSING, Hold, Phase, Purpose, Stage, State
from services.router.rollout.texts import Draft, Event

GRACE = timedelta(seconds=1)
"""Added to deadlines, so that the timer fires after what it waits for has become true."""


def nothing(_: Context) -> Step | None:
    return None


# --- helpers -----------------------------------------------------------------------------------------------------


def _notice(state: State, key: str) -> State:
    return replace(state, noticed=(*(n for n in state.noticed if n != key), key)[-32:])


def _forget(state: State, *prefixes: str) -> State:
    return replace(state, noticed=tuple(n for n in state.noticed if not n.startswith(prefixes)))


def _next_due(c: Context) -> datetime:
    """An interval after the last due time, so that lateness never adds up; never in the past."""
    last = c.state.tick.due if c.state.tick and guards.judged(c) else c.now
    due = last + c.spec.interval
    return due if due > c.now else c.now + c.spec.interval


def _told(c: Context, *kinds: Kind) -> tuple[Draft, ...]:
    """The events of the verdict's checks, in the order in which they were made."""
    drafts = []
    for check in c.verdict.checks:
        if check.kind not in kinds or not check.message:
            continue
        passed = check.outcome is Outcome.PASS
        if check.kind is Kind.ROLLBACK:
            drafts.append(
                texts.warning(Event.HOOK, check.message) if passed else texts.normal(Event.HOOK, check.message)
            )
        elif passed:
            drafts.append(texts.normal(Event.GATE if check.kind is Kind.GATE else Event.HOOK, check.message))
        else:
            error = check.outcome is Outcome.ERROR
            drafts.append(Draft(Event.HALTED, check.message, warning=True, error=error))
    return tuple(drafts)


def _refused_gate(c: Context) -> str:
    """Name of the gate that refused, or an empty text."""
    return next((gate.name for gate in c.verdict.of(Kind.GATE) if gate.outcome is not Outcome.PASS), "")


def _once(c: Context, key: str, draft: Draft) -> Step | None:
    """Tell it unless the same was told last for this key."""
    notice = f"{key}:{draft.message}"
    if notice in c.state.noticed:
        return None
    return Step(_notice(_forget(c.state, f"{key}:"), notice), (draft,))


# --- hands off ---------------------------------------------------------------------------------------------------


def terminate(c: Context) -> Step:
    state = replace(c.state, phase=Phase.TERMINATING, stage=Stage.IDLE, weight=0, iterations=0, rollout_started=c.now)
    return Step(_forget(state, ""), (texts.terminating(c.spec),), (Purpose.TIMER, c.now + c.spec.deadline + GRACE))


def terminated(c: Context) -> Step:
    return Step(_notice(c.state, "terminated"), (texts.terminated(c.spec),), clear_tick=True)


def block(c: Context) -> Step | None:
    reason = guards.block_reason(c)
    notice = guards.BLOCK + reason
    since = c.state.hold.since if c.state.hold else c.now
    bounded = c.state.phase in ANALYSING and not c.spec.suspended
    if bounded and c.now >= since + c.spec.deadline:
        draft = texts.deadline_exceeded(c.spec, reason)
        return _rolled_back(c, replace(_forget(c.state, guards.BLOCK), hold=None), (draft,))
    if notice in c.state.noticed:
        return None
    state = replace(_notice(_forget(c.state, guards.BLOCK), notice), hold=Hold(reason, since))
    state = replace(state, supported=not c.seen.refusals)
    tick = (Purpose.TIMER, since + c.spec.deadline + GRACE) if bounded else None
    return Step(state, (_block_event(c),), tick, clear_tick=tick is None and c.state.phase in ANALYSING)


def _block_event(c: Context) -> Draft:
    if c.spec.suspended:
        return texts.suspended()
    if c.seen.refusals:
        return texts.warning(Event.REFUSED, "; ".join(c.seen.refusals))
    if c.seen.hold:
        return texts.holding(c.spec, c.seen.hold)
    return texts.warning(Event.WARNING, c.seen.problem)


def unblock(c: Context) -> Step:
    reason = c.state.hold.reason if c.state.hold else ""
    state = replace(_forget(c.state, guards.BLOCK), hold=None, supported=True)
    told = (texts.resumed(c.spec, reason),) if reason.startswith("held: ") else ()
    return Step(state, told, _rearmed(c), clear_tick=True)


def _rearmed(c: Context) -> tuple[Purpose, datetime] | None:
    """The tick that the stage waits for, after it was lost to a block."""
    by_stage = {
        Stage.READYING: (Purpose.TIMER, c.now + c.spec.deadline + GRACE),
        Stage.PREPARING: (Purpose.PRE_ROLLOUT, c.now),
        Stage.JUDGING: (Purpose.ANALYSIS, c.now + c.spec.interval),
        Stage.COPYING: (Purpose.TIMER, c.now + c.spec.deadline + GRACE),
        Stage.SHIFTING: (Purpose.TIMER, c.now + c.spec.interval),
        Stage.DRAINING: (Purpose.TIMER, c.now + c.spec.drain),
        Stage.CONFIRMING: (Purpose.CONFIRM_ROLLOUT, c.now),
    }
    if c.state.phase is Phase.WAITING:
        return Purpose.CONFIRM_ROLLOUT, c.now + c.spec.interval
    if c.state.phase is Phase.INITIALIZING and not c.state.providers_checked:
        return Purpose.PROVIDERS, c.now
    lost = (c.state.tick.purpose, c.now) if c.state.tick else None
    return by_stage.get(c.state.stage, lost)


def warn(c: Context) -> Step:
    new = [text for text in c.seen.warnings if text not in c.state.noticed]
    return Step(_notice(c.state, new[0]), (texts.warning(Event.WARNING, new[0]),))


def ignore_request(c: Context) -> Step:
    return Step(_handled(c))


def _handled(c: Context) -> State:
    return replace(c.state, request=c.seen.request.id) if c.seen.request else c.state


# --- initialization ----------------------------------------------------------------------------------------------


def initialize(c: Context) -> Step:
    state = replace(c.state, phase=Phase.INITIALIZING, stage=Stage.IDLE, revision=c.seen.revision)
    if c.spec.skip_analysis:
        return Step(state)
    return Step(state, (), (Purpose.PROVIDERS, c.now))


def providers(c: Context) -> Step:
    told = tuple(
        replace(draft, type=Event.WARNING if draft.warning else Event.HOOK) for draft in _told(c, Kind.PROVIDER)
    )
    return Step(replace(c.state, providers_checked=True), told, clear_tick=True)


def primary_pending(c: Context) -> Step | None:
    text = texts.primary_unready(c.spec, c.seen.primary.text)
    return _once(c, "pending", texts.warning(Event.PENDING, text))


def initialized(c: Context) -> Step:
    """The revision is the one that the primary was made from, not what the target shows by now (W-G7)."""
    revision = c.seen.primary_revision or c.state.revision
    state = replace(
        c.state, phase=Phase.INITIALIZED, stage=Stage.DRAINING, revision=revision, promoted=revision,
        weight=0, failed_checks=0, iterations=0,
    )  # fmt: skip
    return Step(_forget(state, "pending:"), (texts.initialized(c.spec),), (Purpose.TIMER, c.now + c.spec.drain))


# --- between rollouts --------------------------------------------------------------------------------------------


def settled(c: Context) -> Step:
    """A drain is over, or the post-rollout hooks have answered; both end a rollout's last stage."""
    state = replace(c.state, stage=Stage.IDLE)
    return Step(state, _told(c, Kind.HOOK), clear_tick=True)


def refuse_start(c: Context) -> Step:
    told = (texts.warning(Event.PENDING, texts.primary_unready(c.spec, c.seen.primary.text)), texts.failed(c.spec))
    state = replace(c.state, phase=Phase.FAILED, stage=Stage.IDLE, revision=c.seen.revision, failed_checks=0)
    return Step(_forget(state, "pending:"), told, clear_tick=True)


def ask_confirm(c: Context) -> Step | None:
    if c.state.stage is Stage.CONFIRMING:
        return None
    return Step(replace(c.state, stage=Stage.CONFIRMING), (), (Purpose.CONFIRM_ROLLOUT, c.now))


def confirmed(c: Context) -> Step:
    told = _told(c, Kind.GATE)
    refused = _refused_gate(c)
    if not refused and c.verdict.outcome is Outcome.PASS:
        return _started(c, c.state, told)
    passed = tuple(draft for draft in told if not draft.warning)
    state = replace(c.state, phase=Phase.WAITING, stage=Stage.IDLE)
    if c.state.phase is not Phase.WAITING:
        passed = (*passed, texts.waiting_rollout(c.spec, refused))
        state = _notice(state, f"gate:{Phase.WAITING}")
    return Step(state, passed, (Purpose.CONFIRM_ROLLOUT, _next_due(c)))


def start(c: Context) -> Step:
    return _started(c, _handled(c), ())


def retry(c: Context) -> Step:
    return _started(c, _handled(c), ())


def _started(c: Context, state: State, told: tuple[Draft, ...]) -> Step:
    """A canary that serves everybody after a failed promotion keeps its weight: its primary may still be broken."""
    keep = state.weight if state.weight and not c.seen.primary.ready else 0
    state = replace(
        state, phase=Phase.PROGRESSING, stage=Stage.READYING, weight=keep, failed_checks=0, iterations=0, hold=None,
        revision=c.seen.revision or state.revision, promotion="", rollout_started=c.now, step_started=None, step_ticks=0,
    )  # fmt: skip
    events = (*told, texts.revision(c.spec))
    return Step(_forget(state, "pending:", "gate:"), events, (Purpose.TIMER, c.now + c.spec.deadline + GRACE))


def record_promoted(c: Context) -> Step:
    return Step(replace(c.state, revision=c.seen.revision))


# --- the analysis ------------------------------------------------------------------------------------------------


def restart(c: Context) -> Step:
    keep = c.state.weight if c.state.weight == 100 and not c.seen.primary.ready else 0
    state = replace(
        c.state, phase=Phase.PROGRESSING, stage=Stage.READYING, weight=keep, failed_checks=0, iterations=0, hold=None,
        revision=c.seen.revision, promotion="", rollout_started=c.now, step_started=None, step_ticks=0,
    )  # fmt: skip
    timer = (Purpose.TIMER, c.now + c.spec.deadline + GRACE)
    return Step(_forget(state, "pending:", "gate:"), (texts.restarted(c.spec),), timer)


def restart_promoting(c: Context) -> Step:
    """If the primary already carries the approved copy that stays promoted; the new revision starts over."""
    if c.seen.primary_promotion == c.state.promotion:
        c = replace(c, state=replace(c.state, promoted=c.state.revision))
    return restart(c)


def deadline(c: Context) -> Step:
    canary = not c.seen.canary.ready and not c.seen.canary.retriable
    text = (
        texts.canary_unready(c.spec, c.seen.canary.text) if canary
        else texts.primary_unready(c.spec, c.seen.primary.text)
    )  # fmt: skip
    told = (texts.warning(Event.PENDING, text), texts.deadline_exceeded(c.spec, text))
    return _rolled_back(c, c.state, told)


def abort(c: Context) -> Step:
    return _rolled_back(c, _handled(c), (texts.aborted(c.spec),))


def roll_back(c: Context) -> Step:
    return _rolled_back(c, c.state, (texts.threshold_reached(c.spec, c.state.failed_checks),))


def _rolled_back(c: Context, state: State, told: tuple[Draft, ...]) -> Step:
    """All traffic to the primary, unless the canary serves everybody and the primary can't."""
    keep = state.weight == 100 and not c.seen.primary.ready
    state = replace(
        state, phase=Phase.FAILED, stage=Stage.IDLE if keep else Stage.DRAINING, weight=100 if keep else 0,
        failed_checks=0, iterations=0, hold=None, promotion="",
    )  # fmt: skip
    state = _forget(state, "pending:", "gate:", "hold:")
    if keep:
        return Step(state, (*told, texts.kept(c.spec)), _after(c))
    return Step(state, (*told, texts.failed(c.spec)), _after(c) or (Purpose.TIMER, c.now + c.spec.drain))


def _after(c: Context) -> tuple[Purpose, datetime] | None:
    """The post-rollout hooks, where there are any; they also end a drain, so they wait for it."""
    if "post-rollout" not in c.spec.hooks:
        return None
    return Purpose.POST_ROLLOUT, c.now + c.spec.drain


def begin(c: Context) -> Step:
    """The canary is ready: the first step at once, unless somebody has to be asked."""
    state = _forget(c.state, "pending:")
    told = (texts.started(c.spec),)
    if state.weight:
        return _judging(c, replace(state, weight=state.weight), told)
    if c.spec.hooks & {"pre-rollout", "confirm-traffic-increase"}:
        return Step(replace(state, stage=Stage.PREPARING), told, (Purpose.PRE_ROLLOUT, c.now))
    return _advanced(c, state, told)


def rearm_deadline(c: Context) -> Step:
    return Step(c.state, (), (Purpose.TIMER, (c.seen.canary.deadline or c.now + c.spec.interval) + GRACE))


def canary_pending(c: Context) -> Step | None:
    if not c.seen.canary_scaled:
        return None
    if c.seen.canary.ready:
        return primary_pending(c)
    text = texts.canary_unready(c.spec, c.seen.canary.text)
    return _once(c, "pending", texts.warning(Event.PENDING, text))


def _judging(c: Context, state: State, told: tuple[Draft, ...]) -> Step:
    state = replace(state, stage=Stage.JUDGING, step_started=c.now, step_ticks=0)
    return Step(state, told, (Purpose.ANALYSIS, c.now + c.spec.interval))


def _advanced(c: Context, state: State, told: tuple[Draft, ...]) -> Step:
    """One step up, or the promotion when there is none left."""
    weight = next_weight(c.spec, state.weight)
    if weight is None:
        return _copied(c, state, told)
    state = replace(_forget(state, "gate:"), phase=Phase.PROGRESSING, weight=weight)
    return _judging(c, state, (*told, texts.advanced(c.spec, weight)))


def _copied(c: Context, state: State, told: tuple[Draft, ...]) -> Step:
    """Traffic stays where it is while the primary rolls out."""
    state = replace(
        _forget(state, "gate:", "pending:"), phase=Phase.PROMOTING, stage=Stage.COPYING,
        promotion=f"{c.spec.uid}:{state.transition + 1}", step_started=c.now, step_ticks=0, hold=None,
    )  # fmt: skip
    return Step(state, (*told, texts.copying(c.spec)), (Purpose.TIMER, c.now + c.spec.deadline + GRACE))


def copy(c: Context) -> Step:
    return _copied(c, c.state, ())


def promote(c: Context) -> Step:
    return _copied(c, _handled(c), ())


def approve(c: Context) -> Step:
    """A person opens the gate that was found shut."""
    if c.state.phase is Phase.WAITING_PROMOTION:
        return _copied(c, _handled(c), ())
    return _advanced(c, _handled(c), ())


def judge(c: Context) -> Step:
    """The heart: one verdict on a canary that is being analysed. Only a pass advances."""
    state = replace(c.state, step_ticks=c.state.step_ticks + 1)
    told = _told(c, Kind.ROLLBACK, Kind.HOOK, Kind.METRIC, Kind.EVIDENCE)
    again = (c.verdict.purpose, _next_due(c))
    if any(check.outcome is Outcome.PASS for check in c.verdict.of(Kind.ROLLBACK)):
        return _rolled_back(c, state, (*told, texts.manual_rollback(c.spec)))
    if c.verdict.purpose is Purpose.TIMER:
        return Step(state, (), _rearmed(c))
    if c.verdict.outcome in {Outcome.FAIL, Outcome.ERROR}:
        state = replace(_forget(state, "hold:"), failed_checks=state.failed_checks + 1, hold=None)
        if state.failed_checks >= max(c.spec.threshold, 1):
            return _rolled_back(c, state, (*told, texts.threshold_reached(c.spec, state.failed_checks)))
        return Step(state, told, again)
    if c.verdict.outcome is Outcome.HOLD:
        return _held(c, state, told)
    if c.state.hold:
        told = (*told, texts.resumed(c.spec, c.state.hold.reason))
        state = replace(state, hold=None)
    return _passed(c, state, told)


def _held(c: Context, state: State, told: tuple[Draft, ...]) -> Step:
    reasons = [check.name for check in c.verdict.checks if check.outcome is Outcome.HOLD]
    reason = "without fresh numbers for " + ", ".join(reasons or ["its checks"])
    again = (c.verdict.purpose, _next_due(c))
    if state.hold is None:
        return Step(replace(state, hold=Hold(reason, c.now)), (*told, texts.holding(c.spec, reason)), again)
    if c.now >= state.hold.since + c.spec.deadline:
        return _rolled_back(c, state, (*told, texts.deadline_exceeded(c.spec, state.hold.reason)))
    return Step(state, told, again)


def _passed(c: Context, state: State, told: tuple[Draft, ...]) -> Step:
    """All checks passed: the workloads must be ready too, then the gates decide."""
    again = (c.verdict.purpose, _next_due(c))
    serving = state.weight == 100
    for ready, text in (
        (c.seen.primary.ready or serving, texts.primary_unready(c.spec, c.seen.primary.text)),
        (c.seen.canary.ready, texts.canary_unready(c.spec, c.seen.canary.text)),
    ):
        if not ready:
            return Step(state, (*told, texts.warning(Event.PENDING, text)), again)
    gates = tuple(draft for draft in _told(c, Kind.GATE) if not draft.warning)
    refused = _refused_gate(c)
    if not refused:
        return _advanced(c, state, (*told, *gates))
    last = next_weight(c.spec, state.weight) is None
    phase = Phase.WAITING_PROMOTION if last else state.phase
    draft = texts.waiting_promotion(c.spec, refused) if last else texts.waiting_traffic(c.spec, refused)
    notice = f"gate:{phase}"
    fresh = () if notice in state.noticed else (draft,)
    return Step(_notice(replace(state, phase=phase), notice), (*told, *gates, *fresh), again)


# --- the promotion -----------------------------------------------------------------------------------------------


def fail_promotion(c: Context) -> Step:
    """The primary can't take the traffic: all of it goes to the canary, which stays up."""
    state = replace(
        c.state, phase=Phase.FAILED, stage=Stage.IDLE, weight=100, failed_checks=0, iterations=0, promotion="",
    )  # fmt: skip
    state = _forget(state, "pending:", "gate:")
    return Step(state, (texts.promotion_failed(c.spec, c.seen.primary.text),), _after(c), clear_tick=True)


def promotion_pending(c: Context) -> Step | None:
    """The primary rolls out; a timer that fires meanwhile is armed again for the deadline or the next shift."""
    told = None if c.seen.primary.ready else primary_pending(c)
    if not guards.judged(c):
        return told
    due = (c.seen.primary.deadline or c.now + c.spec.interval) + GRACE
    state, events = (told.state, told.events) if told else (c.state, ())
    return Step(state, events, (Purpose.TIMER, due))


def shift(c: Context) -> Step:
    """Traffic back to the promoted primary, in one jump or in steps of stepWeightPromotion an interval."""
    weight = next_promotion_weight(c.spec, c.state.weight)
    state = _forget(replace(c.state, weight=weight, stage=Stage.SHIFTING), "pending:")
    told = (
        texts.primary_advanced(c.spec, 100 - weight) if c.spec.promotion_step > 0 and c.state.weight > 0
        else texts.routed()
    )  # fmt: skip
    if weight > 0:
        return Step(state, (told,), (Purpose.TIMER, _next_due(c)))
    state = replace(state, phase=Phase.FINALISING, stage=Stage.DRAINING, iterations=0)
    return Step(state, (told,), (Purpose.TIMER, c.now + c.spec.drain))


def succeed(c: Context) -> Step:
    state = replace(
        c.state, phase=Phase.SUCCEEDED, stage=Stage.IDLE, weight=0, iterations=0, promoted=c.state.revision,
        promotion="", hold=None,
    )  # fmt: skip
    tick = (Purpose.POST_ROLLOUT, c.now) if "post-rollout" in c.spec.hooks else None
    return Step(state, (texts.promoted(c.spec),), tick, clear_tick=True)
