"""Whose requests reach the canary, from where its rollout stands."""

from services.router.rollout.spec import Spec
from services.router.rollout.state import Stage, State


def testers(spec: Spec, state: State) -> bool:
    """Do testers go to it? From the first step until the promoted primary takes over, as the public's share does; never to
    one that nobody judges."""
    judged = state.stage is Stage.COPYING and state.analysis_started is not None
    return spec.testers and (state.stage is Stage.JUDGING or judged)


def mirrored(spec: Spec, state: State) -> bool:
    """Does it get copies of what the primary answers?"""
    return spec.mirror and state.stage is Stage.JUDGING and state.weight == 0


def routed(spec: Spec, state: State) -> bool:
    """Does it answer anybody through the gateway, whose metrics count nothing else?"""
    return state.weight > 0 or testers(spec, state)
