"""`bootstrap account`: what it prints, put into a NATS that is somebody else's, is all that Serinus needs there."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
import pytest_asyncio

from shared.bus import accounts, streams
from shared.wire import subjects
from tests.integration.bus_stage import Plain, process
from tests.integration.credentials_stage import ROOT, Seeds, Server

pytestmark = pytest.mark.integration
_WORD = "p0123456789"
_THEIRS = """accounts {
  SHOP { jetstream: enabled, users: [ { user: shop, password: shop } ] }
  THEIR_SYS { users: [ { user: theirs, password: theirs } ] }
}
system_account: THEIR_SYS
"""


async def printed(*arguments: str) -> str:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shared.bus.bootstrap", "account", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    text, _ = await child.communicate()
    assert child.returncode == 0
    return text.decode()


def beside_theirs(block: str) -> str:
    """The printed accounts beside those of the house, as an administrator puts them together."""
    theirs, _, rest = _THEIRS.partition("}\nsystem_account")
    return f"{theirs}\n{block.partition('accounts {')[2].rstrip().removesuffix('}')}}}\nsystem_account{rest}"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    block = await printed("--replicas", "1")
    running = Server(
        tmp_path, beside_theirs(block), env={accounts.variable(user.name): _WORD for user in accounts.USERS}
    )
    await running.start()
    yield running
    await running.stop()


async def test_the_bootstrap_finds_all_that_it_needs_and_the_house_sees_nothing_of_it(server: Server) -> None:
    env = {
        "SERINUS_NATS_URL": server.url, "SERINUS_NATS_PASSWORD": _WORD, "SERINUS_NATS_PUBLIC_PASSWORD": _WORD,
    }  # fmt: skip
    async with process("shared.bus.bootstrap", env=env) as child:
        assert await child.ended() == 0, child.lines
    assert "all streams and consumers are there" in child.messages
    client = await nats.connect(server.url, user="shop", password="shop")
    try:
        assert (await Plain(client, []).api("STREAM.NAMES"))["streams"] is None
    finally:
        await client.close()


async def test_without_an_account_for_outsiders_there_is_no_public_stream_and_all_else(server: Server) -> None:
    env = {"SERINUS_NATS_URL": server.url, "SERINUS_NATS_PASSWORD": _WORD}
    async with process("shared.bus.bootstrap", env=env) as child:
        assert await child.ended() == 0, child.lines
    assert [text for text in child.messages if text.startswith("no public stream")]


async def test_it_names_every_stream_with_its_limit_and_has_no_system_account() -> None:
    text = await printed()
    told = dict(re.findall(r"^#   ([\w-]+): (\d+) MiB, discard (?:old|new)$", text, re.MULTILINE))
    made = (*streams.streams(3), *streams.public_streams(3))
    assert told == {str(each["name"]): str(int(str(each["max_bytes"])) // 2**20) for each in made}
    assert subjects.PUBLIC_STREAM in told
    assert not re.search(r"\bsystem_account|\bSYS\b", text)


async def test_after_credentials_it_names_their_public_keys(tmp_path: Path) -> None:
    seeds = Seeds(tmp_path)
    await seeds.command()
    text = await printed(str(seeds.file))
    theirs = accounts.public_keys(seeds.file.read_text())
    assert accounts.public_keys(text) == {user: key for user, key in theirs.items() if user != "sys"}
    assert "password" not in text.lower().replace("nats_password_public_bootstrap out", "")
