"""The process table: which processes Serinus is, as plain data.

The demo, `make up` and the tests start processes by it, and compose.yaml and the Deployments of `k8s/` are held
against it: whoever adds a process or a variable adds it here, and is told by a test what else is missing.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Source(StrEnum):
    """Where the value of a variable comes from. Whoever starts the processes knows the values."""

    PORT = "a port of the process's own"
    NATS_URL = "address of NATS"
    NATS_USER = "name of the process's NATS user"
    NATS_PASSWORD = "password of the process's NATS user"
    PUBLIC_PASSWORD = "password of the NATS user `public-bootstrap`"
    KUBE_URL = "address of the API server"
    KUBE_TOKEN_FILE = "file with the token of the process's service account"
    KUBE_CA_FILE = "file with the API server's authority"
    METRICS_SERVER = "address of Prometheus"
    PROXY = "address of the forward proxy, where cluster names don't resolve"
    DIRECT = "hosts that are reached without the proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One process. `environment` says only what differs from place to place; everything else has a default."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, Source]
    port: int = 8080
    """Where /livez, /readyz and /metrics are served, unless SERINUS_HTTP_PORT says otherwise."""
    alive: str = "/livez"
    ready: str = "/readyz"

    @property
    def command(self) -> tuple[str, ...]:
        """As manifests have it; `python` is whichever runs the project."""
        return ("python", "-m", self.module, *self.arguments)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command on this machine, with the interpreter that runs us."""
        return (sys.executable, *self.command[1:])

    @property
    def asks_kubernetes(self) -> bool:
        """Does it have a service account with rights?"""
        return Source.KUBE_URL in self.environment.values()

    def env(self, values: Mapping[Source, str]) -> dict[str, str]:
        """The variables with their values; a source that `values` doesn't name leaves its variable out."""
        return {name: values[source] for name, source in self.environment.items() if source in values}


_HTTP: Final = {"SERINUS_HTTP_PORT": Source.PORT}
_NATS: Final = {
    "SERINUS_NATS_URL": Source.NATS_URL,
    "SERINUS_NATS_USER": Source.NATS_USER,
    "SERINUS_NATS_PASSWORD": Source.NATS_PASSWORD,
}
_KUBE: Final = {
    "SERINUS_KUBE_URL": Source.KUBE_URL,
    "SERINUS_KUBE_TOKEN_FILE": Source.KUBE_TOKEN_FILE,
    "SERINUS_KUBE_CA_FILE": Source.KUBE_CA_FILE,
}
_PROXY: Final = {"HTTP_PROXY": Source.PROXY, "NO_PROXY": Source.DIRECT}

BOOTSTRAP: Final = Row(
    name="bootstrap",
    module="shared.bus.bootstrap",
    arguments=("--watch",),
    environment={**_HTTP, **_NATS, "SERINUS_NATS_PUBLIC_PASSWORD": Source.PUBLIC_PASSWORD},
)
WATCHER: Final = Row(name="watcher", module="services.watcher", environment={**_HTTP, **_NATS, **_KUBE})
ANALYZER: Final = Row(name="analyzer", module="services.analyzer", environment={**_HTTP, **_NATS, **_KUBE, **_PROXY})
ROUTER: Final = Row(
    name="router",
    module="services.router",
    environment={**_HTTP, **_NATS, **_KUBE, "SERINUS_METRICS_SERVER": Source.METRICS_SERVER},
)
NOTIFIER: Final = Row(name="notifier", module="services.notifier", environment={**_HTTP, **_NATS, **_KUBE, **_PROXY})

TABLE: Final = (BOOTSTRAP, WATCHER, ANALYZER, ROUTER, NOTIFIER)
"""In the order in which it's natural to start them; none needs another to be there first."""

SERVICES: Final = (WATCHER, ANALYZER, ROUTER, NOTIFIER)
