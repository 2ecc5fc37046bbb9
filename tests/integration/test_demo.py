"""`make demo` as a person handles it: stopped halfway, started again, and on a machine that lacks something.

That it plays both chapters to their ends is what `.ci/run` does with it.
"""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from sandbox.table import TABLE
from tests.integration.bus_stage import collected
from tests.integration.watcher_stage import ROOT

pytestmark = pytest.mark.integration


async def test_ctrl_c_ends_everything_and_a_second_start_works(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    for _ in range(2):
        async with collected(sys.executable, "-m", "sandbox.demo", env=env, cwd=tmp_path) as child:
            await child.said(
                "--- the guide's objects: deployment, route, canary; visitors come at 20 requests a second"
            )
            child.process.send_signal(signal.SIGINT)
            assert await child.ended() == 130
        assert child.lines[-1] == "stopped"
        for row in TABLE:
            lines = (tmp_path / ".run/demo" / f"{row.name}.log").read_text().splitlines()
            assert "told to stop by SIGTERM" in {json.loads(line)["msg"] for line in lines}, row.name


async def test_what_is_missing_is_said_in_one_sentence(tmp_path: Path) -> None:
    """No Prometheus, and no apt to get one with."""
    env = {"PYTHONPATH": str(ROOT), "PATH": str(tmp_path), "SERINUS_CACHE": str(tmp_path / "cache")}
    async with collected(sys.executable, "-m", "sandbox.demo", env=env, cwd=tmp_path) as child:
        assert await child.ended() == 1
    assert len(child.lines) == 1
    assert "no prometheus on PATH" in child.lines[0]
