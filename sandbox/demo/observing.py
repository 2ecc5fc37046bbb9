"""Two ways to watch a rollout from outside: the public event stream, and a look at the canary every second."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import aiohttp
import nats
from nats.aio.msg import Msg

from sandbox.controlplane.api import ApiError, Json
from sandbox.demo import story
from sandbox.demo.record import Record, Sample
from sandbox.demo.view import View
from sandbox.stage import Stage
from shared.canary import queries

_WINDOW = "15s"
_PATTERN = queries.route_pattern([f"{story.NAMESPACE}_podinfo-podinfo-canary_method"])


async def events(stage: Stage, record: Record, view: View, now: Callable[[], float]) -> None:
    """Follows the stream with the read-only user, as anybody may; runs until it's cancelled."""
    user = "subscriber"
    client = await nats.connect(stage.nats.url, user=user, password=stage.nats.credentials[user])

    async def hear(message: Msg) -> None:
        view.told(record.add(json.loads(message.data), now()))

    try:
        # By callback: the client's iterator may swallow a cancellation.
        await client.jetstream().subscribe(
            f"serinus.rollout.v1.{story.NAMESPACE}.>", stream="PUBLIC_ROLLOUTS", ordered_consumer=True, cb=hear
        )
        await asyncio.get_running_loop().create_future()
    finally:
        await client.close()


async def samples(stage: Stage, record: Record, view: View, now: Callable[[], float]) -> None:
    """Looks at the canary and at its numbers in Prometheus once a second; runs until it's cancelled."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with asyncio.TaskGroup() as group:
                pause = group.create_task(asyncio.sleep(1.0))
                try:
                    canary = await stage.api.get(story.CANARY)
                except ApiError:  # it isn't there yet
                    await pause
                    continue
                sample = await _sample(canary, lambda query: _ask(session, stage.prometheus.url, query), now())
                record.samples.append(sample)
                view.seen(sample)


async def _sample(canary: Json, ask: Callable[[str], Awaitable[float | None]], at: float) -> Sample:
    status = canary.get("status", {})
    known = status.get("serinus", {}).get("nodes", [])
    nodes = queries.node_pattern(node["address"] for node in known if not node.get("former"))
    serving = status.get("canaryWeight", 0) > 0
    return Sample(
        at=at,
        phase=status.get("phase", ""),
        weight=status.get("canaryWeight", 0),
        failed_checks=status.get("failedChecks", 0),
        success=await ask(queries.success_rate(_PATTERN, nodes, _WINDOW)) if serving else None,
        p99=await ask(queries.duration(_PATTERN, nodes, _WINDOW)) if serving else None,
    )


async def _ask(session: aiohttp.ClientSession, url: str, query: str) -> float | None:
    """The value, or None where Prometheus has none."""
    async with session.get(f"{url}/api/v1/query", params={"query": query}) as answer:
        found = (await answer.json())["data"]["result"]
    value = float(found[0]["value"][1]) if found else float("nan")
    return None if value != value else value
