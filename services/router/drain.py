"""When a canary that has lost its traffic may be scaled down: once the gateway's numbers say that nothing reaches it, and
when the drain time is over at the latest. Pure.

Only where the Canary's own checks rest on the gateway's numbers; elsewhere Prometheus isn't asked, and time decides.
"""

from typing import Final

from services.router import evidence
from services.router.rollout.state import PendingTick, Phase, Purpose, Stage
from services.router.scene import Scene
from shared.wire import messages as wire

EVERY: Final = 5.0
"""Seconds between two looks: as often as the quickest Prometheus scrapes."""
_ENDING: Final = frozenset({Phase.FINALISING, Phase.FAILED})
"""After a promotion, or a rollback. A target that was just taken over isn't known by the generated route's numbers."""


def asked(scene: Scene, tick: PendingTick) -> wire.Sides | None:
    """Whose requests should have ended by this tick; None where nothing drains, or nobody can tell."""
    state, spec = scene.state, scene.canary.spec
    if state.stage is not Stage.DRAINING or state.phase not in _ENDING or tick.purpose is not Purpose.TIMER:
        return None
    if spec.skip_analysis or not scene.nodes or not evidence.relied_on(scene):
        return None
    return evidence.sides(scene, tick.due - spec.drain)


def glance(scene: Scene, tick: PendingTick) -> wire.Glance | None:
    """What is looked at until then."""
    if (sides := asked(scene, tick)) is None:
        return None
    # Who doesn't know drains yet looks for a broken canary by these, and finds none.
    comparison = wire.Comparison(**dict(sides), alpha=1e-9, floor=0.5)
    return wire.Glance(
        id=f"drain/{scene.canary.spec.uid}/{tick.seq}",
        canary=scene.canary.ref,
        tick=wire.TickId(revision=tick.revision, seq=tick.seq, due=tick.due),
        comparison=comparison,
        every_seconds=EVERY,
        drain=True,
    )
