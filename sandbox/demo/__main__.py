"""`make demo`: sets the scene, plays both rollouts, says what happened and leaves a picture of it.

Exit code 0 only if both ended as they should. Ctrl-C ends everything that was started.
"""

import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sandbox import installed, prometheus
from sandbox.apiserver.server import ApiServer
from sandbox.application import Behaviour
from sandbox.children import Children, Values
from sandbox.controlplane import binaries
from sandbox.controlplane.server import ControlPlane
from sandbox.demo import observing, picture, story
from sandbox.demo.record import Record
from sandbox.demo.view import View, opened
from sandbox.process import ProcessFailed
from sandbox.stage import Options, Stage, definitions
from sandbox.table import Row, Source
from shared.runtime import tasks

RUN = Path(".run") / "demo"
PICTURE = RUN / "rollouts.png"
_OPTIONS = Options(
    behaviours={story.BAD: Behaviour(fail_ratio=0.5)},
    settings={"SERINUS_DRAIN_SECONDS": "3"},  # the gateway here has no lag to wait for
)


def main() -> int:
    """Parse, play, sum up."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.demo", description="The guide on this machine.")
    parser.add_argument("--cluster", choices=("emulator", "real"), default="emulator")
    real = parser.parse_args().cluster == "real"
    shutil.rmtree(RUN, ignore_errors=True)
    try:
        prometheus.ensure()
        if real:
            binaries.ensure()
        record = Record()
        with opened(record) as view:
            problem = asyncio.run(_demo(record, view, real=real))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nstopped")
        return 130
    except (prometheus.PrometheusMissing, binaries.BinariesMissing, FileNotFoundError) as missing:
        print(missing, file=sys.stderr)
        return 1
    _sum_up(record)
    if problem:
        print(f"\nThe demo failed: {problem}\nLogs of all processes are in {RUN}/", file=sys.stderr)
    return 1 if problem else 0


async def _demo(record: Record, view: View, *, real: bool) -> str:
    """Why it failed; empty when it didn't. Cancelled by Ctrl-C, also where a shell has told us to ignore it."""
    began, loop, ourselves = time.monotonic(), asyncio.get_running_loop(), asyncio.current_task()
    assert ourselves is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ourselves.cancel)

    def now() -> float:
        return time.monotonic() - began

    view.say("setting the scene: cluster, NATS, Prometheus, gateway, application, Serinus")
    try:
        async with _scene(real=real) as stage:
            watching = [
                asyncio.create_task(observing.events(stage, record, view, now)),
                asyncio.create_task(observing.samples(stage, record, view, now)),
            ]
            try:
                await _first(asyncio.create_task(story.play(stage, record, view)), watching)
            finally:
                await tasks.ended(*watching)
    except (story.Unexpected, TimeoutError, ProcessFailed) as error:
        return str(error) or type(error).__name__
    return ""


async def _first(playing: "asyncio.Task[None]", watching: "list[asyncio.Task[None]]") -> None:
    """The play to its end, unless who watches it fails before."""
    try:
        await asyncio.wait({playing, *watching}, return_when=asyncio.FIRST_COMPLETED)
        for task in (playing, *watching):
            if task.done():
                task.result()
    finally:
        playing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await playing


@asynccontextmanager
async def _scene(*, real: bool) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        if real:
            plane = await stack.enter_async_context(ControlPlane(RUN / "cluster", binaries=binaries.locate()))
            await installed.crds(plane)
            stage = await stack.enter_async_context(Stage(RUN, plane, _OPTIONS))
            await stack.enter_async_context(stage.kubelet(installed.runner(stage)))
            await installed.install(plane, stage)
        else:
            server = await stack.enter_async_context(ApiServer())
            stage = await stack.enter_async_context(Stage(RUN, server, _OPTIONS))
            await definitions(stage.api)
            await stack.enter_async_context(stage.kubelet())
            children = await stack.enter_async_context(Children(RUN, _values(stage), extra=_OPTIONS.settings))
            await children.ready()
        yield stage


def _values(stage: Stage) -> Values:
    token = RUN / "token"
    token.write_text(stage.cluster.admin_token)
    common = {
        Source.NATS_URL: stage.nats.url,
        Source.PUBLIC_PASSWORD: stage.nats.credentials["public-bootstrap"],
        Source.KUBE_URL: stage.cluster.url,
        Source.KUBE_TOKEN_FILE: str(token.resolve()),
        Source.METRICS_SERVER: stage.surroundings()["SERINUS_METRICS_SERVER"],
        Source.PROXY: stage.proxy.url,
        Source.DIRECT: "127.0.0.1,localhost",
    }

    def values(row: Row) -> Mapping[Source, str]:
        return {**common, Source.NATS_USER: row.name, Source.NATS_PASSWORD: stage.nats.credentials[row.name]}

    return values


def _sum_up(record: Record) -> None:
    """The event log once more, whole, and the picture."""
    print("\nEverything that was told:")
    for event in record.events:
        print(f"{event.at:6.1f} s  {'Warning' if event.warning else 'Normal ':<7}  {event.message}")
    if record.samples:
        print(f"\nPicture of both rollouts: {picture.draw(record, PICTURE)}")


if __name__ == "__main__":
    sys.exit(main())
