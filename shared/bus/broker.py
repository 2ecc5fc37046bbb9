"""One connection to NATS per process, with the profile that was measured to be safe."""

from collections.abc import Callable

from faststream.nats import NatsBroker

from shared.runtime.serve import Runtime
from shared.runtime.settings import BusSettings


def make_broker(settings: BusSettings, service: str, on_closed: Callable[[], None]) -> NatsBroker:
    """A broker that isn't connected yet. `on_closed` is called when its connection is closed for good."""
    raise NotImplementedError


async def connect(broker: NatsBroker, runtime: Runtime) -> None:
    """Connects and starts the broker's consumers, waiting for NATS and for the bootstrap as long as it takes.

    Registers the health component `nats`, and the broker's end on the runtime's exit stack. Call it after every
    `consume`, as the last act of a composition.
    """
    raise NotImplementedError
