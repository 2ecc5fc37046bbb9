"""The rollout machine: `decide(spec, state, seen, message, now) → Decision | None`.

Rules of this file:
1. Everything that affects a transition is here. It reads no clock, does no I/O and knows no Kubernetes.
2. It is level-triggered: rules look at how things are. A message only says that it's worth looking, or how the one
   tick that the state waits for was judged. The shell (`services.router.reconcile`) commits the answer, makes the
   world agree and asks again with `Look` until the answer is None.
3. The first rule of `RULES` whose phases and guard fit acts; if none fits nothing changes.
4. Weight rises only on a passed verdict for this revision and this tick. Nothing but `pass` advances anything.
5. Who waits for the world arms a tick at the latest moment that it would wait to, so that nothing waits for ever.

`RULES` is the transition table; docs/rollout-states.md is generated from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.router.rollout import actions, guards
from services.router.rollout.context import Context, Step
from services.router.rollout.inputs import Judged, Message, Observation
from services.router.rollout.spec import Spec
from services.router.rollout.state import ANALYSING, SETTLED, PendingTick, Phase, State
from services.router.rollout.texts import Draft

ALL = frozenset(Phase)
LIVE = ALL - {Phase.TERMINATING}
_P = Phase


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: in `phases`, when `guard` holds, `action` makes the step, which ends in one of `leads`."""

    phases: frozenset[Phase]
    when: str
    guard: Callable[[Context], bool]
    action: Callable[[Context], Step | None]
    leads: frozenset[Phase]


def _same(*phases: Phase) -> frozenset[Phase]:
    return frozenset(phases)


