"""The door to webhooks that judge or accompany a step: shared.http's, answering in the words of policy."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import aiohttp

from services.analyzer.policy import Reply
from shared.http import webhooks
from shared.http.posting import LONGEST_RETRY_AFTER, redacted
from shared.http.webhooks import body, pause
from shared.wire.messages import Hook, HookPayload

__all__ = ["LONGEST_RETRY_AFTER", "Webhooks", "body", "pause"]


class Webhooks:
    """Calls webhooks."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        sleep: Callable[[float], Awaitable[object]],
        now: Callable[[], datetime],
    ) -> None:
        """The session must trust the environment for its proxies."""
        self._webhooks = webhooks.Webhooks(session, sleep=sleep, now=now)

    async def call(self, hook: Hook, payload: HookPayload, *, event_id: str, repeated: bool) -> Reply:
        """One call with its retries. Never raises for anything that a webhook can do."""
        called = await self._webhooks.call(hook, payload, event_id=event_id, repeated=repeated)
        return Reply(accepted=called.accepted, error=called.error(redacted(hook.url)), repeated=repeated)
