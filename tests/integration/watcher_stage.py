"""Watchers between a real nats-server and the API emulator, and an administrator who reads what they have told."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

import yaml
from pydantic import SecretStr

from sandbox.apiserver.kinds import Resource
from sandbox.apiserver.server import ApiServer
from sandbox.controlplane.api import Api
from sandbox.nats import NatsServer
from services.watcher.app import app
from services.watcher.settings import Settings
from shared.kube import kinds
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.runtime.serve import Runtime
from shared.wire.messages import Fact
from tests.integration.bus_stage import Plain, make_runtime, until

ROOT: Final = Path(__file__).parents[2]
CRDS: Final = (
    *(ROOT / "k8s/crds" / f"{name}.yaml" for name in ("canaries", "metrictemplates", "alertproviders")),
    ROOT / "sandbox/crds/apisix.yaml",
)
_NAMESPACE: Final = Kind("Namespace", "", "v1", "namespaces")
_BY_KIND: Final = {kind.kind: kind for kind in (*vars(kinds).values(), _NAMESPACE) if isinstance(kind, Kind)}


class World:
    """The cluster, as people and controllers change it."""

    def __init__(self, server: ApiServer, api: Api) -> None:
        self.server = server
        self.api = api

    async def apply(self, *bodies: Json) -> list[Json]:
        return [await self.api.create(_collection(body), body) for body in bodies]

    async def guide(self, *names: str) -> list[Json]:
        """Manifests of the guide, created in this order."""
        return await self.apply(
            *(yaml.safe_load((ROOT / "tests/guide" / f"{name}.yaml").read_text()) for name in names)
        )

    async def patch(self, kind: Kind, name: str, body: Json, subresource: str = "", namespace: str = "test") -> Json:
        path = kind.path(namespace, name) + (f"/{subresource}" if subresource else "")
        return await self.api.patch(path, body)

    async def delete(self, kind: Kind, name: str) -> None:
        await self.api.delete(kind.path("test", name))

    def unseen_deletion(self, kind: Kind, name: str) -> None:
        """While nobody serves, as if another API server of the same cluster had done it."""
        self.server.objects.delete(self._resource(kind), ("test", name))

    def unseen_patch(self, kind: Kind, name: str, fields: Json) -> None:
        self.server.objects.patch(self._resource(kind), ("test", name), lambda obj: obj | fields)

    def _resource(self, kind: Kind) -> Resource:
        found = self.server._registry.find(kind.group, kind.version, kind.plural)
        assert found is not None
        return found

    def asked(self, agent: str) -> Counter[str]:
        """What a client has asked so far, by verb."""
        return Counter(each.verb for each in self.server.requests if each.agent == agent)


def _collection(body: Json) -> str:
    return _BY_KIND[body["kind"]].path(body["metadata"].get("namespace"))


@asynccontextmanager
async def cluster(*, crds: Iterable[Path] = CRDS) -> AsyncIterator[World]:
    """A cluster with our CRDs, APISIX's route and the namespace `test`."""
    async with ApiServer() as server, server.api() as api:
        world = World(server, api)
        await world.apply(*(each for path in crds for each in yaml.safe_load_all(path.read_text())))
        await world.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test"}})
        yield world


@asynccontextmanager
async def watcher(nats: NatsServer, kube_url: str, **more: Any) -> AsyncIterator[Runtime]:
    """One replica, started; it needn't be ready yet."""
    settings = Settings(
        kube_url=kube_url, nats_url=nats.url, nats_password=SecretStr(nats.credentials["watcher"]), **more
    )
    async with AsyncExitStack() as stack:
        runtime = make_runtime(stack, "watcher")
        try:
            await app(settings, runtime)
            yield runtime
            assert not runtime.failure, runtime.failure
        finally:
            runtime.stop.set()


async def ready(*replicas: Runtime) -> None:
    await until(lambda: not any(each.health.missing() for each in replicas), "the watcher never became ready")


class Heard:
    """All facts that are in the inbox, in the order in which they were stored."""

    def __init__(self, admin: Plain) -> None:
        self._admin = admin
        self.facts: list[Fact] = []
        self._seen = 0

    def by(self, admin: Plain) -> Self:
        """The same over another connection."""
        self._admin = admin
        return self

    async def now(self) -> list[Fact]:
        last = (await self._admin.state("INBOX"))["last_seq"]
        for number in range(self._seen + 1, last + 1):
            answer = await self._admin.api("STREAM.MSG.GET.INBOX", {"seq": number})
            if "message" in answer:
                self.facts.append(Fact.model_validate_json(base64.b64decode(answer["message"]["data"])))
        self._seen = last
        return self.facts

    async def of(self, *wanted: str) -> list[Fact]:
        """The facts since the last call, once each `Kind/name` of these is among them; `-` in front: deleted."""
        begin = len(self.facts)
        await until_heard(self, begin, set(wanted))
        return self.facts[begin:]


async def until_heard(heard: Heard, begin: int, wanted: set[str]) -> None:
    found: set[str] = set()

    async def look() -> bool:
        nonlocal found
        found = {short(fact) for fact in (await heard.now())[begin:]}
        return wanted <= found

    try:
        async with asyncio.timeout(40):
            while not await look():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"never heard of {sorted(wanted - found)}, only of {sorted(found)}") from None


def short(fact: Fact) -> str:
    return ("-" if fact.object.deleted else "") + f"{fact.object.kind}/{fact.object.name}"


def doubled(facts: Iterable[Fact]) -> list[str]:
    """Objects at a version that somebody was told of more than once, by any id."""
    told = Counter(
        (fact.canary.uid, fact.object.kind, fact.object.name, fact.object.resource_version, fact.object.deleted)
        for fact in facts
    )
    return sorted(json.dumps(key) for key, count in told.items() if count > 1)
