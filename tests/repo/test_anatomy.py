"""The shape of the code that no linter looks at: the same files per service, budgets, names, and imports that open nothing."""

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

import pytest

import services
import shared
from sandbox.table import SERVICES
from services.router.rollout import texts
from shared.wire.messages import EventType
from tests.repo.manifests import ROOT

_SAME = {"__init__", "__main__", "app", "handlers", "policy", "ports", "settings"}
_VAGUE = {"base", "common", "core", "helper", "helpers", "lib", "manager", "misc", "util", "utils"}
_PRODUCT = ("services", "shared")
_LINES = {"services": 300, "shared": 300, "cli": 300, "sandbox": 300, "tools": 300, "examples": 300, "tests": 400}
_FUNCTION = 50
_EXCUSED = {
    "shared/runtime/metrics.py": (380, "the catalogue: a metric's name, labels and meaning stay together"),
    "shared/wire/messages.py": (450, "every message on one page, and no logic"),
    "shared/bus/streams.py:streams": (70, "one literal: the streams side by side"),
}
"""Over budget → up to how much, and why."""
_ROLLOUT_MAY = {"collections", "dataclasses", "datetime", "enum", "typing", "math", "hashlib"}
_OWN_DOORS = {
    "opentelemetry.sdk": "shared/runtime/telemetry.py",
    "opentelemetry.exporter": "shared/runtime/telemetry.py",
}


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("service", [row.name for row in SERVICES])
def test_each_service_has_the_same_files(service: str) -> None:
    assert {path.stem for path in (ROOT / "services" / service).glob("*.py")} >= _SAME


def test_modules_have_names_that_say_something() -> None:
    vague = [str(path.relative_to(ROOT)) for path in _sources(*_LINES) if path.stem in _VAGUE]
    assert vague == []


def test_modules_open_with_what_they_are_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in _sources("services", "shared", "cli", "sandbox", "tools")
        if path.stem != "__init__" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_file_is_longer_than_its_budget() -> None:
    sizes = {
        str(path.relative_to(ROOT)): (len(path.read_text().splitlines()), budget)
        for folder, budget in _LINES.items()
        for path in _sources(folder)
    }
    assert _over(sizes, _EXCUSED.keys() & sizes.keys()) == {}


def test_no_function_is_longer_than_its_budget() -> None:
    sizes = {
        f"{path.relative_to(ROOT)}:{node.name}": ((node.end_lineno or 0) - node.lineno + 1, _FUNCTION)
        for path in _sources("services", "shared", "cli", "sandbox", "tools")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert _over(sizes, _EXCUSED.keys() & sizes.keys()) == {}


def _over(sizes: Mapping[str, tuple[int, int]], excused: Set[str]) -> dict[str, int]:
    """What is over its budget; an excuse that is no longer needed has to go."""
    assert [name for name in excused if sizes[name][0] <= sizes[name][1]] == []
    budgets = {name: _EXCUSED[name][0] if name in excused else budget for name, (_, budget) in sizes.items()}
    return {name: size for name, (size, _) in sizes.items() if size > budgets[name]}


def test_the_machine_imports_nothing_but_itself_and_plain_standard_library() -> None:
    found = {
        name.split(".")[0]
        for path in _sources("services/router/rollout")
        for name in _imports(path)
        if not name.startswith("services.router.rollout")
    }
    # `from services.router import rollout` would be itself again; nothing of the kind is needed.
    assert found <= _ROLLOUT_MAY


def test_the_machine_and_the_wire_have_the_same_words_for_events() -> None:
    assert {each.name: each.value for each in texts.Event} == {each.name: each.value for each in EventType}


def test_tracing_is_set_up_in_one_place() -> None:
    strays = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in _sources(*_PRODUCT)
        for name in _imports(path)
        for package, door in _OWN_DOORS.items()
        if name.startswith(package) and path != ROOT / door
    ]
    assert strays == []


_WATCHFUL = """
import sys, threading
refused = {"socket.__new__", "socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system"}
def hook(event, arguments):
    if event in refused:
        raise RuntimeError(f"an import did {event}{arguments!r}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        raise RuntimeError(f"an import opened {arguments[0]!r} for writing")
sys.addaudithook(hook)
import importlib
for name in sys.argv[1:]:
    importlib.import_module(name)
assert threading.active_count() == 1, threading.enumerate()
print(len(sys.argv) - 1)
"""


def _import_watched(*names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-c", _WATCHFUL, *names],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_importing_any_module_opens_nothing() -> None:
    names = [
        info.name
        for package in (services, shared)
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    assert len(names) > 50
    ended = _import_watched(*names)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(len(names))]


def test_the_watch_over_imports_sees_what_it_looks_for(tmp_path: Path) -> None:
    ended = _import_watched("tests.repo.opens_a_socket")
    assert "an import did socket.__new__" in ended.stderr
