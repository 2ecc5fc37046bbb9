"""Installations from overlays other than `k8s/overlays/test`: as users copy them, changed for the tests as that one is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

from sandbox import installed
from sandbox.controlplane.server import ControlPlane
from sandbox.stage import Stage

K8S: Final = Path(__file__).parents[2] / "k8s"
_SERVICES: Final = ("serinus-watcher", "serinus-analyzer", "serinus-router", "serinus-notifier")
_OUTSIDE: Final = {"SERINUS_NATS_REPLICAS": "1", "SERINUS_METRICS_SERVER": "http://127.0.0.1:9090"}
"""NATS and Prometheus run beside the cluster."""


def copied(folder: Path, overlay: str, named: str, settings: Mapping[str, str], *absent: str) -> Path:
    """A kustomization in this new folder around an overlay, which names its own namespace `named`; `absent` have no pods."""
    folder.mkdir()
    up = Path(*[".."] * (len(folder.resolve().parts) - 1), *K8S.parts[1:])  # kustomize takes no absolute paths
    literals = [f"{key}={value}" for key, value in {**_OUTSIDE, **settings}.items()]
    counts = dict.fromkeys(_SERVICES, 1) | dict.fromkeys(absent, 0)
    content = {
        "namespace": installed.NAMESPACE,
        "resources": [f"{up}/overlays/{overlay}"],
        "replicas": [{"name": name, "count": count} for name, count in counts.items()],
        "images": [{"name": "serinus", "newTag": "test"}],
        "configMapGenerator": [
            {"name": "serinus-settings", "namespace": named, "behavior": "merge", "literals": literals}
        ],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


def around(overlay: str, *absent: str) -> installed.Credentials:
    """Passwords as usual, and an overlay with rights over the cluster."""

    async def credentials(plane: ControlPlane, stage: Stage) -> Path:
        await installed.passwords(plane, stage)
        return copied(stage.directory / overlay, overlay, "apisix", {}, "flagger-prometheus", *absent)

    return credentials


small: Final = around("small", "serinus-nats")
own_nats: Final = around("own-nats")
