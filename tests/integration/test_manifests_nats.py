"""The configuration of `k8s/nats` as it stands, on real nats-servers: three find each other and one may die, with and
without TLS; and the one of `k8s/overlays/small`."""

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
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
from tests.unit.analyzer.tls import self_signed

pytestmark = pytest.mark.integration
_ROOT = Path(__file__).parents[2]
_CONFIG = _ROOT / "k8s" / "nats"
_SMALL = _ROOT / "k8s" / "overlays" / "small"
_TLS = _ROOT / "k8s" / "components" / "nats-tls"
_PASSWORD = "p0123456789"  # as passwords.sh makes them, a letter first


@dataclass(slots=True)
class Member:
    """One of the three, on ports of its own: all that a pod of its own would spare us."""

    client: int
    monitor: int
    process: Process


def configured(place: Path, changes: Mapping[str, str], *instead: Path) -> Path:
    """All files of `k8s/nats`, some of them replaced as an overlay does, with nothing changed but addresses and folders."""
    place.mkdir(parents=True)
    texts = {path.name: path.read_text() for path in (*_CONFIG.glob("*.conf"), *instead)}
    for old, new in changes.items():
        (name,) = {name for name, text in texts.items() if old in text}
        texts[name] = texts[name].replace(old, new)
    for name, text in texts.items():
        (place / name).write_text(text)
    return place / "nats.conf"


def moved(place: Path, client: int, monitor: int) -> dict[str, str]:
    """What a pod has for itself and a process here must share."""
    return {
        "port: 4222": f"listen: 127.0.0.1:{client}",
        "http_port: 8222": f"http: 127.0.0.1:{monitor}",
        "store_dir: /data": f"store_dir: {place / 'data'}",
    }


def passwords() -> dict[str, str]:
    return {accounts.variable(user.name): _PASSWORD for user in accounts.USERS}


async def healthy(member: "Member") -> None:
    """By the question that the readiness probe asks."""
    url = f"http://127.0.0.1:{member.monitor}/healthz?js-server-only=true"
    async with asyncio.timeout(40), aiohttp.ClientSession() as session:
        while True:
            member.process.check()
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)


