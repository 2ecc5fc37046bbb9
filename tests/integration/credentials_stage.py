"""A nats-server as `k8s/components/nkeys` makes it: accounts of `bootstrap credentials`, and seeds in mounted files."""

import asyncio
import base64
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from sandbox.nats import program
from sandbox.ports import free_port
from sandbox.process import Process
from shared.bus import broker as bus
from shared.bus.publish import Publisher
from shared.runtime.serve import Runtime
from shared.runtime.settings import BusSettings
from tests.integration.bus_stage import DEADLINE, Joined, make_runtime

ROOT: Final = Path(__file__).parents[2]


class Server:
    """One nats-server that includes an accounts file; restarting it is what a changed ConfigMap does to a pod."""

    def __init__(self, folder: Path, accounts: str, env: Mapping[str, str] | None = None) -> None:
        """`accounts` is what the configuration says of them."""
        self.port = free_port()
        config = folder / "nats.conf"
        config.write_text(
            f"server_name: n\nlisten: 127.0.0.1:{self.port}\njetstream {{ store_dir: {folder / 'data'} }}\n{accounts}\n"
        )
        self._process = Process("nats", [program(), "--config", config], log=folder / "nats.log", env=env)

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._process.start()
        async with asyncio.timeout(DEADLINE):
            while True:
                self._process.check()
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    await writer.wait_closed()
                    return
                await asyncio.sleep(0.02)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def stop(self) -> None:
        await self._process.stop()


class Seeds:
    """The command, and the Secrets that it printed, mounted: one folder per Secret, one generation at a time."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "accounts.conf"
        self._mounts = folder / "mounts"

    async def command(self, *steps: str) -> None:
        """`python -m shared.bus.bootstrap credentials …`; Secrets that it prints take the place of those before."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "shared.bus.bootstrap", "credentials", *steps, str(self.file),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, _ = await child.communicate()
        assert child.returncode == 0
        for secret in json.loads(printed)["items"] if printed else []:
            place = self._mounts / secret["metadata"]["name"]
            place.mkdir(parents=True, exist_ok=True)
            for key, value in secret["data"].items():
                (place / key).write_bytes(base64.b64decode(value))

    def of(self, user: str) -> str:
        """The seed file of a user."""
        return str(self._mounts / f"serinus-nats-{user}" / "seed")


@asynccontextmanager
async def keyed(
    server: Server, seed_file: str, service: str, register: Callable[[bus.Broker, Runtime], None] = lambda *_: None
) -> AsyncIterator[Joined]:
    """On the bus as this service, by its nkey."""
    async with AsyncExitStack() as stack:
        runtime = make_runtime(stack, service)
        settings = BusSettings(nats_url=server.url, nats_nkey_seed_file=seed_file)
        broker = bus.make_broker(settings, service, lambda: runtime.fail("closed"))
        register(broker, runtime)
        await bus.connect(broker, runtime)
        try:
            yield Joined(broker, runtime, Publisher(broker, runtime))
        finally:
            runtime.stop.set()
