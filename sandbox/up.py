"""`make up KUBECONFIG=… NATS_URL=… METRICS_SERVER=…`: the four services and the bootstrap from this checkout, against
anybody's cluster, NATS and Prometheus. For development, and for measuring Serinus beside another controller.

NATS_URL may hold `user:password@`; without accounts of our own (`shared.bus.accounts`) all processes share that user.
Ctrl-C ends everything.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.children import Children
from sandbox.process import ProcessFailed
from sandbox.table import Row, Source

_NEEDED = ("KUBECONFIG", "NATS_URL", "METRICS_SERVER")
_LOGS = Path(".run") / "up"


def main() -> int:
    """Exit code 2 for a missing variable, 1 when a process ends by itself, 0 after Ctrl-C."""
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        print(
            f"`make up` needs {', '.join(missing)}: make up KUBECONFIG=… NATS_URL=… METRICS_SERVER=…", file=sys.stderr
        )
        return 2
    extra = {name: value for name, value in os.environ.items() if name.startswith(("SERINUS_", "OTEL_"))}
    extra["SERINUS_KUBECONFIG"] = str(Path(os.environ["KUBECONFIG"]).expanduser().resolve())
    return asyncio.run(_up(_values(os.environ), extra))


def _values(environment: Mapping[str, str]) -> dict[Source, str]:
    nats = urlsplit(environment["NATS_URL"])
    values = {Source.NATS_URL: f"{nats.scheme}://{nats.netloc.rpartition('@')[2]}"}
    if nats.username:
        values |= {Source.NATS_USER: nats.username, Source.NATS_PASSWORD: nats.password or ""}
    return values | {Source.METRICS_SERVER: environment["METRICS_SERVER"]}


async def _up(values: Mapping[Source, str], extra: Mapping[str, str]) -> int:
    def known(_: Row) -> Mapping[Source, str]:
        return values

    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with Children(_LOGS, known, extra=extra) as children:
        print(f"started {', '.join(children.rows)}; logs in {_LOGS}/", flush=True)
        ready = asyncio.create_task(children.ready(timeout=300.0))
        waiting = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait({ready, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.is_set():
                await ready
                print("all are ready; Ctrl-C ends them", flush=True)
                await _watched(children, waiting)
        except (TimeoutError, ProcessFailed) as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            for task in (ready, waiting):
                task.cancel()
            await asyncio.gather(ready, waiting, return_exceptions=True)
    return 0


async def _watched(children: Children, waiting: "asyncio.Task[bool]") -> None:
    """Until Ctrl-C; raises ProcessFailed when one ends by itself."""
    exits = [asyncio.create_task(children.process(name).exited()) for name in children.rows]
    try:
        await asyncio.wait({waiting, *exits}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            for name in children.rows:
                children.process(name).check()
    finally:
        for task in exits:
            task.cancel()
        await asyncio.gather(*exits, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
