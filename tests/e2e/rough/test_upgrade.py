"""What changes in an installation while canaries roll out: its version, its keys, its certificates, its partitions.

Serinus is installed with nkeys and TLS. The tests come one after the other, and the releases go on all the time; the last
one looks at how they ended.
"""

import asyncio
from collections.abc import AsyncIterator, Container
from contextlib import AsyncExitStack
from typing import Final

import pytest
import pytest_asyncio

from bench.scenarios.mixes import each_mix
from bench.scenarios.upgrading import ORDER, TODAY
from sandbox import installed
from sandbox.controlplane.api import Json
from sandbox.scene import Scene, opened
from tests.e2e import next_version
from tests.e2e.continuous import BEHAVIOURS, Releases
from tests.e2e.keyring import Keyring
from tests.e2e.rollouts import PATIENCE
from tests.integration.bus_stage import process

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(1800)]

NEXT = next_version.TAG
_PODS: Final = f"/api/v1/namespaces/{installed.NAMESPACE}/pods"


class Installation:
    """The scene, with the keys that it was installed with and the releases that go on."""

    def __init__(self, scene: Scene, keyring: Keyring) -> None:
        self.scene, self.keyring = scene, keyring
        self.releases = Releases(scene, ("up-a", "up-b", "up-c"))

    async def apply(self, tag: str) -> None:
        """`kubectl apply -k` with another image: everything at once."""
        self.keyring.image = tag
        await self.keyring.apply(self.scene.plane)
        await installed.running(self.scene.stage)

    async def restart(self) -> None:
        """`kubectl rollout restart deployment -l …`"""
        await self._kubectl("rollout", "restart", "deployment", "-l", "app.kubernetes.io/part-of=serinus")
        await installed.running(self.scene.stage)

    async def statuses(self) -> list[Json]:
        found = [await self.scene.stage.api.get(each.canary) for each in self.releases.rollouts]
        return [each["status"]["serinus"] for each in found]

    async def nobody_was_shut_out(self) -> None:
        """No pod has died of it, and each comes back as often as it lost the bus."""
        pods = (await self.scene.stage.api.get(_PODS))["items"]
        restarts = {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods}
        assert {name: count for name, count in restarts.items() if count} == {}
        async with asyncio.timeout(PATIENCE):
            while any(
                said.count("the connection to NATS is lost") > said.count("connected to NATS again")
                for said in self._said(restarts).values()
            ):
                await asyncio.sleep(0.2)
        for pod, said in self._said(restarts).items():
            assert said.count("the connection to NATS is lost") == said.count("connected to NATS again"), pod
            assert not [line for line in said if "Authorization" in line], pod

    def _said(self, pods: Container[str]) -> dict[str, list[str]]:
        """What these pods of the services have written."""
        logs = [each for service in ORDER for each in self.scene.logs_by_pod(service).items()]
        return {pod: [line["msg"] for line in lines] for pod, lines in logs if pod in pods}

    async def _kubectl(self, *arguments: str) -> None:
        await self.scene.plane.kubectl("-n", installed.NAMESPACE, *arguments)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serinus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Installation]:
    directory = tmp_path_factory.mktemp("upgrade")
    keyring = Keyring(directory)
    options = await keyring.options(behaviours=dict(BEHAVIOURS), settings={"SERINUS_DRAIN_SECONDS": "1"})
    async with AsyncExitStack() as stack:
        scene = await stack.enter_async_context(opened(directory, options, credentials=keyring.install))
        next_version.offered(scene)
        found = Installation(scene, keyring)
        stack.push_async_callback(found.releases.closed)
        await found.releases.begin()
        yield found


async def test_versions_come_and_go_service_by_service_and_all_at_once(serinus: Installation) -> None:
    """Orders differ in the mixes of old and new that they pass, and each of the sixteen is seen here."""
    newer: set[str] = set()
    for service in each_mix(ORDER):
        newer ^= {service}
        tag = NEXT if service in newer else TODAY
        await installed.image(serinus.scene.plane, serinus.scene.stage, service, tag)
        await serinus.releases.go_on(1.0)
    for tag in (NEXT, TODAY):
        await serinus.apply(tag)
    await serinus.releases.go_on(5.0)

    older = [line["msg"] for service in ORDER for line in serinus.scene.log(service)]
    assert [line for line in older if "is newer than" in line], "some messages were left to newer replicas"
    assert {own["grown"]["by"] for own in await serinus.statuses()} == {"next"}, "what older versions don't know stays"
    assert serinus.releases.given_up() == []


async def test_keys_are_rotated(serinus: Installation) -> None:
    plane, stage = serinus.scene.plane, serinus.scene.stage
    await serinus.keyring.keys(plane, stage, "--rotate")
    await serinus.releases.go_on(3.0)
    await serinus.restart()
    await serinus.scene.listen_again()
    await serinus.keyring.keys(plane, stage, "--finish")
    await serinus.releases.go_on(5.0)

    await serinus.nobody_was_shut_out()
    assert serinus.releases.given_up() == []


async def test_certificates_are_renewed_and_another_ca_comes(serinus: Installation) -> None:
    plane, nats = serinus.scene.plane, serinus.scene.stage.nats
    await serinus.keyring.certificates(plane)
    await nats.restart()
    await serinus.releases.go_on(3.0)
    await serinus.nobody_was_shut_out()

    await serinus.keyring.certificates(plane, "--rotate")
    await nats.restart()
    await serinus.restart()
    await serinus.scene.listen_again()
    await serinus.keyring.certificates(plane, "--finish")
    await nats.restart()
    await serinus.releases.go_on(5.0)

    await serinus.nobody_was_shut_out()
    assert serinus.releases.given_up() == []


async def test_the_inbox_gets_another_number_of_partitions(serinus: Installation) -> None:
    (container,) = serinus.scene.runner.containers("serinus-bootstrap")
    env = {key: value for key, value in (container.process.env or {}).items() if key != "SERINUS_HTTP_PORT"}
    async with process("shared.bus.bootstrap", "repartition", "16", env=env) as child:
        await serinus.releases.go_on(8.0)
        assert await child.ended() == 0
    await serinus.scene.logged("router", beginning="the inbox has ")  # it starts anew
    assert serinus.releases.given_up() == []


async def test_every_release_ended_as_it_should_and_was_told_once(serinus: Installation) -> None:
    await serinus.releases.end()
    assert serinus.releases.given_up() == []
