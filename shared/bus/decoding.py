"""Bytes to messages: which wire schemas this code reads, and how it tells a newer writer from a broken one."""

from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from shared.errors import Never
from shared.wire.messages import SCHEMA, CanaryRef, Message, Notice

M = TypeVar("M", bound=Message)


_WORDS: Final = frozenset({"enum", "literal_error", "union_tag_invalid"})
"""What pydantic calls a word that isn't among those that a field may hold."""


class NewerSchema(Exception):
    """The writer of this message is newer than we are."""


class OldSchema(Never):
    """The writer is older than the previous release."""


def decoded(decode: TypeAdapter[M], body: bytes) -> M:
    """Looks at the schema version first: what is newer needn't look valid to us."""
    try:
        message = decode.validate_json(body)
        wire: object = message.wire
    except ValidationError as error:
        wire = _wire(body)
        if wire == SCHEMA and {each["type"] for each in error.errors()} <= _WORDS:
            word = error.errors()[0]
            raise NewerSchema(f"a word that came later: {word['loc']} is {word['input']!r}") from error
        if not isinstance(wire, int) or SCHEMA - 1 <= wire <= SCHEMA:
            raise
        message = None
    if isinstance(wire, int) and wire > SCHEMA:
        raise NewerSchema(f"wire schema {wire} is newer than {SCHEMA}")
    if message is None or message.wire < SCHEMA - 1:
        raise OldSchema(f"wire schema {wire} is older than {SCHEMA - 1}")
    return message


def _wire(body: bytes) -> object:
    try:
        found = from_json(body)
    except ValueError:
        return None
    return found.get("wire") if isinstance(found, dict) else None


def canary(message: Message) -> CanaryRef | None:
    """Whose message it is, for logs and traces."""
    found = message.event.canary if isinstance(message, Notice) else getattr(message, "canary", None)
    return found if isinstance(found, CanaryRef) else None
