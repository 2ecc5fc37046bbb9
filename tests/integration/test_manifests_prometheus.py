"""The scrape configurations that we ship, read by a real Prometheus: which pods it asks, where, and none of them twice.

The discovery itself is replaced by the labels that it would give, since not every build of Prometheus has it.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from sandbox import prometheus
from sandbox.ports import free_port
from sandbox.process import Process
from sandbox.table import TABLE

pytestmark = pytest.mark.integration
_ROOT = Path(__file__).parents[2]
Json = dict[str, Any]

_PODS: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, str]]] = {
    # name: phase, annotations, labels
    "serinus-router": ("Running", {"scrape": "true", "port": "8080"}, {}),
    "podinfo": ("Running", {"scrape": "true", "port": "9797"}, {"app": "podinfo"}),
    "apisix-told": (
        "Running",
        {"scrape": "true", "port": "9091", "path": "/apisix/prometheus/metrics"},
        {"app_kubernetes_io_name": "apisix"},
    ),
    "apisix-plain": ("Running", {}, {"app_kubernetes_io_name": "apisix"}),
    "apisix-declined": ("Running", {"scrape": "false"}, {"app_kubernetes_io_name": "apisix"}),
    "silent": ("Running", {}, {"app": "silent"}),
    "pending": ("Pending", {"scrape": "true", "port": "8080"}, {}),
    "done": ("Succeeded", {"scrape": "true", "port": "8080"}, {}),
}


def _discovered() -> list[Json]:
    """What `kubernetes_sd_configs` with role `pod` would say of these pods."""
    groups = []
    for number, (name, (phase, annotations, labels)) in enumerate(_PODS.items(), 1):
        meta = {
            "__meta_kubernetes_namespace": "test",
            "__meta_kubernetes_pod_name": name,
            "__meta_kubernetes_pod_ip": f"127.0.0.{number + 1}",
            "__meta_kubernetes_pod_phase": phase,
            **{f"__meta_kubernetes_pod_annotation_prometheus_io_{key}": value for key, value in annotations.items()},
            **{f"__meta_kubernetes_pod_label_{key}": value for key, value in labels.items()},
        }
        ports = ("8080", "9090")  # a target for each port, as discovery makes them
        groups.append({"targets": [f"127.0.0.{number + 1}:{port}" for port in ports], "labels": meta})
    return groups


@asynccontextmanager
async def _running(folder: Path, config: Json) -> AsyncIterator[str]:
    port, file = free_port(), folder / "prometheus.yml"
    file.write_text(json.dumps(config))
    flags = [
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = Process("prometheus", [prometheus.locate(), *flags], log=folder / "prometheus.log")
    process.start()
    try:
        yield f"http://127.0.0.1:{port}/api/v1/targets?state=active"
    finally:
        await process.stop()


async def _targets(url: str, expected: int) -> list[Json]:
    """The active targets, once there are so many; then they stay so: the configuration is static."""
    found: list[Json] = []
    async with asyncio.timeout(40), aiohttp.ClientSession() as session:
        while len(found) < expected:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        found = (await answer.json())["data"]["activeTargets"]
            await asyncio.sleep(0.05)
    return found


async def test_pods_are_asked_once_and_where_they_said(tmp_path: Path) -> None:
    config = yaml.safe_load((_ROOT / "k8s/prometheus/prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
        job["static_configs"] = _discovered()
    async with _running(tmp_path, config) as url:
        found = await _targets(url, 4)
    asked = {each["labels"]["kubernetes_pod_name"]: each["scrapeUrl"] for each in found}
    assert len(asked) == len(found)
    assert asked == {
        "serinus-router": "http://127.0.0.2:8080/metrics",
        "podinfo": "http://127.0.0.3:9797/metrics",
        "apisix-told": "http://127.0.0.4:9091/apisix/prometheus/metrics",
        "apisix-plain": "http://127.0.0.5:9091/apisix/prometheus/metrics",
    }
    # Labels of the gateway's own series (`node`, `route`, `service`, …) must not be pushed aside by the target's.
    assert {label for each in found for label in each["labels"]} == {
        "instance", "job", "kubernetes_namespace", "kubernetes_pod_name",
    }  # fmt: skip


async def test_compose_asks_the_gateway_and_every_process(tmp_path: Path) -> None:
    compose = yaml.safe_load((_ROOT / "compose.yaml").read_text())
    config = yaml.safe_load(compose["configs"]["prometheus"]["content"])
    async with _running(tmp_path, config) as url:
        found = await _targets(url, len(TABLE) + 1)
    ports = {compose["services"][row.name]["environment"]["SERINUS_HTTP_PORT"] for row in TABLE}
    assert {each["scrapeUrl"] for each in found} == {
        "http://127.0.0.1:9091/apisix/prometheus/metrics",
        *(f"http://127.0.0.1:{port}/metrics" for port in ports),
    }
