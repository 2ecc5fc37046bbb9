"""`Canary.status` of older and newer versions: read where its words are known, kept whole, and left alone otherwise.

The files in golden/<schema> are never edited: a status of that schema is in somebody's cluster.
"""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from services.router import beyond, status
from services.router.rollout.machine import Decision
from services.router.rollout.state import Phase, invariants
from shared.canary import ownership
from shared.errors import RetryLater
from shared.wire import messages as wire
from tests.story.theatre import Theatre, progressing

GOLDEN: Final = Path(__file__).parent / "golden"
NOW: Final = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
FILES: Final = sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("*/*.json"))

SUMS: Final = {
    "1/failed.json": "fb1608d2ac11076a",
    "1/finalising.json": "5056e81c38fbb374",
    "1/halted.json": "0b33988011fd94f2",
    "1/held.json": "180e93549c3fb54c",
    "1/initialized.json": "3c433644c693aec7",
    "1/progressing.json": "5500a6daaf4253dc",
    "1/promoting.json": "f2c13f6c77120d69",
    "1/succeeded.json": "3bed507d3e2f6462",
}
"""First 16 hex digits of each file's SHA-256: editing one is no accident."""


def read(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / file).read_text())
    return found


def document(own: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"namespace": "test", "name": "podinfo", "uid": "u1", "resourceVersion": "7"}, "status": own}


def rewritten(found: dict[str, Any]) -> dict[str, Any]:
    """The status after a commit that changes nothing but its number."""
    state, own = status.decode(document(found)), found["serinus"]
    recorded = status.Recorded(
        kind="Deployment", configs=own["configs"], nodes=status.known_nodes(document(found)), cause="c",
        generation=own["observedGeneration"], writers=own.get("writers", {}),
    )  # fmt: skip
    decision = Decision(replace(state, transition=state.transition + 1), (), "rule")
    return status.encode(document(found), decision, recorded, NOW)


def newer(value: Any) -> Any:
    """The same with a field that we don't know in every object but the map of configs."""
    if isinstance(value, list):
        return [newer(each) if isinstance(each, dict) else each for each in value]
    if not isinstance(value, dict):
        return value
    free = ("configs", "trackedConfigs", "writers")
    return {name: each if name in free else newer(each) for name, each in value.items()} | {"invented_later": ["x"]}


def test_no_file_was_edited_or_lost() -> None:
    sums = {file: hashlib.sha256((GOLDEN / file).read_bytes()).hexdigest()[:16] for file in FILES}
    assert sums == SUMS


def test_the_schemas_that_are_read_are_there() -> None:
    schema = status.SCHEMA
    assert {int(file.split("/")[0]) for file in FILES} == {each for each in (schema - 1, schema) if each > 0}


@pytest.mark.parametrize("file", FILES)
def test_it_is_read(file: str) -> None:
    found = read(file)
    assert beyond.problem(document(found)) == ""
    state = status.decode(document(found))
    assert invariants(state) == []
    assert (str(state.phase), state.weight) == (found["phase"], found["canaryWeight"])
    assert (state.tick is None) == ("tick" not in found["serinus"])
    assert (state.hold is None) == ("hold" not in found["serinus"])


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("schema", [None, status.SCHEMA - 1, status.SCHEMA, status.SCHEMA + 1])
def test_a_commit_keeps_every_field_that_it_doesnt_know(file: str, schema: int | None) -> None:
    """A downgrade and an upgrade lose nothing."""
    found = newer(read(file))
    found["serinus"].pop("schema")
    if schema is not None:
        found["serinus"]["schema"] = schema
    assert beyond.problem(document(found)) == ""
    after = rewritten(found)
    changed = {"transition", "transitions", "schema"}
    assert {key: value for key, value in after["serinus"].items() if key not in changed} == {
        key: value for key, value in found["serinus"].items() if key not in changed
    }
    assert after["serinus"]["transitions"][:-1] == found["serinus"]["transitions"]
    assert after["serinus"]["schema"] == status.SCHEMA, "of who wrote it last"
    assert after["invented_later"] == ["x"]
    assert [each for each in after["conditions"] if "invented_later" not in each] == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema": status.SCHEMA + 2}, f"schema is 3 and this version reads up to {status.SCHEMA + 1}"),
        ({"stage": "dreaming"}, 'stage is "dreaming", which this version doesn\'t know'),
        (
            {"tick": {"seq": 1, "due": "2026-01-01T00:00:00Z", "purpose": "guess"}},
            'tick.purpose is "guess", which this version doesn\'t know',
        ),
        (
            {"transitions": [{"phase": "Hovering"}]},
            'transitions[].phase is "Hovering", which this version doesn\'t know',
        ),
    ],
)
def test_a_word_that_it_doesnt_know_is_named_with_the_way_out(change: dict[str, Any], text: str) -> None:
    found = read("1/progressing.json")
    found["serinus"] |= change
    assert beyond.problem(document(found)) == f"status.serinus.{text}: install the newer version of Serinus again"


