"""The door to secrets: read by name when a question needs one, kept for some seconds, never watched and never logged."""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final

from services.analyzer.ports import Objects
from services.analyzer.sharing import Sharing
from shared.errors import Never
from shared.kube import json
from shared.kube.errors import Forbidden
from shared.kube.kinds import SECRET
from shared.wire.messages import SecretRef

KEEP: Final = 10.0
"""Seconds for which a secret that was read is used: a rotated one counts from the next tick on."""


class Secrets:
    """Credentials through the Kubernetes API."""

    def __init__(self, objects: Objects, monotonic: Callable[[], float]) -> None:
        self._objects = objects
        self._sharing: Sharing[Mapping[str, str]] = Sharing(KEEP, monotonic)

    async def read(self, ref: SecretRef) -> Mapping[str, str]:
        """The decoded data. Raises Never when it isn't there or mustn't be read, RetryLater when nobody can say."""
        return await self._sharing.get((ref.namespace, ref.name), lambda: self._read(ref))

    async def close(self) -> None:
        await self._sharing.close()

    async def _read(self, ref: SecretRef) -> Mapping[str, str]:
        try:
            found = await self._objects.get(SECRET, ref.namespace, ref.name)
        except Forbidden as error:
            raise Never(str(error)) from error
        if found is None:
            raise Never(f'secrets "{ref.name}" not found')
        try:
            return {key: _decoded(value) for key, value in json.mapping(found, "data").items()}
        except ValueError:
            # `from None`: the original holds the secret's bytes
            raise Never(f'secrets "{ref.name}" holds a value that is no text') from None


def _decoded(value: object) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ValueError from None
