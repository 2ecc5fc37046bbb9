"""Which tests of the cluster suite share a worker in a parallel run: those that share a scene or an API server."""

from pathlib import PurePath

GENTLE = PurePath("tests/e2e/gentle")
ROUGH = PurePath("tests/e2e/rough")
SHARING = (GENTLE, PurePath("tests/contract"))
"""Folders whose tests share an API server, whatever it takes. Those of `tests/e2e` do where they have a worker in common."""
FIRST = (
    "gentle",
    # A crowd takes the processors, and then two minutes of rest: what is short or waits comes beside it, what computes after that.
    "test_crowd", "test_night", "test_crds", "test_namespaced", "test_scenarios",
    "test_upgrade", "test_chaos", "test_docs", "test_scaling",
    # The longest that need an API server alone.
    "test_overlays", "contract", "test_manifests", "test_controlplane", "test_notifier_events", "test_cli", "test_api_servers",
)  # fmt: skip
"""These begin first, in this order; then the folders of `EARLY`, then all others. A worker that begins the last test of a group
is given the next one, which waits for it."""
EARLY = (ROUGH, PurePath("tests/integration"))


def group(path: PurePath) -> str:
    """Of a test file, by its path in the checkout."""
    return path.parent.name if path.parent in SHARING else path.stem


def turn(path: PurePath) -> int:
    """Lower ones begin first; in a run without the cluster, those that wait for servers before those that compute."""
    if group(path) in FIRST:
        return FIRST.index(group(path))
    return len(FIRST) + next((place for place, folder in enumerate(EARLY) if path.is_relative_to(folder)), len(EARLY))
