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
from datetime import datetime

from services.router.rollout import (
    adopting,
    analysing,
    asked,
    ending,
    guards,
    holding,
    idling,
    promoting,
    removing,
    starting,
    steps,
    sticky,
)  # fmt: skip
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


BEGUN = LIVE - {_P.NEW}
RESTING = SETTLED | {_P.WAITING}
ROLLED = _same(_P.FAILED)
GONE = _same(_P.TERMINATING)
BOUNDED = holding.BOUNDED
RULES: tuple[Rule, ...] = (
    # deletion, and everything that makes us keep our hands off
    Rule(GONE, "let go", guards.let_go, steps.nothing, GONE),
    Rule(ALL, "deleted, with our finalizer", guards.deleted, removing.terminate, GONE),
    Rule(GONE, "the gateways have followed", guards.followed, removing.followed, GONE),
    Rule(GONE, "beyond its deadline", guards.out_of_time, removing.leave_behind, GONE),
    Rule(GONE, "everything leads to the target", guards.leaving, steps.nothing, GONE),
    Rule(GONE, "nothing to hand back", guards.nothing_to_return, removing.terminated, GONE),
    Rule(GONE, "the target has no traffic", guards.drained, removing.restore, GONE),
    Rule(GONE, "the target shows what is promoted", guards.restored, removing.give_back, GONE),
    Rule(GONE, "the target can serve all", guards.returned, removing.leave, GONE),
    Rule(GONE, "the deadline has moved", guards.due, removing.wait, GONE),
    Rule(GONE, "otherwise", guards.always, steps.nothing, GONE),
    Rule(SETTLED, "drained, or hooks answered", guards.settled_judged, ending.settled, SETTLED),
    Rule(BOUNDED, "abort requested, without a bus", asked.abort_alone, ending.abort, ROLLED),
    Rule(BOUNDED, "without a bus for too long", guards.abandoned, ending.abandon, ROLLED),
    Rule(RESTING, "idle target scaled up", guards.raised, idling.put_back, RESTING),
    Rule(LIVE, "suspended, refused, held or in trouble", guards.blocked, holding.block, LIVE),
    Rule(LIVE, "no longer blocked", guards.unblocked, holding.unblock, LIVE),
    Rule(BEGUN, "begun by another controller", guards.foreign, adopting.adopt, LIVE),
    Rule(RESTING, "idle target no longer somebody's", guards.lowered, idling.take_again, RESTING),
    Rule(BEGUN, "something to warn of once", guards.warned, holding.warn, LIVE),
    # people
    Rule(ANALYSING, "abort requested", asked.abort, ending.abort, ROLLED),
    Rule(ANALYSING, "promote requested", asked.promote, promoting.promote, _same(_P.PROMOTING)),
    Rule(ROLLED, "retry requested", asked.retry, starting.start_asked, _same(_P.PROGRESSING)),
    Rule(LIVE, "a request that means nothing now", asked.idly, holding.ignore_request, LIVE),
    # the start
    Rule(_same(_P.NEW), "target readable", guards.always, starting.initialize, _same(_P.INITIALIZING)),
    Rule(_same(_P.INITIALIZING), "providers asked", guards.judged, starting.providers, _same(_P.INITIALIZING)),
    Rule(_same(_P.INITIALIZING), "providers not asked", guards.unasked_providers, starting.ask_providers,
         _same(_P.INITIALIZING)),
    Rule(_same(_P.INITIALIZING), "primary not ready", guards.primary_unready, steps.primary_pending,
         _same(_P.INITIALIZING)),
    Rule(_same(_P.INITIALIZING), "primary ready", guards.initializable, starting.initialized, _same(_P.INITIALIZED)),
    # between rollouts
    Rule(SETTLED, "confirm-rollout answered", guards.confirmable, starting.confirmed,
         _same(_P.PROGRESSING, _P.WAITING, _P.FAILED)),
    Rule(SETTLED, "nothing to confirm any more", guards.judged, starting.unasked, SETTLED),
    Rule(SETTLED, "new revision, primary broken", guards.new_but_broken, ending.refuse_start, ROLLED),
    Rule(SETTLED, "new revision, primary not ready", guards.new_unready, steps.primary_pending, SETTLED),
    Rule(SETTLED, "new revision, gated", guards.new_gated, starting.ask_confirm, SETTLED),
    Rule(SETTLED, "new revision", guards.new_revision, starting.start, _same(_P.PROGRESSING)),
    Rule(SETTLED, "back to the promoted revision", guards.reverted_spec, starting.record_promoted, SETTLED),
    Rule(ROLLED, "retry requested, primary not ready", asked.early_retry, steps.primary_pending, ROLLED),
    Rule(_same(_P.WAITING), "back to the promoted revision", guards.withdrawn, starting.withdrawn,
         _same(_P.SUCCEEDED)),
    Rule(_same(_P.WAITING), "confirm-rollout answered", guards.judged, starting.confirmed,
         _same(_P.PROGRESSING, _P.WAITING, _P.FAILED)),
    Rule(_same(_P.WAITING), "approved", asked.start, starting.start_asked, _same(_P.PROGRESSING)),
    # the analysis
    Rule(ANALYSING, "another revision", guards.superseded, starting.restart, _same(_P.PROGRESSING)),
    Rule(ANALYSING, "canary or primary beyond its deadline", guards.beyond_deadline, ending.deadline, ROLLED),
    Rule(ANALYSING, "threshold reached (spec edited)", guards.over_threshold, ending.roll_back, ROLLED),
    Rule(ANALYSING, "canary ready, analysis skipped", guards.ready_to_skip, promoting.copy, _same(_P.PROMOTING)),
    Rule(ANALYSING, "scaling up, canary ready", guards.ready_to_begin, analysing.begin,
         _same(_P.PROGRESSING, _P.PROMOTING)),
    Rule(ANALYSING, "scaling up, timer", guards.readying_judged, analysing.rearm_deadline, ANALYSING),
    Rule(ANALYSING, "scaling up, not ready", guards.canary_unready, analysing.canary_pending, ANALYSING),
    Rule(ANALYSING, "approved", asked.approve, analysing.approve, ANALYSING | {_P.PROMOTING}),
    Rule(ANALYSING, "tick judged", guards.judged, analysing.judge, ANALYSING | {_P.PROMOTING, _P.FAILED}),
    # the promotion
    Rule(_same(_P.PROMOTING), "another revision", guards.superseded, promoting.restart_promoting,
         _same(_P.PROGRESSING)),
    Rule(_same(_P.PROMOTING), "primary beyond its deadline", guards.promotion_broken, ending.fail_promotion, ROLLED),
    Rule(_same(_P.PROMOTING), "canary beyond its deadline", guards.canary_broken, ending.deadline, ROLLED),
    Rule(_same(_P.PROMOTING), "primary rolling out", guards.primary_rolling, promoting.promotion_pending,
         _same(_P.PROMOTING)),
    Rule(_same(_P.PROMOTING), "primary ready, or next shift", guards.shiftable, promoting.shift,
         _same(_P.PROMOTING, _P.FINALISING)),
    Rule(_same(_P.FINALISING), "drained", guards.judged, ending.succeed, _same(_P.SUCCEEDED)),
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
    # Once its annotation is off, a request has not to be told from itself any more: the same may be asked again.
    request = step.state.request if context.seen.request else ""
    state = sticky.follow(context.spec, step.state)
    new = replace(state, transition=transition, seq=context.state.seq + len(step.events), request=request)
    if new.phase not in RESTING:  # the target's size is the canary's now
        new = replace(new, raises=(), yielded="")
    if step.tick is not None:
        purpose, due = step.tick
        new = replace(new, tick=PendingTick(transition, due, purpose, new.revision))
    elif step.clear_tick:
        new = replace(new, tick=None)
    return Decision(new, step.events, rule.when)
