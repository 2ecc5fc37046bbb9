"""`python -m sandbox.standing`: the sandbox's cluster as one process on fixed ports, for compose.yaml.

API server, gateway, application, load tester and forward proxy; NATS, Prometheus and Serinus run beside it. All listen
on the loopback, which the containers of compose.yaml share as those of a pod do. The cluster is there once it answers
for Canaries: their definition is applied last.
"""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

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

KUBERNETES: Final = 6443
PROXY: Final = 3128
PROMETHEUS: Final = 9090
GATEWAY_METRICS: Final = 9091

_CHECKOUT = Path(__file__).resolve().parents[1]
_DEFINITIONS = (_CHECKOUT / "sandbox/crds/apisix.yaml", *sorted((_CHECKOUT / "k8s/crds").glob("*s.yaml")))
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def stand(ended: asyncio.Event) -> None:
    """Until `ended` is set."""
    network = Network()
    network.claim("flagger-prometheus.apisix", 9090, PROMETHEUS)
    gateway = Gateway(network, metrics_port=GATEWAY_METRICS)
    cluster = ApiServer(port=KUBERNETES)
    kubelet = FakeKubelet(cluster.url, cluster.admin_token, runners=[ApplicationRunner(network)])
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(cluster)
        api = await stack.enter_async_context(cluster.api())
        for part in (gateway, LoadTester(network), Proxy(network, port=PROXY), kubelet):
            await stack.enter_async_context(part)
        following = asyncio.create_task(controller.follow(api, gateway))
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


async def _main() -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await stand(ended)


if __name__ == "__main__":
    asyncio.run(_main())
