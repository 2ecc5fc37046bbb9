"""`python -m bench revision|ticks|flagger|take-over|scenarios|record-flagger|calibrate`: a control plane of its own, measures, prints.

revision   from `kubectl set image` (the patch is sent) to the canary's replicas being set (the watch shows it)
ticks      how late steps are committed while 200 canaries roll out at an interval of 10 s, one replica a service
flagger    Flagger and Serinus on one API server: docs/comparison.md
take-over  Serinus takes over what a Flagger left in each phase, and gives it back
scenarios  what must cost nobody a request: each one under load, a row of a table; or those whose names begin so
record-flagger   not a figure: plays the guide with Flagger and records its objects in each phase for the tests
calibrate  how often good canaries are rolled back, and how soon bad ones: made-up traffic, no control plane
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.calibration import report
from bench.figures import distribution, machine
from bench.flagger import comparison, recording, takeover
from bench.scenarios.catalogue import played
from bench.scenarios.scenario import Outcome, table, wrong
from sandbox import crowd, prometheus
from sandbox.controlplane import binaries
from sandbox.controlplane.api import Api, Json
from sandbox.crowd import Member, Oracle
from sandbox.scene import Scene, opened
from sandbox.stage import Options

WARM_UP = 30.0  # seconds until the steps of all canaries are under way


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    names = ("revision", "ticks", "flagger", "take-over", "record-flagger", "calibrate", "scenarios")
    parser.add_argument("name", choices=names)
    parser.add_argument("--canaries", type=int, default=0, help="how many; 50, 200 and 10 by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long ticks are watched")
    parser.add_argument("scenario", nargs="*", help="with `scenarios`: those whose names begin so; all by default")
    given = parser.parse_args()
    if given.name == "calibrate":
        report.write()
        return 0
    prometheus.ensure()
    binaries.ensure()
    print(machine(), flush=True)
    if given.name == "scenarios":
        return shown(asyncio.run(played(given.scenario)))
    elif given.name == "revision":
        asyncio.run(_revision(given.canaries or 50))
    elif given.name == "flagger":
        asyncio.run(comparison.compare(given.canaries or 10))
    elif given.name == "take-over":
        return _report(asyncio.run(takeover.take_over()))
    elif given.name == "record-flagger":
        asyncio.run(recording.record())
    else:
        asyncio.run(_ticks(given.canaries or 200, given.seconds))
    return 0


def shown(rows: list[tuple[str, Outcome]]) -> int:
    """Prints the table; 1 if any row has what none may have."""
    print(table(rows))
    return _report(wrong(rows))


def _report(found: list[str]) -> int:
    for each in found:
        print(f"WRONG: {each}")
    return 1 if found else 0


@asynccontextmanager
async def _scene() -> AsyncIterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="serinus-bench-") as folder:
        async with Oracle() as oracle:
            settings = {"SERINUS_METRICS_SERVER": oracle.url, "SERINUS_DRAIN_SECONDS": "1"}
            async with opened(Path(folder), Options(settings=settings)) as scene:
                yield scene


async def _revision(count: int) -> None:
    async with _scene() as scene:
        members = await crowd.gathered(scene.stage.api, count)
        seconds = [await _scaled_up(scene.stage.api, member) for member in members]
    print(distribution("new revision → canary scaled up", [1000 * each for each in seconds], "ms"))


async def _scaled_up(api: Api, member: Member) -> float:
    """One after the other: this is about the path, not about the queue."""
    version = (await api.get(member.target))["metadata"]["resourceVersion"]
    collection = member.target.rpartition("/")[0]
    began = time.monotonic()
    await member.release(api, "app:2")
    async for event in api.watch(collection, version, fieldSelector=f"metadata.name={member.name}"):
        if event["object"]["spec"].get("replicas"):
            break
    return time.monotonic() - began


async def _ticks(count: int, seconds: float) -> None:
    async with _scene() as scene:
        api = scene.stage.api
        members = await crowd.gathered(api, count, timeout=600)
        print(f"{count} canaries at rest; releasing all", flush=True)
        await crowd.each(members, lambda member: member.release(api, "app:2"))
        await asyncio.sleep(WARM_UP)
        since = datetime.now(UTC)
        await asyncio.sleep(seconds)
        found = await api.get(members[0].canary.rpartition("/")[0])
    lateness = [late for canary in found["items"] for late in _lateness(canary, since)]
    expected = count * seconds / 10
    print(distribution("step committed after due", [each.total_seconds() for each in lateness], "s"))
    print(f"steps in {seconds:.0f} s: {len(lateness)}, at an interval of 10 s there are {expected:.0f}")


def _lateness(canary: Json, since: datetime) -> list[timedelta]:
    """Of each step that this canary committed: its verdict's id ends with the due time of its tick."""
    found = []
    for transition in canary["status"]["serinus"]["transitions"]:
        due, at = transition["cause"].rpartition("/")[2], datetime.fromisoformat(transition["at"])
        if transition["cause"].startswith("verdict/") and at > since:
            found.append(at - datetime.fromisoformat(due))
    return found


if __name__ == "__main__":
    sys.exit(main())
