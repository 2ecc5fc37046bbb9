"""One suite for the gateway double, as part of `make test`, and for real gateways: `make test-gateway`.

Tests that ask an APISIX are marked `gateway`; `tests/gateway/apisix.py` says where one comes from. Where there is none, they are
skipped, and the run's last lines say so. With `SERINUS_APISIX=3.18.0` only that one is asked, and must be there.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest

from sandbox.application import ApplicationRunner
from sandbox.network import Network
from tests.gateway import apisix
from tests.gateway.desired import Target
from tests.gateway.double import double
from tests.gateway.stage import CANARY_POD, PRIMARY_POD, Stage

VERSIONS = ("2.15.3", "3.18.0")
YOURS = apisix.yours(os.environ)
DEMANDED = os.environ.get("SERINUS_APISIX", "")
_NOT_HERE = "not shown on a real APISIX"


def _asked(*, double_too: bool = True) -> list[object]:
    own = (YOURS.version,) if YOURS else ()
    real = (DEMANDED,) if DEMANDED else tuple(dict.fromkeys((*VERSIONS, *own)))
    return [
        *(pytest.param(("double", version), id=f"double-{version}") for version in VERSIONS if double_too),
        *(pytest.param(("apisix", version), id=f"apisix-{version}", marks=pytest.mark.gateway) for version in real),
    ]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], apisix.Running]]:
    """A real gateway by its version, started for the first test that asks for it. Skips the test if there is none."""
    found: dict[str, apisix.Running | apisix.Missing] = {}
    with contextlib.ExitStack() as ends:

        def find(version: str) -> apisix.Running:
            if YOURS and YOURS.version == version:
                return YOURS
            if version not in found:
                try:
                    folder = tmp_path_factory.mktemp(f"apisix-{version}")
                    found[version] = ends.enter_context(apisix.container(version, folder))
                except apisix.Missing as missing:
                    found[version] = missing
            if isinstance(gateway := found[version], apisix.Missing):
                (pytest.fail if DEMANDED else pytest.skip)(f"{_NOT_HERE} {version}: {gateway}")
            return gateway

        yield find


@pytest.fixture(params=_asked())
async def stage(request: pytest.FixtureRequest, running: Callable[[str], apisix.Running]) -> AsyncIterator[Stage]:
    """A gateway with a primary and a canary pod, and nothing applied yet."""
    kind, version = request.param
    async with _stage(kind, version, running) as found:
        yield found


@pytest.fixture(params=_asked(double_too=False))
async def real_stage(request: pytest.FixtureRequest, running: Callable[[str], apisix.Running]) -> AsyncIterator[Stage]:
    """The same where the gateway has to run Lua, which the double doesn't."""
    kind, version = request.param
    async with _stage(kind, version, running) as found:
        yield found


@contextlib.asynccontextmanager
async def _stage(kind: str, version: str, running: Callable[[str], apisix.Running]) -> AsyncIterator[Stage]:
    network = Network()
    async with contextlib.AsyncExitStack() as ends:
        user = await ends.enter_async_context(aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()))
        target: Target = await ends.enter_async_context(
            double(network, version) if kind == "double" else apisix.apisix(running(version), user)
        )
        found = Stage(target, ApplicationRunner(network, {}, at_its_ip=target.real), user)
        for ip in (PRIMARY_POD, CANARY_POD):
            await found.start(ip)
        yield found
        for ip in list(found.runner.running):
            await found.kill(ip)
    await asyncio.sleep(0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Whoever reads only the end of the run must not think that a real gateway was asked."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = {str(report.longrepr[2]) for report in reports if isinstance(report.longrepr, tuple)}
    for reason in sorted(reasons):
        if _NOT_HERE in reason:
            terminalreporter.write_line(f"!!! {reason.removeprefix('Skipped: ')}", red=True, bold=True)
