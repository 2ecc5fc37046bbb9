"""Messages of every released wire schema stay readable: the files in golden/<schema> are never edited.

A new field gets a new file beside them; a schema that changes what is there gets a new folder, and the folder of the
schema before the previous one goes.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.bus.decoding import NewerSchema, OldSchema, decoded
from shared.wire import messages
from shared.wire.messages import (
    SCHEMA,
    CloudEvent,
    DeadLetter,
    Fact,
    Glance,
    Inbound,
    Model,
    Notice,
    Nudge,
    Tick,
    Verdict,
)

GOLDEN: Final = Path(__file__).parent / "golden"

READERS: Final[dict[str, TypeAdapter[Any]]] = {
    "fact": TypeAdapter(Inbound),
    "verdict": TypeAdapter(Inbound),
    "nudge": TypeAdapter(Inbound),
    "tick": TypeAdapter(Tick),
    "glance": TypeAdapter(Glance),
    "notice": TypeAdapter(Notice),
    "cloud_event": TypeAdapter(CloudEvent),
    "dead_letter": TypeAdapter(DeadLetter),
}
"""How services read each kind; a file's name begins with its kind."""

SUMS: Final = {
    "1/cloud_event.json": "cf10d5f13bb36ec2",
    "1/dead_letter.json": "e1e70a56a8d09114",
    "1/fact.json": "7669111f998d27c1",
    "1/fact_config.json": "4a27d21fef6ff5cb",
    "1/fact_deleted.json": "18ee6551d41979b2",
    "1/glance.json": "c892b87f2c943082",
    "1/glance_drain.json": "3805be16a458dd4c",
    "1/notice.json": "9f94529d9b31b1ff",
    "1/nudge.json": "47bc6bc330c4bb00",
    "1/tick.json": "48faa4c744bdda2a",
    "1/tick_comparison.json": "6e2fc6a7d1ea2bcf",
    "1/tick_drain.json": "8de0876814fc51cd",
    "1/tick_shift.json": "b0e24df7fdb98745",
    "1/verdict.json": "b38a3b1472b21d53",
    "1/verdict_abort.json": "f9c11da72dcef13e",
}
"""First 16 hex digits of each file's SHA-256: editing one is no accident."""

FILES: Final = sorted(str(path.relative_to(GOLDEN)) for path in GOLDEN.glob("*/*.json"))


def read(file: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / file).read_text())
    return found


def reader(file: str) -> TypeAdapter[Any]:
    stem = Path(file).stem
    return next(READERS[kind] for kind in sorted(READERS, key=len, reverse=True) if stem.startswith(kind))


def test_no_file_was_edited_or_lost() -> None:
    sums = {file: hashlib.sha256((GOLDEN / file).read_bytes()).hexdigest()[:16] for file in FILES}
    assert sums == SUMS


def test_the_schemas_that_are_read_are_there() -> None:
    assert {int(file.split("/")[0]) for file in FILES} == {each for each in (SCHEMA - 1, SCHEMA) if each > 0}


@pytest.mark.parametrize("file", FILES)
def test_it_is_read_and_nothing_of_it_is_lost(file: str) -> None:
    body = read(file)
    message = reader(file).validate_python(body)
    assert json.loads(message.model_dump_json(exclude_none=True)) == body


@pytest.mark.parametrize("file", FILES)
def test_fields_of_a_newer_writer_survive_everywhere(file: str) -> None:
    body = newer(read(file))
    message = reader(file).validate_python(body)
    assert json.loads(message.model_dump_json(exclude_none=True)) == body


def newer(value: Any, path: tuple[str, ...] = ()) -> Any:
    """The same with a field that we don't know in every object that is a model of ours."""
    if isinstance(value, list):
        return [newer(each, path) for each in value]
    if not isinstance(value, dict):
        return value
    grown = {name: newer(each, (*path, name)) for name, each in value.items()}
    free = path[-1:] in (("headers",), ("metadata",))  # maps of people's own words, no models
    return grown if free else grown | {"invented_later": {"by": ["a", "newer"]}}


@pytest.mark.parametrize("file", [file for file in FILES if "wire" in read(file)])
def test_of_other_schemas_the_previous_is_read_the_older_refused_the_newer_left_to_others(file: str) -> None:
    def of(schema: object) -> bytes:
        return json.dumps(read(file) | {"wire": schema}).encode()

    assert decoded(reader(file), of(SCHEMA - 1)).wire == SCHEMA - 1
    with pytest.raises(OldSchema):
        decoded(reader(file), of(SCHEMA - 2))
    with pytest.raises(NewerSchema):
        decoded(reader(file), of(SCHEMA + 1))
    with pytest.raises(NewerSchema):  # even where nothing else of it makes sense to us
        decoded(reader(file), json.dumps({"wire": SCHEMA + 1, "kind": "invention"}).encode())
    with pytest.raises(ValidationError):
        decoded(reader(file), of("one"))


def test_every_field_of_every_message_is_in_a_file() -> None:
    """So that none of them can be renamed, or given another type, unnoticed."""
    seen: set[tuple[str, str]] = set()
    for file in FILES:
        if file.startswith(f"{SCHEMA}/"):
            seen |= set(_set_fields(reader(file).validate_python(read(file))))
    wanted = {(model.__name__, name) for model in _models() for name in model.model_fields}
    assert wanted - seen == set(), "add a file that has them; don't edit those that are there"


def _set_fields(model: BaseModel) -> Iterator[tuple[str, str]]:
    for name in model.model_fields_set & type(model).model_fields.keys():
        yield type(model).__name__, name
        value = getattr(model, name)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, BaseModel):
                yield from _set_fields(each)


def _models() -> set[type[BaseModel]]:
    """All that can be part of a message."""
    roots: list[type[BaseModel]] = [Fact, Verdict, Nudge, Tick, Glance, Notice, CloudEvent, DeadLetter]
    found: set[type[BaseModel]] = set()
    while roots:
        model = roots.pop()
        if model not in found:
            found.add(model)
            for field in model.model_fields.values():
                roots += [each for each in _parts(field.annotation) if issubclass(each, BaseModel)]
    return found


def _parts(annotation: Any) -> Iterator[type]:
    if get_origin(annotation) in (tuple, dict, list, Union, UnionType):
        for each in get_args(annotation):
            yield from _parts(each)
    elif isinstance(annotation, type):
        yield annotation


def test_all_models_of_the_wire_are_part_of_a_message_and_keep_what_they_do_not_know() -> None:
    every = {each for each in vars(messages).values() if isinstance(each, type) and issubclass(each, Model)} - {
        Model,
        messages.Message,
    }
    assert every == _models()
    assert all(model.model_config.get("extra") == "allow" and model.model_config.get("frozen") for model in every)
