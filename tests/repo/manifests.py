"""The manifests as data, for tests that need no cluster and no kubectl. What kustomize makes of them is tested in tests/e2e."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
BASE = ROOT / "k8s" / "base"
Json = dict[str, Any]


def documents(path: Path) -> list[Json]:
    """All YAML documents of a file."""
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def deployment(name: str) -> Json:
    """A process's Deployment as its own file has it."""
    return next(each for each in documents(BASE / f"{name}.yaml") if each["kind"] == "Deployment")


def container(name: str) -> Json:
    """Its only container, with what all of them have in common."""
    (common,) = documents(BASE / "every-deployment.yaml")
    (own,) = deployment(name)["spec"]["template"]["spec"]["containers"]
    (shared,) = common["spec"]["template"]["spec"]["containers"]
    assert own["name"] == shared["name"]
    assert not (own.keys() & shared.keys()) - {"name"}, "kustomize would merge these in its own way"
    return {**shared, **own}


def settings_of(kustomization: Path) -> dict[str, str]:
    """The literals of the ConfigMap `serinus-settings` that a kustomization makes or merges."""
    (found,) = documents(kustomization)
    literals = [
        literal
        for generator in found.get("configMapGenerator", [])
        if generator["name"] == "serinus-settings"
        for literal in generator["literals"]
    ]
    return dict(literal.split("=", 1) for literal in literals)


def kustomizations() -> list[Path]:
    """All of them, so that none is forgotten."""
    return sorted((ROOT / "k8s").rglob("kustomization.yaml"))