async def grown_beyond_us() -> Theatre:
    theatre = await progressing()
    theatre.cluster.write_status("Canary", "podinfo", {"serinus": {"stage": "dreaming"}}, ownership.ROUTER)
    return theatre


async def test_while_a_newer_replica_may_be_there_the_message_is_left_to_it() -> None:
    theatre = await grown_beyond_us()
    before = len(theatre.cluster.writes)
    with pytest.raises(RetryLater, match="dreaming"):
        await theatre.fact()
    assert (len(theatre.cluster.writes), theatre.heard()) == (before, [])


async def test_after_a_downgrade_it_is_left_as_it_stands_and_people_are_told_once() -> None:
    theatre = await grown_beyond_us()
    kept, before = theatre.canary["status"]["serinus"], len(theatre.cluster.writes)
    theatre.clock.time += timedelta(minutes=2)
    for _ in range(3):
        await theatre.fact()
    assert len(theatre.cluster.writes) == before + 1
    assert theatre.canary["status"]["serinus"] == kept
    conditions = {each["type"]: each for each in theatre.canary["status"]["conditions"]}
    refused = conditions["Supported"]
    assert (refused["status"], refused["reason"]) == ("False", "NewerStatus")
    assert conditions["Promoted"]["reason"] == Phase.PROGRESSING
    (notice,) = [each for each in theatre.bus.notices() if "/beyond/" in each.id]
    assert notice.event.message == f"Holding podinfo.test: {refused['message']}"
    assert (notice.event.type, notice.event.event_type) == (wire.EventType.HOLD, "Warning")
    assert await theatre.look() == ""


async def test_with_the_newer_version_back_it_goes_on_where_it_stood() -> None:
    theatre = await grown_beyond_us()
    theatre.clock.time += timedelta(minutes=2)
    await theatre.fact()
    theatre.cluster.write_status("Canary", "podinfo", {"serinus": {"stage": "judging"}}, ownership.ROUTER)
    weight = theatre.canary["status"]["canaryWeight"]
    await theatre.tick()
    assert theatre.canary["status"]["canaryWeight"] == weight + 10
    conditions = {each["type"]: each["status"] for each in theatre.canary["status"]["conditions"]}
    assert conditions["Supported"] == "True"


async def test_an_event_of_a_type_that_came_later_is_told_by_its_text() -> None:
    theatre = await progressing()
    own = theatre.canary["status"]["serinus"]
    last = own["transitions"][-1]
    event = {"seq": own["seq"] + 1, "type": "levitated", "eventType": "Normal", "message": "Levitating podinfo.test"}
    transitions = [*own["transitions"], {**last, "seq": own["transition"] + 1, "cause": "later", "events": [event]}]
    change = {"transitions": transitions, "transition": own["transition"] + 1, "seq": own["seq"] + 1}
    theatre.cluster.write_status("Canary", "podinfo", {"serinus": change}, ownership.ROUTER)
    theatre.restart()
    await theatre.fact()
    assert "Levitating podinfo.test" in theatre.heard()
