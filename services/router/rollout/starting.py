"""From a new Canary to a canary that scales up: initialization, the confirm-rollout gate, start and restart."""

from dataclasses import replace

from services.router.rollout import ending, guards, texts
from services.router.rollout.context import Context, Step
from services.router.rollout.inputs import Kind, Outcome
from services.router.rollout.state import Phase, Purpose, Stage, State
from services.router.rollout.steps import forget, handled, next_due, notice, refused_gate, timeout, told
from services.router.rollout.texts import Draft, Event

UNKNOWN = "unknown"
"""Stands for a revision that another controller knew and we can't."""


def initialize(c: Context) -> Step:
    state = replace(c.state, phase=Phase.INITIALIZING, stage=Stage.IDLE, revision=c.seen.revision)
    if c.spec.skip_analysis:
        return Step(state)
    return Step(state, (), (Purpose.PROVIDERS, c.now))


def ask_providers(c: Context) -> Step:
    """A block, or a skipped analysis that no longer is, has left them unasked."""
    return Step(c.state, (), (Purpose.PROVIDERS, c.now))


def providers(c: Context) -> Step:
    drafts = tuple(
        replace(draft, type=Event.WARNING if draft.warning else Event.HOOK) for draft in told(c, Kind.PROVIDER)
    )
    if c.verdict.outcome is Outcome.PASS:
        drafts = (texts.providers_available(),)
    return Step(replace(c.state, providers_checked=True), drafts, clear_tick=True)


def initialized(c: Context) -> Step:
    """The revision is the one that the primary was made from, not what the target shows by now (W-G7)."""
    revision = c.seen.primary_revision or UNKNOWN
    state = replace(
        c.state, phase=Phase.INITIALIZED, stage=Stage.DRAINING, revision=revision, promoted=revision,
        weight=0, failed_checks=0, iterations=0,
    )  # fmt: skip
    return Step(forget(state, "pending:"), (texts.initialized(c.spec),), (Purpose.TIMER, c.now + c.spec.drain))


def ask_confirm(c: Context) -> Step | None:
    """Asked at once; but a drain that goes on is waited for, since asking scales to zero."""
    if c.state.stage in {Stage.CONFIRMING, Stage.DRAINING}:
        return None
    return Step(replace(c.state, stage=Stage.CONFIRMING), (), (Purpose.CONFIRM_ROLLOUT, c.now))


def confirmed(c: Context) -> Step:
    if any(check.outcome is Outcome.PASS for check in c.verdict.of(Kind.ROLLBACK)):
        state = replace(c.state, revision=c.seen.revision or c.state.revision)
        return ending.rolled_back(c, state, (*told(c, Kind.ROLLBACK), texts.manual_rollback(c.spec)))
    drafts = told(c, Kind.GATE)
    refused = refused_gate(c)
    if not refused and c.verdict.outcome is Outcome.PASS:
        return _started(c, c.state, drafts)
    passed = tuple(draft for draft in drafts if not draft.warning)
    state = replace(c.state, phase=Phase.WAITING, stage=Stage.IDLE)
    if c.state.phase is not Phase.WAITING:
        passed = (*passed, texts.waiting_rollout(c.spec, refused))
        state = notice(state, f"gate:{Phase.WAITING}")
    return Step(state, passed, (Purpose.CONFIRM_ROLLOUT, next_due(c)))


def unasked(c: Context) -> Step:
    """What was to be confirmed isn't there any more."""
    return Step(replace(c.state, stage=Stage.IDLE), clear_tick=True)


def withdrawn(c: Context) -> Step:
    """The target is back at what the primary runs: there's nothing left to approve."""
    state = replace(forget(c.state, "gate:"), phase=Phase.SUCCEEDED, stage=Stage.IDLE, revision=c.seen.revision)
    return Step(state, clear_tick=True)


def start(c: Context) -> Step:
    return _started(c, c.state, ())


def start_asked(c: Context) -> Step:
    """By a person: approved, or once more."""
    return _started(c, handled(c), ())


def record_promoted(c: Context) -> Step:
    return Step(replace(c.state, revision=c.seen.revision))


def restart(c: Context) -> Step:
    return Step(fresh(c, c.state), (texts.restarted(c.spec),), timeout(c))


def _started(c: Context, state: State, drafts: tuple[Draft, ...]) -> Step:
    return Step(fresh(c, state), (*drafts, texts.revision(c.spec)), timeout(c))


def fresh(c: Context, state: State) -> State:
    """The canary scales up without traffic. One that serves everybody after a failed promotion keeps its weight
    while the primary may still be broken (W-G5)."""
    keep = state.weight if guards.serves_all(c) else 0
    state = replace(
        state, phase=Phase.PROGRESSING, stage=Stage.READYING, weight=keep, failed_checks=0, iterations=0, hold=None,
        revision=c.seen.revision or state.revision, promotion="", rollout_started=c.now, analysis_started=None, step_started=None,
        step_ticks=0,
    )  # fmt: skip
    return forget(state, "pending:", "gate:", "open:", "unmeasured:", "note:")
