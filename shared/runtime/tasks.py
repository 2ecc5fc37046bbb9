"""Ending tasks for sure."""

import asyncio
from typing import Any, Final

_AGAIN: Final = 0.5
"""Seconds after which a task that its cancellation hasn't ended is cancelled once more."""


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancels these and waits until they are over, however they end.

    Again and again: before Python 3.12 `asyncio.wait_for`, which client libraries use, swallows a cancellation that
    comes together with what it waits for. A task group cancels its tasks only once, so it can hang for ever.
    """
    while left := {task for task in tasks if not task.done()}:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_AGAIN)
    await asyncio.gather(*tasks, return_exceptions=True)
