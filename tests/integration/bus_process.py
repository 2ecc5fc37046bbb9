"""A process that does nothing but be on the bus: `python -m tests.integration.bus_process`."""

from shared.bus.broker import connect, make_broker
from shared.runtime.serve import Runtime, main
from shared.runtime.settings import BusSettings, ServiceSettings


class Settings(BusSettings, ServiceSettings):
    """What any service has."""


async def app(settings: Settings, runtime: Runtime) -> None:
    await connect(make_broker(settings, "router", lambda: runtime.fail("the connection to NATS is closed")), runtime)


if __name__ == "__main__":
    main("router", Settings, app, http=False)
