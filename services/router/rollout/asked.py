"""When a rule of the table applies to what a person asked for by annotation."""

from services.router.rollout import guards
from services.router.rollout.context import Context
from services.router.rollout.inputs import Verb
from services.router.rollout.state import Phase, Stage


def _asked(c: Context, verb: Verb) -> bool:
    request = c.seen.request
    return request is not None and request.id != c.state.request and request.verb is verb


def abort(c: Context) -> bool:
    return _asked(c, Verb.ABORT)


def abort_alone(c: Context) -> bool:
    """A person's annotation needs no bus."""
    return guards.block_reason(c) == guards.CUT_OFF and abort(c)


def promote(c: Context) -> bool:
    return _promotable(c) and c.state.stage is not Stage.READYING and c.seen.canary.ready


def _promotable(c: Context) -> bool:
    return _asked(c, Verb.PROMOTE) and c.state.stage in {Stage.READYING, Stage.PREPARING, Stage.JUDGING}


def retry(c: Context) -> bool:
    return _retriable(c) and c.seen.primary.ready


def early_retry(c: Context) -> bool:
    """It starts when the primary is ready: one whose autoscaler is just at work is no reason to forget what was asked."""
    return _retriable(c) and not c.seen.primary.ready


def _retriable(c: Context) -> bool:
    again = c.seen.revision != c.state.promoted or c.state.weight > 0
    return _asked(c, Verb.RETRY) and c.state.phase is Phase.FAILED and bool(c.seen.revision) and again


def approve(c: Context) -> bool:
    """The last verdict found nothing but the gate in the way."""
    ready = c.seen.canary.ready and (c.seen.primary.ready or guards.serves_all(c))
    return _asked(c, Verb.APPROVE) and f"open:{c.state.phase}" in c.state.noticed and ready


def start(c: Context) -> bool:
    return _asked(c, Verb.APPROVE)


def idly(c: Context) -> bool:
    """Asked for something that has no meaning in this phase: it is used up, so that it can't act by surprise later. What
    has only to wait for pods is left where it is."""
    request = c.seen.request
    if request is None or request.id == c.state.request:
        return False
    gated = request.verb is Verb.APPROVE and f"gate:{c.state.phase}" in c.state.noticed
    return not (gated or _promotable(c) or early_retry(c))
