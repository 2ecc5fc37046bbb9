"""The life of a process, as a process: it starts, is told to stop, fails, or hangs."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.unit.runtime.running import Child, run, running

PROGRAMS = "tests.unit.runtime.programs"


async def stopped(child: Child, number: int = signal.SIGTERM) -> int:
    child.process.send_signal(number)
    return await child.ended()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_stop_it_closes_the_last_first_and_ends_well(number: signal.Signals) -> None:
    async with running(PROGRAMS, "orderly") as child:
        await child.said("started")
        assert await stopped(child, number) == 0
    assert child.messages[1:] == [
        "started",
        f"told to stop by {number.name}",
        "closing the second",
        "closing the first",
        "stopped",
    ]


async def test_while_it_stops_it_is_alive_and_not_ready(tmp_path: Path) -> None:
    async with running(PROGRAMS, "orderly", str(tmp_path / "go")) as child, aiohttp.ClientSession() as session:
        root = f"http://127.0.0.1:{await child.port()}"
        await child.said("started")

        async def status(path: str) -> tuple[int, str]:
            async with session.get(root + path) as answer:
                return answer.status, await answer.text()

        async with asyncio.timeout(40):
            while (await status("/readyz"))[0] != 200:
                await asyncio.sleep(0.01)
        child.process.send_signal(signal.SIGTERM)
        await child.said("told to stop")
        async with asyncio.timeout(40):
            while (ready := await status("/readyz"))[0] == 200:
                await asyncio.sleep(0.01)
        assert (ready[0], "stopping" in ready[1]) == (503, True)
        assert (await status("/livez"))[0] == (await status("/healthz"))[0] == 200
        (tmp_path / "go").touch()
        assert await child.ended() == 0


async def test_a_start_that_fails_ends_the_process_with_its_reason() -> None:
    code, child = await run(PROGRAMS, "failing_start")
    assert code == 1
    assert child.messages[-2:] == ["failed: the start failed: ConnectionError: nobody there", "stopped"]
    assert "Traceback" in child.lines[-3]["stack"]


async def test_an_order_to_stop_cuts_the_start_short() -> None:
    async with running(PROGRAMS, "endless_start") as child:
        await child.said("starting")
        assert await stopped(child) == 0


async def test_a_part_that_ends_takes_the_process_with_it() -> None:
    code, child = await run(PROGRAMS, "mortal")
    assert code == 1
    assert "failed: part ended: ValueError: a fault of ours" in child.messages


async def test_a_command_that_is_done_ends_well() -> None:
    code, child = await run(PROGRAMS, "finished")
    assert (code, child.messages[-1]) == (0, "stopped")


async def test_what_hangs_at_the_end_is_ended_hard() -> None:
    async with running(PROGRAMS, "hanging") as child:
        await child.said("started")
        assert await stopped(child) == 1
    assert child.messages[-1].startswith("failed: still running")


async def test_a_port_that_is_taken() -> None:
    async with running(PROGRAMS, "orderly") as first:
        port = await first.port()
        code, child = await run(PROGRAMS, "orderly", SERINUS_HTTP_PORT=str(port))
        assert (code, len(child.lines)) == (1, 2)
        assert child.messages[0].startswith(f"failed: can't listen on 127.0.0.1:{port}")
        assert await stopped(first) == 0


@pytest.mark.parametrize(
    ("program", "env", "parts"),
    [
        pytest.param("needy", {}, ["SERINUS_NEEDED", "Field required", "What it can't do without"], id="missing"),
        pytest.param("needy", {"SERINUS_NEEDED": ""}, ["SERINUS_NEEDED", "Field required"], id="empty"),
        pytest.param("orderly", {"SERINUS_HTTP_PORT": "http"}, ["SERINUS_HTTP_PORT", "valid integer"], id="wrong"),
        pytest.param("orderly", {"SERINUS_HTTP_PORT": "70000"}, ["SERINUS_HTTP_PORT", "65535"], id="out of range"),
        pytest.param(
            "orderly",
            {"SERINUS_NATS_ULR": "x"},
            ["SERINUS_NATS_ULR is not a setting, did you mean SERINUS_NATS_URL?"],
            id="misspelt",
        ),
        pytest.param(
            "needy",
            {"SERINUS_LOG_LEVEL": "loud", "SERINUS_FOO": "x"},
            ["SERINUS_LOG_LEVEL", "SERINUS_FOO is not a setting", "SERINUS_NEEDED"],
            id="all at once",
        ),
    ],
)
async def test_bad_settings_stop_it_with_their_names_and_no_stack(
    program: str, env: dict[str, str], parts: list[str]
) -> None:
    code, child = await run(PROGRAMS, program, **env)
    assert (code, len(child.lines)) == (2, 1)
    (line,) = child.lines
    assert line["level"] == "error"
    assert line["msg"].startswith("bad settings: ")
    assert [part for part in parts if part not in line["msg"]] == []
    assert "stack" not in line


@pytest.mark.parametrize("service", ["watcher", "analyzer"])
async def test_the_services_themselves_refuse_bad_settings(service: str) -> None:
    code, child = await run(f"services.{service}", SERINUS_HTTP_PORT="-1", SERINUS_NATS_USR="x")
    assert (code, len(child.lines)) == (2, 1)
    assert child.lines[0]["service"] == service
    assert "did you mean SERINUS_NATS_USER?" in child.lines[0]["msg"]


async def test_a_collector_that_never_answers_holds_up_no_end() -> None:
    """Nor does it make the end a failure."""
    reached: asyncio.Queue[None] = asyncio.Queue()
    done = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.put_nowait(None)
        await done.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        patient = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
        async with running(PROGRAMS, "traced", **patient) as child:
            await child.said("started")
            assert await stopped(child) == 0
        assert not reached.empty()
        done.set()
