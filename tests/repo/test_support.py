"""docs/install.md's table of versions, and its commands for NATS, against the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from services.router.world import WATCHED
from tests.repo.manifests import ROOT, documents
from tools import support

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


def test_no_group_that_the_router_follows_is_forgotten() -> None:
    named = {group for row in support.rows() for group in re.findall(r"`(.+?/v\w+)`", row.least)}
    assert named == {kind.api_version for kind in WATCHED if kind.group}


def test_the_nats_that_is_installed_is_the_one_that_is_tested() -> None:
    [tested] = [row.tested for row in support.rows() if row.part == "NATS"]
    (nats,) = documents(ROOT / "k8s/nats/kustomization.yaml")
    assert [image["newTag"] for image in nats["images"]] == [f"{tested}-alpine"]


def test_every_row_that_asks_for_something_names_the_test_of_it() -> None:
    assert [row.part for row in support.rows() if row.shown is None] == ["APISIX"]
    linked = re.findall(r"\(\.\./(tests/\S+\.py)\)", "".join(map(str, support.rows())))
    assert linked
    assert [each for each in linked if not (ROOT / each).exists()] == []


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
            cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert (ended.returncode, ended.stderr) == (0, ""), command
        assert bool(ended.stdout) != ("--finish" in command), command


@pytest.mark.parametrize("part", ["nkeys", "nats-tls"])
def test_components_that_the_page_names_are_there(part: str) -> None:
    assert f"`k8s/components/{part}`" in PAGE
    (component,) = documents(ROOT / "k8s/components" / part / "kustomization.yaml")
    assert component["kind"] == "Component"
