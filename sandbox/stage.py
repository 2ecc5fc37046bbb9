"""The whole scene on one machine: a cluster, NATS, a Prometheus, the gateway, the application, load, and Serinus in it.

The demo plays on it, and so do the cluster tests. The cluster is the embedded API server, with Serinus as child
processes by the process table; or the real control plane, with Serinus installed from `k8s/` as users install it.
"""

import asyncio
import secrets
from collections.abc import Mapping, MutableMapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import yaml

from sandbox import pod_metrics
from sandbox.application import ApplicationRunner, Behaviour
from sandbox.controlplane.api import Api
from sandbox.controlplane.kubelet import FakeKubelet, PodRunner
from sandbox.gateway import controller
from sandbox.gateway.server import METRICS_PATH, Gateway
from sandbox.loadtester import LoadTester
from sandbox.nats import NatsServer
from sandbox.network import Network
from sandbox.prometheus import Prometheus, Target
from sandbox.proxy import Proxy
from sandbox.receiver import Receiver
from shared.runtime import tasks

PROMETHEUS = "flagger-prometheus.apisix"
SLACK = "slack.example"
_CHECKOUT = Path(__file__).resolve().parents[1]
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Cluster(Protocol):
    """A Kubernetes API server that runs."""

    @property
    def url(self) -> str: ...
    @property
    def admin_token(self) -> str: ...
    @property
    def ca_file(self) -> Path | None: ...
    def api(self) -> Api: ...


@dataclass(slots=True, kw_only=True)
class Options:
    """How the scene is set."""

    gateway_version: str = "2.15.3"
    gateway_lag: float = 0.0
    scrape_interval: float = 1.0
    behaviours: MutableMapping[str, Behaviour] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further variables for Serinus's processes."""
    sync_always: bool = False
    nats_accounts: Path | None = None
    """The file of `bootstrap credentials`, where its users have nkeys instead of passwords."""
    nats_tls: Path | None = None
    """What a Secret `serinus-nats-tls` holds, as files."""


class Stage:
    """Everything but Serinus itself. Entered with a cluster that runs; left in the opposite order."""

    def __init__(self, directory: Path, cluster: Cluster, options: Options | None = None) -> None:
        self.options = options or Options()
        self.directory = directory
        self.cluster = cluster
        self.network = Network()
        self.nats = NatsServer(directory / "nats", sync_always=self.options.sync_always)
        self.nats.accounts_file, self.nats.tls = self.options.nats_accounts, self.options.nats_tls
        self.gateway = Gateway(self.network, version=self.options.gateway_version, lag=self.options.gateway_lag)
        self.application = ApplicationRunner(self.network, self.options.behaviours)
        self.exported = pod_metrics.listener(lambda: self.application.running.values())
        """What the application's pods say of themselves."""
        self.loadtester = LoadTester(self.network)
        self.proxy = Proxy(self.network)
        self.slack = Receiver()
        self.prometheus = Prometheus(directory / "prometheus", scrape_interval=self.options.scrape_interval)
        self.api = cluster.api()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.api)
            for part in (self.nats, self.gateway, self.exported, self.loadtester, self.proxy, self.slack):
                await stack.enter_async_context(part)
            self.prometheus.scrape(self.targets())
            await stack.enter_async_context(self.prometheus)
            self.network.claim(PROMETHEUS, 9090, self.prometheus.port)
            self.network.claim(SLACK, 80, self.slack.port)
            following = asyncio.create_task(controller.follow(self.api, self.gateway, reports=True))
            stack.push_async_callback(tasks.ended, following)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def targets(self) -> list[Target]:
        """What the Prometheus of this cluster scrapes: the gateway and the application's pods."""
        return [
            Target("apisix", f"127.0.0.1:{self.gateway.metrics_port}", METRICS_PATH),
            Target("pods", f"127.0.0.1:{self.exported.port}"),
        ]

    def kubelet(self, *runners: PodRunner, ready_after: float = 0.0, ends_after: float = 0.0) -> FakeKubelet:
        """A node for the application's pods, and for those of further runners."""
        return FakeKubelet(
            self.cluster.url,
            self.cluster.admin_token,
            self.cluster.ca_file,
            runners=[self.application, *runners],
            ready_after=ready_after,
            ends_after=ends_after,
        )

    def surroundings(self) -> dict[str, str]:
        """What Serinus's processes must be told wherever they run: addresses that differ from those in the manifests."""
        return {
            "SERINUS_NATS_URL": self.nats.url,
            "SERINUS_METRICS_SERVER": f"http://{PROMETHEUS}:9090",
            "HTTP_PROXY": self.proxy.url,
            "NO_PROXY": "127.0.0.1,localhost",
            **self.options.settings,
        }

    def password_secret(self) -> dict[str, Any]:
        """The Secret that k8s/nats/passwords.sh prints, with the passwords that the NATS here knows."""
        users = {
            f"NATS_PASSWORD_{user.upper().replace('-', '_')}": word for user, word in self.nats.credentials.items()
        }
        data = {**users, "NATS_PASSWORD_ROUTES": secrets.token_hex(16)}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "serinus-nats"}, "stringData": data}


async def definitions(api: Api) -> None:
    """Create the CRDs of Serinus and of the gateway's routes; each is established when this returns."""
    files = [*sorted((_CHECKOUT / "k8s/crds").glob("*.yaml")), _CHECKOUT / "sandbox/crds/apisix.yaml"]
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text())]
    found = [document for document in documents if document["kind"] == "CustomResourceDefinition"]
    for crd in found:
        await api.create(_CRDS, crd)
    for crd in found:
        await api.until(f"{_CRDS}/{crd['metadata']['name']}", _established)


def _established(crd: dict[str, Any]) -> bool:
    conditions = crd.get("status", {}).get("conditions", [])
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
