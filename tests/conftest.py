"""How the cluster suite is dealt out to workers, with `--dist loadgroup`: see `tests/e2e/groups.py`. And how patient
Hypothesis is."""

import os
from pathlib import PurePath

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling, Scheduling

from tests.e2e import groups

# No example is wrong for having been slow: the machine does something else besides.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A whole group to one worker, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return groups.group(PurePath(nodeid.partition("::")[0]))

    def _reschedule(self, node: object) -> None:
        """The next group with the last test, not with the last but one: tests here take minutes, and somebody else is free."""
        if self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)


def pytest_configure(config: pytest.Config) -> None:
    """Linux shares the processor among sessions first, and each server that a test starts has one of its own: workers that
    shared theirs, with the gateways, kubelets and clients in them, would share one server's part."""
    if hasattr(config, "workerinput"):
        os.setsid()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the cluster suite."""
    what = "what tests/e2e/gentle is played on: rights over the cluster, or Roles in the namespaces of its plays"
    parser.addoption("--overlay", choices=("test", "namespaced"), default="test", help=what)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Not by xdist's marks, which don't reach the workers' ids with this version of pytest."""
    if config.getoption("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first; and what holds for all gentle ones, before anybody looks at the marks."""
    paths = {item: PurePath(item.path.relative_to(config.rootpath)) for item in items}
    for item, path in paths.items():
        if path.is_relative_to(groups.GENTLE):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
    items.sort(key=lambda item: groups.turn(paths[item]))
