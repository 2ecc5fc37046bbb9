"""Taking over a Canary that another controller ran, as it stands: nothing starts over, and no pod starts anew.

Its hashes can't be computed again, so what it promoted is read off the primary, and how far it had come off the route.
"""

from dataclasses import replace

from services.router.rollout import promoting, starting
from services.router.rollout.context import Context, Step
from services.router.rollout.spec import Strategy
from services.router.rollout.state import ANALYSING, SETTLED, TAKEN_OVER, Phase, Purpose, Stage, State
from services.router.rollout.steps import notice, timeout


def adopt(c: Context) -> Step:
    promoted = c.seen.primary_revision or starting.UNKNOWN
    state = replace(c.state, revision=promoted, promoted=promoted, iterations=0, providers_checked=True)
    if c.state.phase in SETTLED:
        shown = c.seen.revision if c.state.phase is Phase.FAILED else promoted  # the target still shows what failed
        return Step(replace(state, revision=shown))
    if c.state.phase is Phase.WAITING:
        return Step(notice(state, f"gate:{Phase.WAITING}"), (), (Purpose.CONFIRM_ROLLOUT, c.now))
    if c.state.phase is Phase.FINALISING:
        state = replace(state, stage=Stage.DRAINING, weight=0, rollout_started=c.now)
        return Step(state, (), (Purpose.TIMER, c.now + c.spec.drain))
    if c.state.phase is Phase.PROMOTING:
        return _promoting(c, state)
    if c.state.phase in ANALYSING:
        return _analysing(c, state)
    return starting.initialize(c)


def _analysing(c: Context, state: State) -> Step:
    """The weight stays, and is judged after an interval of ours; without any, the canary scales up.

    An A/B test starts over: the other controller gives everybody to it, and only its testers were meant (W-A2).
    """
    if c.seen.routed == 0 or c.spec.strategy is Strategy.AB_TESTING:
        return Step(starting.fresh(c, replace(state, weight=0)), (), timeout(c))
    state = replace(
        _shown(c, state), stage=Stage.JUDGING, rollout_started=c.now, analysis_started=c.now, step_started=c.now,
        step_ticks=0,
    )  # fmt: skip
    if state.phase is Phase.WAITING_PROMOTION:
        state = notice(state, f"gate:{Phase.WAITING_PROMOTION}")
    return Step(state, (), (Purpose.ANALYSIS, c.now + c.spec.interval))


def _promoting(c: Context, state: State) -> Step:
    """What the primary got already isn't copied once more: its pods would start anew."""
    same = c.seen.primary_revision == c.seen.revision
    state = replace(_shown(c, state), rollout_started=c.now)
    if not same:
        return promoting.copied(c, state, ())
    state = replace(state, stage=Stage.COPYING, promotion=TAKEN_OVER, step_started=c.now)
    return Step(state, (), timeout(c))


def _shown(c: Context, state: State) -> State:
    """The revision that the target shows, at the weight that the route has."""
    return replace(state, revision=c.seen.revision, weight=c.seen.routed)
