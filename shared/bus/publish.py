"""To JetStream: everything is stored when a call returns, or RetryLater is raised."""

from collections.abc import Mapping
from datetime import datetime

from faststream.nats import NatsBroker
from pydantic import BaseModel

from shared.runtime.serve import Runtime
from shared.wire.messages import Tick


class Publisher:
    """All that a process publishes."""

    def __init__(self, broker: NatsBroker, runtime: Runtime) -> None:
        self._broker = broker
        self._runtime = runtime

    async def publish(
        self,
        subject: str,
        message: BaseModel,
        *,
        stream: str,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Stores a message. A repeat of the same id within the stream's window is dropped by the server: success."""
        raise NotImplementedError

    async def schedule(self, namespace: str, name: str, message: Tick, due: datetime) -> None:
        """Lets NATS deliver this tick when it's due, in place of any other that waits for this canary."""
        raise NotImplementedError

    async def unschedule(self, namespace: str, name: str) -> None:
        """Cancels the tick that waits for this canary, if one does."""
        raise NotImplementedError

    async def last(self, stream: str, subject_filter: str) -> tuple[Mapping[str, str], bytes] | None:
        """Headers and body of the newest message on a subject (wildcards allowed), or None when there is none."""
        raise NotImplementedError
