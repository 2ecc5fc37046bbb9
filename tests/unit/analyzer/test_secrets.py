"""Secrets, read by name."""

from base64 import b64encode

import pytest

from services.analyzer.secrets import KEEP, Secrets
from shared.errors import Never, RetryLater
from shared.kube.errors import Forbidden
from shared.kube.json import Json
from shared.kube.kinds import SECRET, Kind
from shared.wire.messages import SecretRef

REF = SecretRef(namespace="monitoring", name="basic")


class Objects:
    def __init__(self, found: Json | Exception | None) -> None:
        self.found = found
        self.asked: list[tuple[Kind, str, str]] = []
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        self.asked.append((kind, namespace, name))
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def secret(**data: bytes) -> Json:
    return {"data": {key: b64encode(value).decode() for key, value in data.items()}}


async def test_a_secret_is_decoded_and_kept_for_a_moment() -> None:
    objects = Objects(secret(username=b"u", password="pä".encode()))
    secrets = Secrets(objects, objects.monotonic)
    for _ in range(2):
        assert await secrets.read(REF) == {"username": "u", "password": "pä"}
    assert objects.asked == [(SECRET, "monitoring", "basic")]
    objects.now, objects.found = KEEP, {}
    assert await secrets.read(REF) == {}
    await secrets.close()


@pytest.mark.parametrize(
    ("found", "error", "text"),
    [
        (None, Never, 'secrets "basic" not found'),
        (Forbidden("secrets is forbidden"), Never, "secrets is forbidden"),
        (RetryLater("away"), RetryLater, "away"),
        (secret(a=b"\xff"), Never, 'secrets "basic" holds a value that is no text'),
        ({"data": {"a": "%"}}, Never, 'secrets "basic" holds a value that is no text'),
        ({"data": {"a": 7}}, Never, 'secrets "basic" holds a value that is no text'),
    ],
)
async def test_a_secret_that_cant_be_had(found: Json | Exception | None, error: type[Exception], text: str) -> None:
    objects = Objects(found)
    with pytest.raises(error, match=text) as raised:
        await Secrets(objects, objects.monotonic).read(REF)
    assert type(raised.value) is error
    if isinstance(found, dict):
        assert raised.value.__suppress_context__
