"""Wire schemas: N and N−1 are read, an older one is refused, a newer one waits for a newer reader."""

import json

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.bus import decoding
from shared.bus.consume import backoff
from shared.wire.messages import SCHEMA, Fact, Inbound, Nudge, Verdict

INBOUND: TypeAdapter[Fact | Verdict | Nudge] = TypeAdapter(Inbound)
NUDGE = {"kind": "nudge", "id": "n", "canary": {"namespace": "a", "name": "b", "uid": "c"}}


def decoded(**change: object) -> Fact | Verdict | Nudge:
    return decoding.decoded(INBOUND, json.dumps({**NUDGE, **change}).encode())


@pytest.mark.parametrize("wire", [SCHEMA, SCHEMA - 1])
def test_this_schema_and_the_one_before_are_read(wire: int) -> None:
    message = decoded(wire=wire)
    assert isinstance(message, Nudge)
    assert decoding.canary(message) == message.canary


def test_fields_of_a_newer_writer_of_the_same_schema_survive() -> None:
    assert decoded(of_the_future=1).model_dump()["of_the_future"] == 1


@pytest.mark.parametrize("change", [{}, {"kind": "unheard-of"}, {"canary": "not what it was"}])
def test_a_newer_schema_neednt_look_valid(change: dict[str, object]) -> None:
    with pytest.raises(decoding.NewerSchema):
        decoded(**{"wire": SCHEMA + 1, **change})


@pytest.mark.parametrize("change", [{"kind": "unheard-of"}, {"kind": "verdict", "purpose": "unheard-of"}])
def test_a_word_of_a_newer_writer_is_a_newer_schema_too(change: dict[str, object]) -> None:
    """What a release adds to an enumeration, an older one can't read."""
    verdict = {
        "tick": {"revision": "r", "seq": 1, "due": "2026-01-01T00:00:00Z"}, "purpose": "analysis", "outcome": "pass",
    }  # fmt: skip
    with pytest.raises(decoding.NewerSchema, match="unheard-of"):
        decoded(**{"wire": SCHEMA, **verdict, **change})


@pytest.mark.parametrize("change", [{}, {"kind": "forgotten"}])
def test_an_older_schema_is_refused_as_such(change: dict[str, object]) -> None:
    with pytest.raises(decoding.OldSchema):
        decoded(**{"wire": SCHEMA - 2, **change})


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"\xff", b'{"wire": "1"}', b'{"kind": "nudge"}'])
def test_what_is_broken_is_broken(body: bytes) -> None:
    with pytest.raises(ValidationError):
        decoding.decoded(INBOUND, body)


@pytest.mark.parametrize(
    ("delay", "attempts", "longest", "becomes"),
    [
        (1.0, 1, 30.0, 1.0),
        (1.0, 2, 30.0, 2.0),
        (1.0, 4, 30.0, 8.0),
        (1.0, 20, 30.0, 30.0),
        (1.0, 10_000, 30.0, 30.0),
        (0.0, 1, 30.0, 0.0),
        (0.0, 2, 30.0, 0.1),
        (60.0, 1, 30.0, 30.0),
    ],
)
def test_a_delay_doubles_with_each_attempt_up_to_a_bound(
    delay: float, attempts: int, longest: float, becomes: float
) -> None:
    assert backoff(delay, attempts, longest) == pytest.approx(becomes)
