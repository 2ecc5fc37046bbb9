"""Follow rollouts, from the first stored event on: subscribe.py nats://subscriber:PASSWORD@HOST:4222 [NAMESPACE [CANARY]]"""

import asyncio
import json
import sys

import nats


async def main(url: str, namespace: str = "*", canary: str = "*") -> None:
    client = await nats.connect(url, max_reconnect_attempts=-1)
    subject = f"serinus.rollout.v1.{namespace}.{canary}.*"
    resuming = {"stream": "PUBLIC_ROLLOUTS", "ordered_consumer": True, "idle_heartbeat": 1}
    async for message in (await client.jetstream().subscribe(subject, **resuming)).messages:
        event = json.loads(message.data)["data"]
        print(event["at"], f"#{event['seq']}", event["type"], f"{event['weight']}%", event["message"], flush=True)


asyncio.run(main(*sys.argv[1:]))
