"""The fake kubelet's pure parts: statuses, addresses, variables, and where programs are looked for.

Needs nothing but Python, so it carries no marker.
"""

from pathlib import Path

import pytest

from sandbox.controlplane import binaries, environment, pods
from sandbox.controlplane.api import Json
from sandbox.controlplane.pods import ContainerState

_POD: Json = {
    "metadata": {"name": "app-1", "namespace": "ns", "uid": "u1", "labels": {"app": "x"}},
    "spec": {"containers": [{"name": "app", "image": "app:1"}], "serviceAccountName": "sa"},
    "status": {"podIP": "10.128.0.1"},
}


def _status(state: ContainerState) -> Json:
    body = pods.status(
        _POD, "10.128.0.1", {"app": state}, started="2026-01-01T00:00:00Z", turned="2026-01-01T00:01:00Z"
    )
    status: Json = body["status"]
    return status


def test_a_ready_pod_says_since_when() -> None:
    ready = next(c for c in _status(ContainerState(ready=True))["conditions"] if c["type"] == "Ready")

    assert ready == {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}


@pytest.mark.parametrize(
    ("state", "phase", "container"),
    [
        (ContainerState(ready=True), "Running", "running"),
        (ContainerState(ready=False), "Running", "running"),
        (ContainerState(ready=False, exit_code=1), "Running", "waiting"),
        (ContainerState(ready=False, exit_code=1, finished=True), "Failed", "terminated"),
        (ContainerState(ready=False, exit_code=0, finished=True), "Succeeded", "terminated"),
    ],
)
def test_phases(state: ContainerState, phase: str, container: str) -> None:
    status = _status(state)

    assert status["phase"] == phase
    assert list(status["containerStatuses"][0]["state"]) == [container]


def test_an_address_comes_back_last() -> None:
    addresses = pods.PodAddresses("10.128.0.0/29")
    first = addresses.take()
    addresses.hold("10.128.0.2")
    addresses.give_back(first)

    taken = [addresses.take() for _ in range(5)]

    assert first == "10.128.0.1"
    assert taken == ["10.128.0.3", "10.128.0.4", "10.128.0.5", "10.128.0.6", first]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("nats://$(HOST):4222", "nats://bus:4222"),
        ("$(NOBODY)", "$(NOBODY)"),
        ("$$(HOST)", "$(HOST)"),
        ("$HOST", "$HOST"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expanded: str) -> None:
    assert environment.expand(text, {"HOST": "bus"}) == expanded


@pytest.mark.parametrize(
    ("path", "value"),
    [("metadata.namespace", "ns"), ("metadata.labels['app']", "x"), ("status.podIP", "10.128.0.1")],
)
def test_the_downward_api(path: str, value: str) -> None:
    assert environment.field(_POD, path) == value


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(environment.CannotStart, match=r"status\.hostIPs"):
        environment.field(_POD, "status.hostIPs")


@pytest.mark.parametrize(
    ("text", "found"),
    [("/etc/nats", "/here"), ("/etc/nats/creds", "/here/creds"), ("/etc/natsy", "/etc/natsy"), ("text", "text")],
)
def test_mounted_paths_are_relocated(text: str, found: str) -> None:
    assert environment.relocate(text, {"/etc/nats": "/here"}) == found


def test_kubebuilder_assets_come_first_and_the_cache_fills_the_gaps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERINUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    for folder, names in ((binaries.folder(), binaries.NAMES), (tmp_path / "assets", ("etcd", "kubectl"))):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch(mode=0o755)

    found = binaries.locate()

    assert found.etcd == tmp_path / "assets" / "etcd"
    assert found.kube_apiserver == binaries.folder() / "kube-apiserver"


def test_missing_programs_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERINUS_CACHE", str(tmp_path))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)

    with pytest.raises(
        binaries.BinariesMissing, match="kube-apiserver, kube-controller-manager, kubectl, etcd not found"
    ):
        binaries.locate()
