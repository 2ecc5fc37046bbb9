"""`python -m cli` as a person runs it: a process with a kubeconfig, against the embedded API server and (marked
`cluster`) the real one. The router is there only when the test lets it look: what happens between is the person's doing.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox.controlplane.api import ApiError
from shared.kube import json, kinds
from tests.story.played import NAMESPACE, Cluster, playing, released
from tests.story.servers import ROOT, embedded, real

CANARY = kinds.CANARY.path(NAMESPACE, "podinfo")
ROUTE = kinds.APISIX_ROUTE.path(NAMESPACE, "podinfo-podinfo-canary")
REQUEST = "serinus.dev/request"


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell with a kubeconfig."""

    kubeconfig: Path

    async def types(self, *words: str, code: int = 0) -> list[str]:
        """The lines that were answered, on the one stream or the other."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", *words, cwd=ROOT, env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode == code, err.decode()
        return (out + err).decode().splitlines()


@pytest.fixture(params=[embedded, pytest.param(real, marks=pytest.mark.cluster)], ids=lambda each: str(each.__name__))
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Cluster, Terminal]]:
    async with playing(request.param, tmp_path, Counter()) as made:
        await _seen(made)
        yield made, Terminal(made.server.kubeconfig(tmp_path / "kubeconfig"))


async def _seen(cluster: Cluster) -> None:
    async with asyncio.timeout(60):
        while not cluster.canary:
            await asyncio.sleep(0.02)


async def test_a_person_with_a_kubeconfig_and_no_bus(stage: tuple[Cluster, Terminal]) -> None:
    cluster, person = stage
    assert (await person.types("migrate", "check"))[0] == "test/podinfo: new: is initialized"
    await cluster.until("Initialized")
    await released(cluster, "stefanprodan/podinfo:6.0.1")
    await _weighted(cluster)
    [_, line] = await person.types("status")
    assert line.split()[:3] == ["test/podinfo", "Progressing", "10"]

    await _aborts_alone(cluster, person)
    await _retries(cluster, person)
    await _releases(cluster, person)


async def _weighted(cluster: Cluster) -> None:
    """Until the first step."""
    async with asyncio.timeout(60):
        while json.number(cluster.canary, "status", "canaryWeight") != 10:
            await cluster.look()
            await asyncio.sleep(0.05)


async def _aborts_alone(cluster: Cluster, person: Terminal) -> None:
    """Nobody looks, and the traffic is where it should be; then the router comes, and leaves it there."""
    said = await person.types("abort", "--direct", "test/podinfo")
    assert said[1] == "test/podinfo: route podinfo-podinfo-canary sends everything to podinfo-primary"
    route = await cluster.api.get(ROUTE)
    assert [each["weight"] for each in route["spec"]["http"][0]["backends"]] == [100, 0]
    pending = await cluster.api.get(CANARY)
    assert pending["metadata"]["annotations"][REQUEST].startswith("abort:")
    assert pending["status"]["phase"] == "Progressing"
    told = await person.types("abort", "test/podinfo", "--wait", "--timeout", "0", code=3)
    assert told[-1] == "test/podinfo: the router hasn't taken the request to abort within 0 s"

    await cluster.until("Failed")
    assert (await cluster.api.get(ROUTE))["metadata"]["resourceVersion"] == route["metadata"]["resourceVersion"]
    assert json.text(await cluster.api.get(CANARY), "metadata", "annotations", REQUEST) == ""
    assert "Rolling back podinfo.test abort requested" in "\n".join(await person.types("status", "test/podinfo"))


async def _retries(cluster: Cluster, person: Terminal) -> None:
    """Followed, while the router looks."""

    async def looking() -> None:
        while True:
            await cluster.look()
            await asyncio.sleep(0.05)

    router = asyncio.create_task(looking())
    try:
        said = await person.types("retry", "test/podinfo", "--wait")
        await person.types("pause", "test/podinfo", "--wait")
        await person.types("resume", "test/podinfo", "--wait")
    finally:
        router.cancel()
        await asyncio.gather(router, return_exceptions=True)
    assert said[-1].startswith("test/podinfo: done; phase Progressing, canary weight ")
    told = await person.types("migrate", "back", code=1)
    assert told == [
        "in the middle of a rollout, so left alone: test/podinfo; let it end or abort it, then come back",
    ]


async def _releases(cluster: Cluster, person: Terminal) -> None:
    """The Canary goes, in the middle of a rollout, and takes nothing with it but what isn't of our making."""
    uid = json.uid(await cluster.api.get(CANARY))
    owner = {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "Canary",
        "name": "podinfo",
        "uid": uid,
        "blockOwnerDeletion": True,
    }
    witness = "/api/v1/namespaces/test/serviceaccounts"
    await cluster.api.create(witness, {"metadata": {"name": "witness", "ownerReferences": [owner]}})
    dry = await person.types("release", "--all", "--dry-run")
    said = await person.types("release", "--all")
    assert [line.replace("would release", "released") for line in dry[:-1]] == said[:-1]
    assert said[-1] == "8 released, of 1 Canaries of Serinus"
    route = await cluster.api.get(ROUTE)

    # In the foreground: it goes when the collector has been here, and with it all that is still tied to it.
    await cluster.api.delete(CANARY, {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"})
    await _gone(cluster, CANARY)
    await _gone(cluster, f"{witness}/witness")
    assert await cluster.api.get(ROUTE) == route
    for kind, names in (
        (kinds.DEPLOYMENT, ("podinfo", "podinfo-primary")),
        (kinds.SERVICE, ("podinfo", "podinfo-primary", "podinfo-canary")),
        (kinds.AUTOSCALER, ("podinfo-primary",)),
        (kinds.CONFIG_MAP, ("colors-primary",)),
    ):
        for name in names:
            metadata = (await cluster.api.get(kind.path(NAMESPACE, name)))["metadata"]
            assert "deletionTimestamp" not in metadata
            assert not metadata.get("ownerReferences")


async def _gone(cluster: Cluster, path: str) -> None:
    async with asyncio.timeout(90):
        while True:
            try:
                await cluster.api.get(path)
            except ApiError as error:
                if error.status == 404:
                    return
                raise
            await asyncio.sleep(0.1)
