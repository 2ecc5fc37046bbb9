"""The real control plane with everything around it and no controller yet: whoever comes first runs the canaries."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox import installed
from sandbox.controlplane import binaries
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.controlplane.processes import ProcessRunner
from sandbox.controlplane.server import ControlPlane
from sandbox.flagger.process import USER
from sandbox.stage import Options, Stage


@dataclass(slots=True, kw_only=True)
class World:
    """`installed.install` puts Serinus into it; `flagger.process.Flagger` is a process beside."""

    plane: ControlPlane
    stage: Stage
    runner: ProcessRunner
    kubelet: FakeKubelet


@asynccontextmanager
async def opened(
    directory: Path, options: Options | None = None, *, audit_users: Sequence[str] = ()
) -> AsyncIterator[World]:
    """Takes about ten seconds."""
    async with AsyncExitStack() as stack:
        plane = ControlPlane(directory / "cluster", binaries=binaries.locate(), users=[USER], audit_users=audit_users)
        await stack.enter_async_context(plane)
        await installed.crds(plane)
        stage = await stack.enter_async_context(Stage(directory, plane, options))
        runner = installed.runner(stage)
        kubelet = await stack.enter_async_context(stage.kubelet(runner))
        yield World(plane=plane, stage=stage, runner=runner, kubelet=kubelet)
