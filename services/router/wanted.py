"""What the cluster shall hold for one canary, purely from its status and from what is there.

`services.router.converge` compares the answer with the observed objects and writes only differences, in this order, so
that capacity exists before traffic reaches it and traffic has left before capacity goes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from services.router import (
    handing_back,
    idle,
    observe,
    primary_objects,
    route_objects,
    service_objects,
    traffic,
    upstreams,
)
from services.router.found import Found, target_revision
from services.router.objects import Options, Wanted, kept, kept_by_target, owned, selector
from services.router.parse import Canary
from services.router.rollout.spec import Strategy
from services.router.rollout.state import SETTLED, TAKEN_OVER, Phase, Stage, State, untouched
from services.router.shape import Shape
from shared.kube import json, kinds

CHECKSUM: Final = "serinus.dev/checksum"
"""Annotation of a config's copy: the checksum of what was copied."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A tracked config whose primary copy must carry this checksum."""

    key: str
    checksum: str


def hands_off(canary: Canary, state: State, found: Found, refused: bool) -> bool:
    """Is this canary's world not ours to touch now?

    A rollback that was decided all the same must reach the gateway, and a deletion must end.
    """
    if state.phase is Phase.NEW or found.rival or untouched(state):
        return True
    if canary.spec.deleting:
        return state.phase is not Phase.TERMINATING  # nothing more is made for it
    if state.phase is Phase.FAILED:
        return canary.spec.suspended or (bool(found.hold) and state.stage is not Stage.DRAINING)
    return canary.spec.suspended or bool(found.hold) or refused


def protected(state: State, found: Found, refused: bool) -> bool:
    """Shall our finalizer be there? Whatever we made or changed would go, or stay, without it."""
    untold = state.phase in {Phase.NEW, Phase.TERMINATING} or untouched(state)
    return not (untold or refused or found.hold or found.rival)


def wanted(canary: Canary, state: State, found: Found, options: Options) -> Iterable[Wanted]:
    """Objects in the order in which they must be written. A NoSelector has become a `config_problem` before."""
    if state.phase is Phase.TERMINATING:
        there = {json.name(each) for each in found.generated} if state.stage is Stage.DRAINING else set()
        made = route_objects.generated(canary, found, shape(canary, state, found), options)
        yield from (each for each in made if each.name in there)
        yield from handing_back.wanted(canary, state, found, options)
        return
    if canary.model.service is None:
        return
    serving = state.phase is not Phase.INITIALIZING or primary_objects.serving(found)
    if found.target is not None and not found.config_problem:
        label = selector(canary, found, options)
        yield from (service_objects.service(canary, found, label, each) for each in ("canary", "primary"))
        if not copies(state, found):
            yield from primary_objects.primary(canary, state, found, label, options)
        yield from primary_objects.autoscaler(canary, state, found)
        if serving:
            yield service_objects.service(canary, found, label, "apex")
    yield from upstreams.copies(canary, found)
    if serving:
        # Even without target or configs: a rollback must reach the gateway.
        yield from route_objects.generated(canary, found, shape(canary, state, found), options)
    if state.phase is Phase.PROMOTING and state.promotion != TAKEN_OVER:
        yield from _kept(canary, found)
    replicas = target_replicas(canary, state, found)
    if replicas is not None:
        yield Wanted(kinds.DEPLOYMENT, canary.names.target, merged={"spec": {"replicas": replicas}})


def _kept(canary: Canary, found: Found) -> Iterable[Wanted]:
    """What another controller made goes with its Canary only; a promotion of ours changes that, as it writes anyway."""
    made = (
        (kinds.DEPLOYMENT, found.primary), (kinds.AUTOSCALER, found.primary_autoscaler),
        *((kinds.APISIX_ROUTE, each) for each in found.generated), *((kinds.SERVICE, each) for each in found.services.values()),
    )  # fmt: skip
    for kind, each in made:
        if each is not None and owned(canary, each) and not kept_by_target(canary, each) and found.target is not None:
            yield kept(canary, found, kind, each)


def copies(state: State, found: Found) -> tuple[Copy, ...]:
    """Configs whose copies must be made or renewed before the primary's template points at them.

    What the primary already uses is only replaced by a promotion of just this revision; a copy that somebody deleted
    is made again while the source still is what was promoted.
    """
    if state.phase is Phase.TERMINATING:
        return ()
    missing = [Copy(key, value) for key, value in (found.configs or {}).items() if not found.copies.get(key)]
    old = [Copy(key, value) for key, value in (found.configs or {}).items() if found.copies.get(key) not in {"", value}]
    if not missing and not old:
        return ()
    shown = target_revision(found)
    if state.phase is Phase.PROMOTING:
        return (*missing, *old) if shown == state.revision else ()
    if state.phase is Phase.INITIALIZING or found.primary is None:
        return (*missing, *(old if not primary_objects.serving(found) else ()))
    return tuple(missing) if shown == state.promoted else ()


def shape(canary: Canary, state: State, found: Found) -> Shape:
    """How the traffic shall be divided now."""
    return (traffic.withdrawn if observe.aborting(canary, state, found) else traffic.shape)(canary, state)


def target_replicas(canary: Canary, state: State, found: Found) -> int | None:
    """How many replicas the target shall have, or None where its number is none of our business.

    Zero only without weight, whatever the phase.
    """
    if found.target is None:
        return None
    have = json.number(found.target, "spec", "replicas", default=1)
    if state.weight > 0:
        return None if have > 0 else scaled_up(canary, found)
    if idle.at_rest(state.phase, state.stage):
        return None if have == 0 or state.yielded or idle.about_to_start(state, found) else _down(canary, state, found)
    leave = state.phase in SETTLED | {Phase.NEW, Phase.INITIALIZING, Phase.FINALISING}
    return None if leave or have > 0 else scaled_up(canary, found)


def _down(canary: Canary, state: State, found: Found) -> int | None:
    """Zero; but who raised it is counted first."""
    raised = idle.raised(canary, state, found)
    counted = not raised.manager or any(each.generation == raised.generation for each in state.raises)
    return 0 if counted else None


def scaled_up(canary: Canary, found: Found) -> int:
    """Replicas of a target that stands at zero (behaviour sheet §3.6)."""
    primary = json.number(found.primary, "spec", "replicas", default=1)
    if not canary.names.autoscaler:
        return max(primary, 1)
    least = max(json.number(found.autoscaler, "spec", "minReplicas", default=1), 1)
    # The whole public comes at once: an autoscaler that sees it come is too late.
    return max(least, primary) if canary.spec.strategy is Strategy.BLUE_GREEN else least
