"""A Canary is deleted: nothing that serves goes before what replaces it serves.

The target gets back what the primary runs, unless it shows that already, and the primary's size; then Service and route
lead to it again; then, once the gateways have had time to follow, the Canary goes, and with it what it owns. Traffic is
taken off the target only to change its template under it.
"""

from dataclasses import replace
from datetime import datetime

from services.router.rollout import guards, texts
from services.router.rollout.context import Context, Step
from services.router.rollout.reach import routed
from services.router.rollout.state import LEFT, TERMINATED, Phase, Purpose, Stage, State
from services.router.rollout.steps import GRACE, forget, notice
from services.router.rollout.texts import Draft


def terminate(c: Context) -> Step:
    """Who serves everybody because the primary can't keeps its template, whatever that is."""
    state = replace(forget(c.state, ""), phase=Phase.TERMINATING, stage=Stage.IDLE, iterations=0, hold=None)
    told: tuple[Draft, ...] = (texts.terminating(c.spec),)
    if guards.nothing_to_return(c):
        return _over(c, state, told)
    if not c.seen.unpromoted or guards.serves_all(c):
        return _begin(c, state, Stage.RETURNING, told)
    told = (*told, texts.restoring(c.spec))
    if routed(c.spec, c.state) or c.seen.routed > 0 or c.state.stage is Stage.DRAINING:
        return Step(replace(state, stage=Stage.DRAINING, weight=0), told, (Purpose.TIMER, c.now + c.spec.drain))
    return _begin(c, state, Stage.RESTORING, told)


def restore(c: Context) -> Step:
    return _begin(c, c.state, Stage.RESTORING, ())


def give_back(c: Context) -> Step:
    """From here on the template is what its owner makes of it: we never fight."""
    return Step(replace(c.state, stage=Stage.RETURNING))


def leave(c: Context) -> Step:
    return Step(replace(c.state, stage=Stage.LEAVING, weight=0), (), (Purpose.TIMER, c.now + c.spec.drain))


def followed(c: Context) -> Step:
    """If the API server refuses to have it so, once more, until the deadline."""
    if c.seen.fronted:
        return Step(c.state, (), (Purpose.TIMER, c.now + c.spec.drain))
    return terminated(c)


def wait(c: Context) -> Step:
    return Step(c.state, (), (Purpose.TIMER, max(_latest(c, c.state), c.now + GRACE)))


def leave_behind(c: Context) -> Step:
    """Going on would take away what serves: it stays, and no longer goes with the Canary."""
    cause = c.seen.problem or texts.canary_unready(c.spec, c.seen.canary.text or "it has other replicas")
    return _over(c, notice(c.state, LEFT), (texts.left_behind(c.seen.belongings, cause),))


def terminated(c: Context) -> Step:
    return _over(c, c.state, ())


def _begin(c: Context, state: State, stage: Stage, told: tuple[Draft, ...]) -> Step:
    state = replace(state, stage=stage, step_started=c.now)
    return Step(state, told, (Purpose.TIMER, _latest(c, state)))


def _latest(c: Context, state: State) -> datetime:
    return (state.step_started or c.now) + c.spec.deadline + GRACE


def _over(c: Context, state: State, told: tuple[Draft, ...]) -> Step:
    state = notice(replace(state, stage=Stage.IDLE), TERMINATED)
    return Step(state, (*told, texts.terminated(c.spec)), clear_tick=True)
