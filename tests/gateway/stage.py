"""Pods, a gateway in front of them, and a user who asks one request after the other."""

import asyncio
import itertools
import time
import uuid
from collections import Counter
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from sandbox.application import Application, ApplicationRunner, Behaviour
from sandbox.controlplane.api import Json
from sandbox.gateway.dialect import Dialect, dialect
from tests.gateway.desired import Desired, Target
from tests.unit.sandbox import objects
from tests.unit.sandbox.world import CANARY, PRIMARY, parse

PRIMARY_POD, CANARY_POD, SECOND_POD = "127.0.0.11", "127.0.0.12", "127.0.0.13"
HOST: Final = "app.example.com"
_IMAGES: Final = {PRIMARY_POD: PRIMARY, CANARY_POD: CANARY, SECOND_POD: CANARY}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the user got."""

    status: int
    headers: Mapping[str, str]
    version: str
    """Of the application; empty if it wasn't the application's answer."""
    cookies: tuple[str, ...]
    """What it set, with their attributes."""


class Stage:
    """One test's. A real gateway's counters go on, also from run to run, so each test's route has a name of its own."""

    def __init__(self, target: Target, runner: ApplicationRunner, user: aiohttp.ClientSession) -> None:
        self.target = target
        self.runner = runner
        self.name = f"podinfo-{uuid.uuid4().hex[:8]}-canary"
        self._user = user
        self._written = itertools.count()

    @property
    def dialect(self) -> Dialect:
        """What is different in this version."""
        return dialect(self.target.version)

    @property
    def behaviours(self) -> MutableMapping[str, Behaviour]:
        """By image; changes take effect at once."""
        return self.runner.behaviours

    def route(self, rule: str = "method") -> str:
        """The label of a rule that is measured by name."""
        return f"test_{self.name}_{rule}"

    async def apply(
        self,
        *rules: Json,
        canaries: tuple[str, ...] = (CANARY_POD,),
        global_prefer_name: bool | None = None,
        withheld: bool = False,
    ) -> None:
        """Another write with these rules, in front of the usual two Services."""
        routes = [objects.route(*rules, name=self.name, written=next(self._written))] if rules else []
        slices = [objects.endpoints("podinfo-primary", PRIMARY_POD), objects.endpoints("podinfo-canary", *canaries)]
        desired = Desired(
            routes=routes,
            services=objects.services(),
            slices=slices,
            global_prefer_name=global_prefer_name,
            withheld=withheld,
        )
        await self.target.apply(desired)

    async def split(self, primary: int, canary: int, **more: Any) -> None:
        """Another write of the generated route of a canary release."""
        backends = objects.backend("podinfo-primary", primary), objects.backend("podinfo-canary", canary)
        await self.apply(objects.rule("method", *backends), **more)

    async def ask(self, path: str = "/api/info", *, host: str = HOST, method: str = "GET", **headers: str) -> Answer:
        wanted = {"Host": host, **headers}
        async with self._user.request(method, self.target.url + path, headers=wanted) as answer:
            mine = "greetings" in await answer.text()
            version = (await answer.json())["version"] if mine else ""
            cookies = tuple(answer.headers.getall("Set-Cookie", ()))
            return Answer(answer.status, answer.headers.copy(), version, cookies)

    async def load(self, number: int, path: str = "/api/info") -> Counter[int]:
        """The statuses of so many requests."""
        return Counter([(await self.ask(path)).status for _ in range(number)])

    async def canary_turns(self, number: int) -> list[int]:
        """Which of so many requests the canary answered, from 0 on."""
        versions = [(await self.ask()).version for _ in range(number)]
        return [turn for turn, version in enumerate(versions) if version == CANARY.rpartition(":")[2]]

    async def kill(self, ip: str) -> None:
        """Its address refuses connections from now on."""
        await self.runner.stop(manifest(ip))

    async def start(self, ip: str) -> Application:
        """A pod at this address."""
        await self.runner.start(manifest(ip))
        return self.runner.running[ip]

    async def samples(self) -> list[tuple[str, dict[str, str], float]]:
        """The metrics page of now: name, labels in their order, value."""
        async with self._user.get(self.target.metrics_url) as answer:
            assert answer.status == 200
            return parse(await answer.text())

    async def counted(self, wanted: Mapping[tuple[str, str], int], rule: str = "method") -> None:
        """So many requests of the rule by code and node, and no others, once the page is up to date."""
        found: Counter[tuple[str, str]] = Counter()
        for labels, value in await self.statuses(sum(wanted.values()), self.route(rule)):
            found[labels["code"], labels["node"]] += int(value)
        assert found == Counter(wanted)

    async def statuses(self, number: int, route: str = "") -> list[tuple[dict[str, str], float]]:
        """The samples of `apisix_http_status` once they tell of so many requests, or can't be waited for any longer."""
        deadline = time.monotonic() + self.target.page_age
        while True:
            found = [
                (labels, value)
                for name, labels, value in await self.samples()
                if name == "apisix_http_status" and labels["route"] == (route or self.route())
            ]
            if sum(value for _, value in found) >= number or time.monotonic() > deadline:
                return found
            await asyncio.sleep(0.2)


def manifest(ip: str) -> Json:
    """The pod at this address."""
    return objects.pod(ip, _IMAGES[ip], f"pod-{ip}")
