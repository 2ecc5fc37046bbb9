"""The guide's canary in each phase; `theatre.initialized` and `theatre.progressing` are the other two."""

from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.theatre import Theatre, check, guide, initialized, progressing


def with_hook(kind: str) -> Json:
    canary = guide("canary")
    canary["spec"]["analysis"]["webhooks"] = [{"name": "gate", "type": kind, "url": "http://gate"}]
    return canary


async def initializing() -> Theatre:
    theatre = Theatre()
    await theatre.fact()
    assert theatre.phase == "Initializing"
    return theatre


async def initializing_and_served() -> Theatre:
    """The primary serves already; its providers are still being asked."""
    theatre = await initializing()
    await theatre.settle()
    assert theatre.phase == "Initializing"
    return theatre


async def waiting() -> Theatre:
    theatre = await initialized(with_hook("confirm-rollout"))
    theatre.release()
    await theatre.settle()
    await theatre.tick(checks=[check("gate", wire.CheckKind.GATE, wire.Outcome.FAIL)])
    assert theatre.phase == "Waiting"
    return theatre


async def waiting_promotion() -> Theatre:
    theatre = await progressing(with_hook("confirm-promotion"), steps=4)
    await theatre.tick(checks=[check("gate", wire.CheckKind.GATE, wire.Outcome.FAIL)])
    assert theatre.phase == "WaitingPromotion"
    return theatre


async def promoting() -> Theatre:
    theatre = await progressing(steps=4)
    theatre.unready = {"podinfo-primary"}
    await theatre.tick()
    await theatre.settle()
    assert theatre.phase == "Promoting"
    return theatre


async def finalising() -> Theatre:
    theatre = await promoting()
    theatre.unready = set()
    await theatre.settle()
    assert theatre.phase == "Finalising"
    return theatre


async def succeeded() -> Theatre:
    theatre = await finalising()
    await theatre.tick()
    await theatre.settle()
    assert (theatre.phase, theatre.replicas) == ("Succeeded", 0)
    return theatre


async def failing() -> Theatre:
    """Rolled back a moment ago."""
    theatre = await progressing()
    theatre.ask("abort:1")
    await theatre.settle()
    assert (theatre.phase, theatre.replicas) == ("Failed", 1)
    return theatre


async def failed() -> Theatre:
    theatre = await failing()
    await theatre.tick()
    assert (theatre.phase, theatre.replicas) == ("Failed", 0)
    return theatre


async def served_by_the_canary() -> Theatre:
    theatre = await promoting()
    theatre.broken = {"podinfo-primary"}
    await theatre.settle()
    assert (theatre.phase, theatre.weights()) == ("Failed", (0, 100))
    return theatre
