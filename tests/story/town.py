"""A street in front of the theatre: the gateway double serves what the router wrote, and clients knock at its door."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from shared.kube.json import Json
from tests.story.theatre import Theatre
from tests.unit.sandbox.objects import CANARY_POD, PRIMARY_POD, endpoints
from tests.unit.sandbox.world import World, world


@dataclass(frozen=True, slots=True)
class Visit:
    """Who answered, and which cookie it set."""

    canary: bool
    cookie: str = ""


class Town:
    """`visit` always meets the gateway as the cluster's objects have it now."""

    def __init__(self, theatre: Theatre, street: World) -> None:
        self.theatre, self._street = theatre, street

    async def visit(self, path: str = "/api/info", **headers: str) -> Visit:
        url = f"http://127.0.0.1:{self._street.gateway.http_port}{path}"
        async with self._street.user.get(url, headers={"Host": "app.example.com", **headers}) as answer:
            assert answer.status == 200, answer.status
            body = await answer.json()
            return Visit(body["hostname"] == f"pod-{CANARY_POD}", answer.headers.get("Set-Cookie", ""))

    async def canaries(self, number: int, **headers: str) -> int:
        """How many of so many visits the canary answered."""
        self.open()
        return Counter([(await self.visit(**headers)).canary for _ in range(number)])[True]

    def open(self) -> None:
        """The gateway takes in what there is."""
        objects = self.theatre.cluster.objects

        def of(kind: str) -> list[Json]:
            return [each for (found, _, _), each in objects.items() if found == kind]

        self._street.gateway.apply(of("ApisixRoute"), of("Service"), of("EndpointSlice"))

    def served(self) -> int:
        """How many requests the canary's pod got, copies among them."""
        return sum(self._street.runner.running[CANARY_POD].served.values())


def pods() -> list[Json]:
    """Where the Services lead: one pod of either side."""
    kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice"}
    sides = {"podinfo": PRIMARY_POD, "podinfo-primary": PRIMARY_POD, "podinfo-canary": CANARY_POD}
    return [{**kind, **endpoints(service, ip)} for service, ip in sides.items()]


@asynccontextmanager
async def town(theatre: Theatre, version: str = "3.18.0") -> AsyncIterator[Town]:
    """Behind a gateway of that version. The theatre's cluster must hold `pods()`."""
    async with world(version) as street:
        yield Town(theatre, street)
