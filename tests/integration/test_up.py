"""`make up`: the services from the checkout against a cluster, a NATS and a Prometheus that somebody else runs."""

import json
import signal
import sys
from pathlib import Path

import pytest
import yaml

from sandbox.apiserver.server import ApiServer
from sandbox.nats import NatsServer
from sandbox.table import TABLE
from tests.integration.bus_stage import collected
from tests.integration.watcher_stage import ROOT, cluster

pytestmark = pytest.mark.integration


async def test_they_start_get_ready_and_end_with_ctrl_c(tmp_path: Path) -> None:
    """With a NATS that knows no users, as on a laptop."""
    async with cluster() as world, NatsServer(tmp_path / "nats", secured=False) as nats:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(world.server)))
        env = {
            "KUBECONFIG": str(kubeconfig), "NATS_URL": nats.url, "METRICS_SERVER": "http://127.0.0.1:1",
            "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        async with collected(sys.executable, "-m", "sandbox.up", env=env, cwd=tmp_path) as child:
            await child.said("all are ready; Ctrl-C ends them")
            child.process.send_signal(signal.SIGINT)
            assert await child.ended() == 0
    assert child.lines[0] == "started bootstrap, watcher, analyzer, router, notifier; logs in .run/up/"
    for row in TABLE:
        lines = (tmp_path / ".run/up" / f"{row.name}.log").read_text().splitlines()
        assert json.loads(lines[-1])["msg"] == "stopped", row.name


async def test_what_is_missing_is_said_in_one_sentence(tmp_path: Path) -> None:
    env = {"PYTHONPATH": str(ROOT), "NATS_URL": "nats://127.0.0.1:1"}
    async with collected(sys.executable, "-m", "sandbox.up", env=env, cwd=tmp_path) as child:
        assert await child.ended() == 2
    usage = "make up KUBECONFIG=… NATS_URL=… METRICS_SERVER=…"
    assert child.lines == [f"`make up` needs KUBECONFIG, METRICS_SERVER: {usage}"]


async def test_one_that_ends_by_itself_ends_them_all_with_its_log(tmp_path: Path) -> None:
    """A kubeconfig that isn't there."""
    env = {
        "KUBECONFIG": str(tmp_path / "none"), "NATS_URL": "nats://127.0.0.1:1", "METRICS_SERVER": "http://127.0.0.1:1",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    async with collected(sys.executable, "-m", "sandbox.up", env=env, cwd=tmp_path) as child:
        assert await child.ended() == 1
    assert env["KUBECONFIG"] in "\n".join(child.lines)


def _kubeconfig(server: ApiServer) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": server.url}}],
        "users": [{"name": "me", "user": {"token": server.admin_token}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "current-context": "here",
    }
