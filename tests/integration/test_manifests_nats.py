"""The configuration of `k8s/nats` as it stands, on three real nats-servers: they find each other, and one may die."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from sandbox.nats import program
from sandbox.ports import free_port
from sandbox.process import Process
from shared.bus import accounts

pytestmark = pytest.mark.integration
_ROOT = Path(__file__).parents[2]
_CONFIG = _ROOT / "k8s" / "nats"
_PASSWORD = "p0123456789"  # as passwords.sh makes them, a letter first


@dataclass(slots=True)
class Member:
    """One of the three, on ports of its own: all that a pod of its own would spare us."""

    client: int
    monitor: int
    process: Process


class Trio:
    """A cluster made of nats.conf and accounts.conf, with nothing changed but addresses and the folder."""

    def __init__(self, folder: Path, *, strangers: int = 0) -> None:
        """The last `strangers` know another password for the way between servers."""
        routes = [free_port() for _ in range(3)]
        self.members = []
        for number, port in enumerate(routes):
            client, monitor, place = free_port(), free_port(), folder / str(number)
            place.mkdir(parents=True)
            (place / "accounts.conf").write_text((_CONFIG / "accounts.conf").read_text())
            text = (_CONFIG / "nats.conf").read_text()
            for old, new in (
                ("port: 4222", f"listen: 127.0.0.1:{client}"),
                ("http_port: 8222", f"http: 127.0.0.1:{monitor}"),
                ("port: 6222", f"listen: 127.0.0.1:{port}"),
                ("store_dir: /data", f"store_dir: {place / 'data'}"),
            ):
                assert text.count(old) == 1
                text = text.replace(old, new)
            (place / "nats.conf").write_text(text)
            secret = "pelse" if number >= 3 - strangers else _PASSWORD
            env = {
                "POD_NAME": f"serinus-nats-{number}",
                "NATS_PASSWORD_ROUTES": secret,
                **{f"ROUTE_{each}": f"nats://routes:{secret}@127.0.0.1:{routes[each]}" for each in range(3)},
                **{f"NATS_PASSWORD_{user.name.upper().replace('-', '_')}": _PASSWORD for user in accounts.USERS},
            }
            argv: list[str | Path] = [program(), "--config", place / "nats.conf"]
            process = Process(f"nats-{number}", argv, log=folder / f"{number}.log", env=env)
            self.members.append(Member(client, monitor, process))

    @property
    def urls(self) -> str:
        return ",".join(f"nats://127.0.0.1:{member.client}" for member in self.members)

    async def ask(self, member: Member, path: str) -> tuple[int, dict[str, object]]:
        url = f"http://127.0.0.1:{member.monitor}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.json(content_type=None)

    async def ready(self) -> None:
        """By the question that the readiness probe asks."""
        async with asyncio.timeout(30):
            for member in self.members:
                while True:
                    member.process.check()
                    try:
                        status, _ = await self.ask(member, "/healthz?js-server-only=true")
                    except aiohttp.ClientError:
                        status = 0
                    if status == 200:
                        break
                    await asyncio.sleep(0.05)

    async def bootstrap(self) -> list[str]:
        """`python -m shared.bus.bootstrap` until it has ended well; what it said."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "shared.bus.bootstrap",
            cwd=_ROOT, stderr=asyncio.subprocess.PIPE,
            env={
                "SERINUS_NATS_URL": self.urls, "SERINUS_NATS_REPLICAS": "3",
                "SERINUS_NATS_PASSWORD": _PASSWORD, "SERINUS_NATS_PUBLIC_PASSWORD": _PASSWORD,
            },
        )  # fmt: skip
        _, said = await child.communicate()
        lines = [str(json.loads(line)["msg"]) for line in said.splitlines()]
        assert child.returncode == 0, lines
        return lines


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as found:
        yield found


def _start(trio: Trio, stack: AsyncExitStack) -> None:
    for member in trio.members:
        member.process.start()
        stack.push_async_callback(member.process.stop)


async def test_three_servers_keep_three_copies_and_may_lose_one(tmp_path: Path, stack: AsyncExitStack) -> None:
    trio = Trio(tmp_path)
    _start(trio, stack)
    await trio.ready()
    assert "all streams and consumers are there" in await trio.bootstrap()
    _, found = await trio.ask(trio.members[0], "/jsz?streams=true&config=true&accounts=true")
    details = found["account_details"]
    assert isinstance(details, list)
    copies = {
        stream["name"]: stream["config"]["num_replicas"] for each in details for stream in each.get("stream_detail", [])
    }
    assert len(copies) >= 7
    assert set(copies.values()) == {3}
    trio.members[0].process.kill()
    assert "all streams and consumers are there" in await trio.bootstrap()


async def test_a_server_without_the_password_of_the_others_stays_outside(tmp_path: Path, stack: AsyncExitStack) -> None:
    trio = Trio(tmp_path, strangers=1)
    _start(trio, stack)
    stranger = trio.members[2]
    async with asyncio.timeout(30):
        while "authentication error" not in stranger.process.log_tail(200):
            stranger.process.check()
            await asyncio.sleep(0.05)
    _, found = await trio.ask(stranger, "/routez")
    assert found["num_routes"] == 0
