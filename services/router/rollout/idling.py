"""Between rollouts the target stands at zero. Who scales it up again is counted, and not fought for ever."""

from dataclasses import replace
from datetime import timedelta

from services.router.rollout import texts
from services.router.rollout.context import Context, Step
from services.router.rollout.state import Raise

WINDOW = timedelta(minutes=10)
MOST = 3
"""Times within the window that one manager's size is taken back."""


def put_back(c: Context) -> Step:
    """Remember it, so that the shell may scale down; the time after the last, leave it and say how it is mended."""
    raised = c.seen.raised
    recent = tuple(each for each in c.state.raises if each.at > c.now - WINDOW)
    if sum(each.manager == raised.manager for each in recent) >= MOST:
        state = replace(c.state, raises=recent, yielded=raised.manager)
        return Step(state, (texts.yielded(c.spec, raised.manager),))
    return Step(replace(c.state, raises=(*recent, Raise(raised.manager, c.now, raised.generation))))


def take_again(c: Context) -> Step:
    """It stands at zero, or nobody claims another size any more."""
    return Step(replace(c.state, raises=(), yielded=""), (texts.idle_again(c.spec),))