ROLLED = _same(_P.FAILED)
RULES: tuple[Rule, ...] = (
    # deletion, and everything that makes us keep our hands off
    Rule(LIVE, "deleted, with our finalizer", guards.deleted, actions.terminate, _same(_P.TERMINATING)),
    Rule(_same(_P.TERMINATING), "the target serves again", guards.reverted, actions.terminated, _same(_P.TERMINATING)),
    Rule(_same(_P.TERMINATING), "otherwise", guards.always, actions.nothing, ALL),
    Rule(ALL, "suspended, refused or held from outside", guards.blocked, actions.block, ALL),
    Rule(ALL, "no longer blocked", guards.unblocked, actions.unblock, ALL),
    Rule(ALL - {_P.NEW}, "something to warn of once", guards.warned, actions.warn, ALL),
    # people
    Rule(ANALYSING | {_P.PROMOTING}, "abort requested", guards.asked_abort, actions.abort, ROLLED),
    Rule(ANALYSING, "promote requested", guards.asked_promote, actions.promote, _same(_P.PROMOTING)),
    Rule(_same(_P.FAILED), "retry requested", guards.asked_retry, actions.retry, _same(_P.PROGRESSING)),
    Rule(ALL, "a request that means nothing now", guards.asked_idly, actions.ignore_request, ALL),
    # the start
    Rule(_same(_P.NEW), "target readable", guards.always, actions.initialize, _same(_P.INITIALIZING)),
    Rule(_same(_P.INITIALIZING), "providers asked", guards.judged, actions.providers, _same(_P.INITIALIZING)),
    Rule(_same(_P.INITIALIZING), "primary not ready", guards.primary_unready, actions.primary_pending, ALL),
    Rule(_same(_P.INITIALIZING), "primary ready", guards.initializable, actions.initialized, _same(_P.INITIALIZED)),
    # between rollouts
    Rule(SETTLED, "tick judged", guards.settled_judged, actions.settled, SETTLED),
    Rule(SETTLED, "confirm-rollout answered", guards.judged, actions.confirmed, _same(_P.PROGRESSING, _P.WAITING)),
    Rule(SETTLED, "new revision, primary broken", guards.new_but_broken, actions.refuse_start, ROLLED),
    Rule(SETTLED, "new revision, primary not ready", guards.new_unready, actions.primary_pending, SETTLED),
    Rule(SETTLED, "new revision, gated", guards.new_gated, actions.ask_confirm, SETTLED),
    Rule(SETTLED, "new revision", guards.new_revision, actions.start, _same(_P.PROGRESSING)),
    Rule(SETTLED, "back to the promoted revision", guards.reverted_spec, actions.record_promoted, SETTLED),
    Rule(_same(_P.WAITING), "confirm-rollout answered", guards.judged, actions.confirmed,
         _same(_P.PROGRESSING, _P.WAITING)),
    Rule(_same(_P.WAITING), "approved", guards.asked_approve, actions.start, _same(_P.PROGRESSING)),
    # the analysis
    Rule(ANALYSING, "another revision", guards.superseded, actions.restart, _same(_P.PROGRESSING)),
    Rule(ANALYSING, "canary or primary beyond its deadline", guards.beyond_deadline, actions.deadline, ROLLED),
    Rule(ANALYSING, "threshold reached (spec edited)", guards.over_threshold, actions.roll_back, ROLLED),
    Rule(ANALYSING, "scaling up, analysis skipped", guards.ready_to_skip, actions.copy, _same(_P.PROMOTING)),
    Rule(ANALYSING, "scaling up, canary ready", guards.ready_to_begin, actions.begin, _same(_P.PROGRESSING)),
    Rule(ANALYSING, "scaling up, timer", guards.readying_judged, actions.rearm_deadline, ANALYSING),
    Rule(ANALYSING, "scaling up, not ready", guards.canary_unready, actions.canary_pending, ANALYSING),
    Rule(ANALYSING, "approved", guards.asked_approve, actions.approve, ANALYSING | {_P.PROMOTING}),
    Rule(ANALYSING, "tick judged", guards.judged, actions.judge, ANALYSING | {_P.PROMOTING, _P.FAILED}),
    # the promotion
    Rule(_same(_P.PROMOTING), "another revision", guards.superseded, actions.restart_promoting, _same(_P.PROGRESSING)),
    Rule(_same(_P.PROMOTING), "primary beyond its deadline", guards.promotion_broken, actions.fail_promotion, ROLLED),
    Rule(_same(_P.PROMOTING), "primary rolling out", guards.primary_rolling, actions.promotion_pending, ALL),
    Rule(_same(_P.PROMOTING), "primary ready, or next shift", guards.shiftable, actions.shift,
         _same(_P.PROMOTING, _P.FINALISING)),
    Rule(_same(_P.FINALISING), "drained", guards.judged, actions.succeed, _same(_P.SUCCEEDED)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state and what is told. `rule` says why, for logs and tests."""

    state: State
    events: tuple[Draft, ...]
    rule: str


def decide(spec: Spec, state: State, seen: Observation, message: Message, now: datetime) -> Decision | None:
    """The next step of this rollout, or None if nothing changes. `services.router.reconcile` acts on it.

    A `Judged` for another tick than the one the state waits for changes nothing by itself: everything else is still
    looked at, as with `Look`.
    """
    context = Context(spec, state, seen, message, now)
    for rule in RULES:
        if state.phase in rule.phases and rule.guard(context):
            step = rule.action(context)
            return _finish(context, rule, step) if step else None
    return None


def stale(state: State, message: Judged) -> bool:
    """True for a verdict that the state doesn't wait for (late, doubled, or of another revision)."""
    return not guards.is_current(state, message)


def _finish(context: Context, rule: Rule, step: Step) -> Decision:
    """Number the transition and its events, and arm the tick it asked for."""
    transition = context.state.transition + 1
    new = replace(step.state, transition=transition, seq=context.state.seq + len(step.events))
    if step.tick is not None:
        purpose, due = step.tick
        new = replace(new, tick=PendingTick(transition, due, purpose, new.revision))
    elif step.clear_tick:
        new = replace(new, tick=None)
    return Decision(new, step.events, rule.when)


def longest_wait(spec: Spec) -> timedelta:
    """The longest time for which a state may be left without anything happening; for the sweep."""
    return max(spec.interval, spec.deadline)
