"""Config tracking against checksums that the original algorithm computed."""

import base64
import copy

import pytest

from shared.canary import configs
from shared.canary.configs import ConfigRef
from shared.kube.json import Json


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        pytest.param({"color": "blue"}, "f234cb93c08ad64e", id="one key"),
        pytest.param({"b": '<a href="x">&\u2028é\n\t\x01', "a": "1"}, "c57a757d16a5d66d", id="everything escaped"),
        pytest.param({"value": base64.b64encode(b"s3cr3t").decode()}, "e9508890208eabc4", id="a Secret"),
        pytest.param(None, "74234e98afe7498f", id="absent"),
        pytest.param({}, "44136fa355b3678a", id="empty"),
        pytest.param({"a": "\x7f\b\f\r\\/\x1f"}, "bba5f7b61c36f445", id="control characters"),
    ],
)
def test_golden_checksums(data: dict[str, str] | None, checksum: str) -> None:
    assert configs.checksum(data) == checksum


def test_keys_are_ordered_by_bytes() -> None:
    assert configs.checksum({"é": "1", "z": "2"}) == configs.checksum({"z": "2", "é": "1"})


TEMPLATE: Json = {
    "metadata": {"labels": {"app": "podinfo"}},
    "spec": {
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [
            {"name": "a", "configMap": {"name": "files"}},
            {"name": "b", "secret": {"secretName": "keys", "optional": True}},
            {
                "name": "c",
                "projected": {
                    "sources": [
                        {"configMap": {"name": "projected"}},
                        {"secret": {"name": "projected-keys"}},
                        {"serviceAccountToken": {"path": "token"}},
                    ]
                },
            },
            {"name": "d", "emptyDir": {}},
            {"name": "e", "csi": {"nodePublishSecretRef": {"name": "csi"}}},
        ],
        "initContainers": [{"name": "init", "envFrom": [{"configMapRef": {"name": "init-env"}}]}],
        "containers": [
            {
                "name": "main",
                "env": [
                    {"name": "PLAIN", "value": "1"},
                    {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "a"}}},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "env-keys", "key": "b", "optional": True}}},
                    {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "D", "valueFrom": {"configMapKeyRef": {"name": "files", "key": "x", "optional": True}}},
                ],
                "envFrom": [{"secretRef": {"name": "all-keys"}}, {"prefix": "X_", "configMapRef": {"name": "env"}}],
            }
        ],
        "ephemeralContainers": [{"name": "debug", "envFrom": [{"configMapRef": {"name": "debug"}}]}],
    },
}


def test_references() -> None:
    assert configs.references(TEMPLATE) == (
        ConfigRef("ConfigMap", "env"),
        ConfigRef("ConfigMap", "files", optional=True),  # the last reference's word counts
        ConfigRef("ConfigMap", "init-env"),
        ConfigRef("ConfigMap", "projected"),
        ConfigRef("Secret", "all-keys"),
        ConfigRef("Secret", "env-keys", optional=True),
        ConfigRef("Secret", "keys", optional=True),
        ConfigRef("Secret", "projected-keys"),
    )
    assert ConfigRef("ConfigMap", "env").key == "configmap/env"


@pytest.mark.parametrize("template", [{}, {"spec": None}, {"spec": {"volumes": {}, "containers": ["x", None]}}])
def test_odd_templates_refer_to_nothing(template: Json) -> None:
    assert configs.references(template) == ()


def test_rename_changes_what_is_tracked_and_nothing_else() -> None:
    before = copy.deepcopy(TEMPLATE)
    renamed = configs.rename(TEMPLATE, {"configmap/files", "secret/keys", "secret/env-keys", "configmap/init-env"})
    assert before == TEMPLATE
    assert {ref.key for ref in configs.references(renamed)} == {
        "configmap/env", "configmap/files-primary", "configmap/init-env-primary", "configmap/projected",
        "secret/all-keys", "secret/env-keys-primary", "secret/keys-primary", "secret/projected-keys",
    }  # fmt: skip
    everything = configs.rename(TEMPLATE, {ref.key for ref in configs.references(TEMPLATE)})
    assert all(ref.name.endswith("-primary") for ref in configs.references(everything))
    assert everything["spec"]["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize(
    ("obj", "ignored"),
    [
        ({"kind": "ConfigMap"}, False),
        ({"kind": "ConfigMap", "metadata": {"annotations": {configs.OPT_OUT: "disabled"}}}, True),
        ({"kind": "ConfigMap", "metadata": {"annotations": {configs.OPT_OUT: "disable"}}}, True),
        ({"kind": "ConfigMap", "metadata": {"annotations": {configs.OPT_OUT: "enabled"}}}, False),
        ({"kind": "Secret", "type": "Opaque"}, False),
        ({"kind": "Secret", "type": "kubernetes.io/basic-auth"}, False),
        ({"kind": "Secret", "type": "kubernetes.io/ssh-auth"}, False),
        ({"kind": "Secret", "type": "kubernetes.io/tls"}, False),
        ({"kind": "Secret", "type": "kubernetes.io/service-account-token"}, True),
        ({"kind": "Secret", "type": "helm.sh/release.v1"}, True),
        ({"kind": "Secret", "type": "Opaque", "metadata": {"annotations": {configs.OPT_OUT: "disabled"}}}, True),
    ],
)
def test_ignored(obj: Json, ignored: bool) -> None:
    assert configs.ignored(obj) is ignored
