"""The application of the demo and the tests: what podinfo does, as far as releases look at it.

Behind each of its pods stands one HTTP server on the loopback, claimed in the Network under the pod's IP. How it
behaves follows from the pod's image, as with real revisions.
"""

import asyncio
import time
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.controlplane import pods
from sandbox.controlplane.api import Json
from sandbox.listener import Listener
from sandbox.network import Network
from sandbox.pod_metrics import Measured
from sandbox.share import Share

REPOSITORY: Final = "stefanprodan/podinfo"
"""In whatever registry: the guide names two."""

_PROBES = ("/healthz", "/readyz")
_ASKED_AGAIN: Final = 0.2  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a revision answers. Ratios are of its own requests and spread evenly; probes aren't touched by them."""

    fail_ratio: float = 0.0
    """Answered 500."""
    not_found_ratio: float = 0.0
    """Answered 404, of those that don't fail."""
    latency_seconds: float = 0.0
    ready: bool = True
    ready_after_seconds: float = 0.0


HEALTHY: Final = Behaviour()


class Application:
    """One pod of it."""

    def __init__(
        self,
        pod: Json,
        image: str,
        behaviours: MutableMapping[str, Behaviour],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.served: dict[int, int] = {}
        """Answers by status, probes aside."""
        self.manifest = pod
        self.measured = Measured()
        self._image = image
        self._behaviours = behaviours
        self._behaviour = self.behaviour
        self._fail = Share(self._behaviour.fail_ratio)
        self._lose = Share(self._behaviour.not_found_ratio)
        self.listener = Listener(self._handle, host=host, port=port)

    @property
    def behaviour(self) -> Behaviour:
        """What its image's behaviour is at this moment."""
        return self._behaviours.get(self._image, HEALTHY)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        began = time.monotonic()
        if request.path in _PROBES:
            up = self.behaviour.ready or request.path == "/healthz"
            response = web.json_response({"status": "OK"}, status=200 if up else 503)
        else:
            response = await self._respond(request.path)
            self.served[response.status] = self.served.get(response.status, 0) + 1
        self.measured.count(response.status, request.path, time.monotonic() - began)
        return response

    async def _respond(self, path: str) -> web.Response:
        behaviour = self.behaviour
        if behaviour is not self._behaviour:  # somebody changed the mapping
            self._behaviour = behaviour
            self._fail, self._lose = Share(behaviour.fail_ratio), Share(behaviour.not_found_ratio)
        word, _, number = path.strip("/").partition("/")
        if word == "status" and number.isdigit() and 200 <= int(number) <= 599:
            return web.json_response({"status": int(number)}, status=int(number))
        if word == "delay" and number.replace(".", "", 1).isdigit():
            await asyncio.sleep(float(number))
            return web.json_response({"delay": float(number)})
        if behaviour.latency_seconds:
            await asyncio.sleep(behaviour.latency_seconds)
        if self._fail.next():
            return web.json_response({"error": "this revision fails"}, status=500)
        if self._lose.next() or path not in ("/", "/api/info", "/version"):
            return web.json_response({"error": "not found"}, status=404)
        return web.json_response(self._info())

    def _info(self) -> dict[str, str]:
        version = self._image.rpartition(":")[2]
        name = self.manifest["metadata"]["name"]
        return {"hostname": name, "version": version, "message": f"greetings from podinfo v{version}"}


class ApplicationRunner:
    """A `kubelet.ReportingRunner` for the pods of one image repository; it ignores all others.

    `behaviours` says how each image behaves, healthy if it isn't in there; changes take effect at once. `at_its_ip` is for
    gateways that are no doubles: pods have loopback addresses, and listen there.
    """

    def __init__(
        self,
        network: Network,
        behaviours: MutableMapping[str, Behaviour] | None = None,
        *,
        repository: str = REPOSITORY,
        at_its_ip: bool = False,
    ) -> None:
        self.behaviours: MutableMapping[str, Behaviour] = {} if behaviours is None else behaviours
        self.running: dict[str, Application] = {}
        """By the pod's IP."""
        self._network = network
        self._repository = repository
        self._at_its_ip = at_its_ip

    async def start(self, pod: Json) -> None:
        """Answer under the pod's IP and its port named http."""
        if (container := self._container(pod)) is None:
            return
        ip = pod["status"]["podIP"]
        host, port = (ip, _port(container)) if self._at_its_ip else ("127.0.0.1", 0)
        application = Application(pod, container["image"], self.behaviours, host=host, port=port)
        await application.listener.start()
        self.running[ip] = application
        self._network.claim(ip, _port(container), application.listener.port)

    async def stop(self, pod: Json) -> None:
        """Refuse connections from now on, and end those that are open. It's forgotten last: a kubelet that ends in the
        middle of this asks once more."""
        ip, container = pod["status"].get("podIP", ""), self._container(pod)
        if container is not None and (application := self.running.get(ip)) is not None:
            self._network.release(ip, _port(container))
            await application.listener.stop()
            self.running.pop(ip, None)

    def observe(self, pod: Json) -> AsyncIterator[pods.Seen] | None:
        """Its readiness, where the revision has a say in it; otherwise the kubelet's own knobs hold."""
        if (container := self._container(pod)) is None:
            return None
        behaviour = self.behaviours.get(container["image"], HEALTHY)
        if behaviour.ready and not behaviour.ready_after_seconds:
            return None
        return self._readiness(pod, container["image"])

    async def _readiness(self, pod: Json, image: str) -> AsyncIterator[pods.Seen]:
        """Until it is ready; what isn't is asked again, since somebody may change the mapping."""
        yield pods.all_containers(pod, ready=False)
        while not self.behaviours.get(image, HEALTHY).ready:
            await asyncio.sleep(_ASKED_AGAIN)
        await asyncio.sleep(self.behaviours.get(image, HEALTHY).ready_after_seconds)
        yield pods.all_containers(pod, ready=True)

    def _container(self, pod: Json) -> Json | None:
        containers: list[Json] = pod["spec"]["containers"]
        mine = (c for c in containers if f"/{c['image']}".rpartition(":")[0].endswith(f"/{self._repository}"))
        return next(mine, None)


def _port(container: Json) -> int:
    return next(int(port["containerPort"]) for port in container["ports"] if port.get("name") == "http")
