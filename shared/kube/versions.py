"""Is this API server new enough, and does it serve every kind that a process follows? Asked at start, of discovery.

What is missing is said in one sentence that names what to do, and waited for: somebody is probably installing it. Every
authenticated account may ask discovery; where an administrator took that away, nothing is known and nothing waits.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol

from shared.errors import Never, RetryLater
from shared.kube import json, kinds
from shared.kube.errors import Forbidden, Gone
from shared.kube.json import Json
from shared.kube.kinds import Kind

log = logging.getLogger(__name__)

OLDEST: Final = (1, 28)
"""The first Kubernetes whose groups and fields are all that we write; older ones are out of support everywhere."""

OLDEST_CONTROLLER: Final = "1.5.1"
"""The first APISIX ingress controller whose ApisixRoute was held against ours."""

PAUSE: Final = 2.0
"""Seconds between two looks while something is missing."""

_VERSION: Final = re.compile(r"v(\d+)\.(\d+)")
_INSTALL: Final = {
    kinds.CANARY.group: "apply k8s/crds",
    kinds.APISIX_ROUTE.group: f"install the CRDs of APISIX's ingress controller, {OLDEST_CONTROLLER} or newer",
}
_UPGRADE: Final = f"Serinus needs Kubernetes {OLDEST[0]}.{OLDEST[1]} or newer"


class Discovery(Protocol):
    """What is asked; shared.kube.door.Cluster is one."""

    async def read(self, path: str) -> Json:
        """A document of the API server that is no object. Raises Gone when there is none."""
        ...


async def missing(discovery: Discovery, followed: Iterable[Kind]) -> list[str]:
    """One sentence for each thing that isn't as we need it. Raises RetryLater when nobody answers."""
    told = await _version(discovery)
    for kind in sorted(set(followed), key=lambda each: (each.group, each.plural)):
        if kind.group and not await _served(discovery, kind):
            todo = _INSTALL.get(kind.group, _UPGRADE)
            told.append(f"{kind.plural} of {kind.api_version} aren't served: {todo}")
    return told


async def wait(
    discovery: Discovery,
    followed: Iterable[Kind],
    report: Callable[[bool, str], None],
    sleep: Callable[[float], Awaitable[object]],
) -> None:
    """Returns when nothing is missing; until then `report` and the log say what is, each text once."""
    wanted, last = set(followed), ""
    while True:
        try:
            told = "; ".join(await missing(discovery, wanted))
        except Forbidden as error:
            log.info("versions aren't checked: %s", error)
            told = ""
        except RetryLater as error:
            told = f"the API server doesn't answer: {error}"
        except Never as error:
            log.info("versions aren't checked: %s", error)
            told = ""
        report(not told, told)
        if not told:
            return
        if told != last:
            log.warning("waiting: %s", told)
            last = told
        await sleep(PAUSE)


async def _version(discovery: Discovery) -> list[str]:
    version = json.text(await discovery.read("/version"), "gitVersion")
    found = _VERSION.match(version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        return [f"the API server is {version}: {_UPGRADE}"]
    return []


async def _served(discovery: Discovery, kind: Kind) -> bool:
    try:
        group = await discovery.read(f"/apis/{kind.api_version}")
    except Gone:
        return False
    return any(json.text(each, "name") == kind.plural for each in json.items(group, "resources"))
