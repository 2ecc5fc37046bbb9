"""Every process of the table, started wrongly or too early: it says so in one line, or waits and says what for."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from sandbox.nats import NatsServer
from sandbox.table import ANALYZER, NOTIFIER, ROUTER, TABLE, WATCHER, Row
from tests.integration import bus_stage
from tests.integration.watcher_stage import cluster
from tests.unit.runtime.running import run, running

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
async def test_wrong_settings_stop_it_with_their_names_in_one_line(row: Row) -> None:
    code, child = await run(
        row.module, *row.arguments, SERINUS_HTTP_PORT="many", SERINUS_NATS_USR="x", SERINUS_NATS_PASSWORD="hunter2"
    )

    assert code == 2
    [line] = child.lines
    assert (line["level"], line["service"]) == ("error", row.name)
    assert "SERINUS_HTTP_PORT" in line["msg"]
    assert "SERINUS_NATS_USR is not a setting, did you mean SERINUS_NATS_USER?" in line["msg"]
    assert "hunter2" not in line["msg"]


@pytest.mark.parametrize("row", [ANALYZER, NOTIFIER, ROUTER, WATCHER], ids=lambda row: row.name)
async def test_what_cannot_be_imported_is_said_in_its_own_lines(row: Row, tmp_path: Path) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ImportError('libssl.so.3: cannot open shared object file')")

    code, child = await run(row.module, *row.arguments, PYTHONPATH=str(tmp_path))

    assert code == 1
    [line] = child.lines
    assert (line["level"], line["service"]) == ("error", row.name)
    assert "libssl.so.3: cannot open shared object file" in line["error"]


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        pytest.param(
            ROUTER, {"kubernetes", "crds", "start"}, id="router"
        ),  # it takes no message before it knows the world
        pytest.param(ANALYZER, {"nats"}, id="analyzer"),
        pytest.param(NOTIFIER, {"kubernetes", "nats"}, id="notifier"),
    ],
)
async def test_it_waits_for_a_world_that_comes_later(row: Row, missing: set[str], tmp_path: Path) -> None:
    """Alive, not ready, and in the end as if it had come last."""
    nats = NatsServer(tmp_path / "nats")
    async with cluster() as world, aiohttp.ClientSession() as session:
        await world.server.stop()
        env = nats.env(row.name) | {
            "SERINUS_KUBE_URL": world.server.url, "SERINUS_HTTP_HOST": "127.0.0.1", "SERINUS_HTTP_PORT": "0",
        }  # fmt: skip
        async with running(row.module, *row.arguments, **env) as child:
            url = f"http://127.0.0.1:{await child.port()}"
            assert missing <= await _missing(session, url)
            async with session.get(f"{url}/livez") as answer:
                assert answer.status == 200

            await world.server.start()
            async with nats:
                await bus_stage.bootstrapped(nats)
                async with asyncio.timeout(40):
                    while await _missing(session, url):
                        await asyncio.sleep(0.02)
                child.process.terminate()
                assert await child.ended() == 0
    assert not [line for line in child.lines if "stack" in line]


async def _missing(session: aiohttp.ClientSession, url: str) -> set[str]:
    """What it isn't ready for; empty once it is."""
    async with session.get(f"{url}/readyz") as answer:
        found = await answer.json()
        assert (answer.status == 200) == (not found.get("missing"))
        return set(found.get("missing", ()))
