"""Finds the programs of the control plane, and builds from source what is missing.

Kubernetes and etcd publish their binaries on hosts that many networks don't let through, but their sources are
ordinary Go modules. So `gomod/` holds two tiny modules with committed checksums, and any Go toolchain builds the same
programs from them (`sandbox.gobuild`). That takes minutes, once: the result stays in the cache folder.

`make` calls this as `python -m sandbox.controlplane.binaries`; tests only `locate`.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox import gobuild
from sandbox.cache import cache_dir
from sandbox.gobuild import Recipe

KUBERNETES, ETCD = "v1.36.3", "v3.6.14"
NAMES = ("kube-apiserver", "kube-controller-manager", "kubectl", "etcd")
_GOMOD = Path(__file__).parent / "gomod"
BinariesMissing = gobuild.BinariesMissing


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Where each program lies."""

    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path
    etcd: Path


_RECIPES = (
    Recipe(
        module=_GOMOD / "kube",
        packages={name: f"k8s.io/kubernetes/cmd/{name}" for name in NAMES if name != "etcd"},
        # Without the version the server says v0.0.0, which clients complain about.
        ldflags=f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}",
        cost="8 to 15 minutes on 2 cores, 2 GB of memory, 7 GB of disk meanwhile, 280 MB kept",
    ),
    Recipe(
        module=_GOMOD / "etcd",
        packages={"etcd": "go.etcd.io/etcd/server/v3"},
        ldflags="-s -w",
        cost="about a minute on 2 cores, 27 MB kept",
    ),
)


def folder() -> Path:
    """Where built programs are kept."""
    return cache_dir() / f"kubernetes-{KUBERNETES}"


def locate() -> Binaries:
    """The programs, from $KUBEBUILDER_ASSETS or the cache; raises BinariesMissing rather than building for minutes."""
    found = _found()
    if missing := [name for name in NAMES if name not in found]:
        build = "python -m sandbox.controlplane.binaries"
        raise BinariesMissing(f"{', '.join(missing)} not found: set KUBEBUILDER_ASSETS or run `{build}`")
    return Binaries(**{name.replace("-", "_"): path for name, path in found.items()})


def ensure() -> Binaries:
    """The programs; what is missing is built first. Safe in several processes at once: one builds, the others wait."""
    if len(_found()) < len(NAMES):
        gobuild.build(_RECIPES, folder(), lambda recipe: [name for name in recipe.packages if name not in _found()])
    return locate()


def _found() -> dict[str, Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [Path(assets).resolve(), folder()] if assets else [folder()]
    # The last word wins, so the folders are read from the least to the most preferred.
    return {name: f / name for f in reversed(folders) for name in NAMES if os.access(f / name, os.X_OK)}


def main() -> int:
    """Build what is missing and say where everything lies."""
    try:
        found = ensure()
    except BinariesMissing as error:
        print(error, file=sys.stderr)
        return 1
    for path in (found.kube_apiserver, found.kube_controller_manager, found.kubectl, found.etcd):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