async def bootstrap(urls: str, **more: str) -> list[str]:
    """`python -m shared.bus.bootstrap` until it has ended well; what it said."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shared.bus.bootstrap", cwd=_ROOT, stderr=asyncio.subprocess.PIPE,
        env={
            "SERINUS_NATS_URL": urls, "SERINUS_NATS_PASSWORD": _PASSWORD, "SERINUS_NATS_PUBLIC_PASSWORD": _PASSWORD, **more,
        },
    )  # fmt: skip
    _, said = await child.communicate()
    lines = [str(json.loads(line)["msg"]) for line in said.splitlines()]
    assert child.returncode == 0, lines
    return lines


class Trio:
    """A cluster of three."""

    def __init__(self, folder: Path, *, strangers: int = 0, certificate: Path | None = None) -> None:
        """The last `strangers` know another password for the way between servers. `certificate`: the mounted folder."""
        self._certificate = certificate
        instead = (_TLS / "tls.conf",) if certificate else ()
        routes = [free_port() for _ in range(3)]
        self.members = []
        for number, port in enumerate(routes):
            client, monitor, place = free_port(), free_port(), folder / str(number)
            changes = moved(place, client, monitor) | {"port: 6222": f"listen: 127.0.0.1:{port}"}
            config = configured(place, changes | ({"/etc/nats-tls": str(certificate)} if certificate else {}), *instead)
            secret = "pelse" if number >= 3 - strangers else _PASSWORD
            env = {
                "POD_NAME": f"serinus-nats-{number}",
                "NATS_PASSWORD_ROUTES": secret,
                **{f"ROUTE_{each}": f"nats://routes:{secret}@127.0.0.1:{routes[each]}" for each in range(3)},
                **passwords(),
            }
            argv: list[str | Path] = [program(), "--config", config]
            process = Process(f"nats-{number}", argv, log=folder / f"{number}.log", env=env)
            self.members.append(Member(client, monitor, process))

    @property
    def urls(self) -> str:
        scheme = "tls" if self._certificate else "nats"
        return ",".join(f"{scheme}://127.0.0.1:{member.client}" for member in self.members)

    async def ask(self, member: Member, path: str) -> tuple[int, dict[str, object]]:
        url = f"http://127.0.0.1:{member.monitor}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.json(content_type=None)

    async def copies(self, member: Member) -> dict[str, int]:
        """How often each stream that this server has is kept."""
        _, found = await self.ask(member, "/jsz?streams=true&config=true&accounts=true")
        details = found["account_details"]
        assert isinstance(details, list)
        return {
            stream["name"]: stream["config"]["num_replicas"]
            for each in details
            for stream in each.get("stream_detail", [])
        }

    async def ready(self) -> None:
        for member in self.members:
            await healthy(member)

    async def bootstrap(self) -> list[str]:
        trust = {"SERINUS_NATS_TLS_CA_FILE": str(self._certificate / "ca.crt")} if self._certificate else {}
        return await bootstrap(self.urls, SERINUS_NATS_REPLICAS="3", **trust)


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
    copies: dict[str, int] = {}
    async with asyncio.timeout(40):
        while len(copies) < 7:  # one that follows has its copy a moment after the bootstrap has its answer
            copies = await trio.copies(trio.members[0])
    assert set(copies.values()) == {3}
    trio.members[0].process.kill()
    assert "all streams and consumers are there" in await trio.bootstrap()


async def test_a_server_without_the_password_of_the_others_stays_outside(tmp_path: Path, stack: AsyncExitStack) -> None:
    trio = Trio(tmp_path, strangers=1)
    _start(trio, stack)
    stranger = trio.members[2]
    async with asyncio.timeout(40):
        while "authentication error" not in stranger.process.log_tail(200):
            stranger.process.check()
            await asyncio.sleep(0.05)
    _, found = await trio.ask(stranger, "/routez")
    assert found["num_routes"] == 0


async def test_over_tls_the_servers_know_each_other_and_clients_without_it_stay_outside(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    self_signed(secret)
    for made, name in (
        ("crt.pem", "tls.crt"),
        ("crt.pem", "ca.crt"),
        ("key.pem", "tls.key"),
    ):  # as cert-manager has them
        shutil.copy(secret / made, secret / name)
    trio = Trio(tmp_path, certificate=secret)
    _start(trio, stack)
    await trio.ready()
    assert "all streams and consumers are there" in await trio.bootstrap()
    _, routes = await trio.ask(trio.members[0], "/routez")
    assert routes["num_routes"]
    reader, writer = await asyncio.open_connection("127.0.0.1", trio.members[0].client)
    greeting = await reader.readline()
    assert json.loads(greeting.removeprefix(b"INFO "))["tls_required"]
    writer.write(b'CONNECT {"user": "bootstrap", "pass": "p0123456789"}\r\nPING\r\n')
    answer = await reader.read()
    writer.close()
    assert b"PONG" not in answer


async def test_one_server_alone_is_enough_for_a_small_cluster(tmp_path: Path, stack: AsyncExitStack) -> None:
    place, client, monitor = tmp_path / "0", free_port(), free_port()
    config = configured(place, moved(place, client, monitor), _SMALL / "cluster.conf")
    # The other pods' addresses are there, as the StatefulSet has them, and so is the password; nobody asks for them.
    env = {"POD_NAME": "serinus-nats-0", "NATS_PASSWORD_ROUTES": _PASSWORD, **passwords()}
    argv: list[str | Path] = [program(), "--config", config]
    member = Member(client, monitor, Process("nats-small", argv, log=tmp_path / "0.log", env=env))
    member.process.start()
    stack.push_async_callback(member.process.stop)
    await healthy(member)
    said = await bootstrap(f"nats://127.0.0.1:{client}", SERINUS_NATS_REPLICAS="1")
    assert "all streams and consumers are there" in said
