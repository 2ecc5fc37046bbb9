"""`python -m sandbox.standing`: the sandbox's cluster as one process on fixed ports, for compose.yaml.

API server, gateway, application, load tester and forward proxy; NATS, Prometheus and Serinus run beside it. All listen
on the loopback, which the containers of compose.yaml share as those of a pod do. The cluster is there once it answers
for Canaries: their definitions are applied last.
"""

import argparse
import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from sandbox.apiserver.server import ApiServer
from sandbox.application import ApplicationRunner
from sandbox.controlplane.api import Api
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.gateway import controller
from sandbox.gateway.server import Gateway
from sandbox.loadtester import LoadTester
from sandbox.network import Network
from sandbox.proxy import Proxy

_CHECKOUT = Path(__file__).resolve().parents[1]
_DEFINITIONS = (_CHECKOUT / "sandbox/crds/apisix.yaml", *sorted((_CHECKOUT / "k8s/crds").glob("*s.yaml")))
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where everything listens; Prometheus, too, which is somebody else's."""

    kubernetes: int = 6443
    proxy: int = 3128
    prometheus: int = 9090
    gateway_metrics: int = 9091


async def stand(ports: Ports, ended: asyncio.Event) -> None:
    """Until `ended` is set."""
    network = Network()
    network.claim("flagger-prometheus.apisix", 9090, ports.prometheus)
    gateway = Gateway(network, metrics_port=ports.gateway_metrics)
    cluster = ApiServer(port=ports.kubernetes)
    kubelet = FakeKubelet(cluster.url, cluster.admin_token, runners=[ApplicationRunner(network)])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cluster)
        api = await stack.enter_async_context(cluster.api())
        for part in (gateway, LoadTester(network), Proxy(network, port=ports.proxy), kubelet):
            await stack.enter_async_context(part)
        following = asyncio.create_task(controller.follow(api, gateway, reports=True))
        await _define(api)
        print(f"the cluster stands at {cluster.url}", flush=True)
        waiting = asyncio.create_task(ended.wait())
        await asyncio.wait({following, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (following, waiting):
            task.cancel()
        await asyncio.gather(following, waiting, return_exceptions=True)


async def _define(api: Api) -> None:
    for path in _DEFINITIONS:
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] == "CustomResourceDefinition":
                await api.create(_CRDS, document)


async def _main(ports: Ports) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await stand(ports, ended)


def _ports() -> Ports:
    parser = argparse.ArgumentParser(description=__doc__)
    for field in fields(Ports):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default, help="port")
    return Ports(**vars(parser.parse_args()))


if __name__ == "__main__":
    asyncio.run(_main(_ports()))
