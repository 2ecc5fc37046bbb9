"""The one thing that kubectl sends in Kubernetes' protobuf only: `kubectl create namespace` and `create serviceaccount`. Pure.

These kinds are little more than a name, so this reads names, labels and annotations, and the answer is JSON.
"""

from collections.abc import Iterator
from typing import Final

from sandbox.apiserver import errors
from sandbox.apiserver.kinds import Json

MEDIA_TYPE: Final = "application/vnd.kubernetes.protobuf"
_MAGIC: Final = b"k8s\x00"
_READABLE: Final = ("Namespace", "ServiceAccount")
# Field numbers of the messages runtime.Unknown, TypeMeta and ObjectMeta.
_TYPE, _RAW = 1, 2
_API_VERSION, _KIND = 1, 2
_TEXTS: Final = {1: "name", 2: "generateName", 3: "namespace"}
_MAPS: Final = {11: "labels", 12: "annotations"}


def read(raw: bytes) -> Json:
    """The object in an envelope. Raises BadRequest for what is none, UnsupportedMediaType for other kinds."""
    if not raw.startswith(_MAGIC):
        raise errors.bad_request("the body is no Kubernetes protobuf")
    envelope = dict(_fields(raw[len(_MAGIC) :]))
    kind = dict(_fields(envelope.get(_TYPE, b"")))
    name = kind.get(_KIND, b"").decode()
    if name not in _READABLE:
        raise errors.unsupported(MEDIA_TYPE, "application/json, application/yaml")
    body = dict(_fields(envelope.get(_RAW, b"")))
    return {"apiVersion": kind[_API_VERSION].decode(), "kind": name, "metadata": _metadata(body.get(1, b""))}


def _metadata(raw: bytes) -> Json:
    found: Json = {}
    for number, value in _fields(raw):
        if number in _TEXTS and value:
            found[_TEXTS[number]] = value.decode()
        elif number in _MAPS:
            entry = dict(_fields(value))
            found.setdefault(_MAPS[number], {})[entry[1].decode()] = entry.get(2, b"").decode()
    return found


def _fields(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields that hold texts or messages; numbers are passed over."""
    at = 0
    while at < len(raw):
        tag, at = _number(raw, at)
        if tag & 7 == 0:
            _, at = _number(raw, at)
        elif tag & 7 == 2:
            size, at = _number(raw, at)
            yield tag >> 3, raw[at : at + size]
            at += size
        else:
            raise errors.bad_request("the protobuf holds a field of an unexpected type")


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A varint, and where it ends."""
    value = shift = 0
    while True:
        if at >= len(raw):
            raise errors.bad_request("the protobuf is cut short")
        byte = raw[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at
