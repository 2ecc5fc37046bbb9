"""The door to AlertProviders: each is read by name when an alert is sent, with its secret; nothing is kept or watched."""

import base64
import binascii

from services.notifier.messages import Messenger, Target, is_address
from services.notifier.ports import Objects
from shared.errors import Never
from shared.http import posting
from shared.kube import json
from shared.kube.errors import Forbidden
from shared.kube.json import Json
from shared.kube.kinds import ALERT_PROVIDER, SECRET, Kind
from shared.wire.messages import SecretRef


class Providers:
    """AlertProviders through the Kubernetes API."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def read(self, ref: SecretRef) -> Target:
        """Where this provider's alerts go. Raises Never with Flagger's text, RetryLater when nobody can say."""
        name = f"alert provider {ref.name}.{ref.namespace}"
        found = await self._object(
            ALERT_PROVIDER, ref, f"{name} error", f'alertprovider.flagger.app "{ref.name}" not found'
        )
        spec = json.mapping(found, "spec")
        address, token = json.text(spec, "address"), ""
        if secret_name := json.text(spec, "secretRef", "name"):
            secret = SecretRef(namespace=ref.namespace, name=secret_name)
            data = await self._object(SECRET, secret, f"{name} secretRef error", f'secrets "{secret_name}" not found')
            address, token = _decoded(data, "address"), _decoded(data, "token")
            if not address:
                raise Never(f"{name} secret does not contain an address")
        kind = json.text(spec, "type")
        if kind not in set(Messenger):
            raise Never(f"{name} error: provider {kind} not supported")
        if not address:
            raise Never(f"{name} has no address")
        if not is_address(address):
            raise Never(f"{name} error: invalid {kind} hook URL: {posting.host(address)}")
        proxy = json.text(spec, "proxy")
        if proxy and not is_address(proxy):
            raise Never(f"{name} error: the proxy is no http or https URL")
        return Target(
            kind=Messenger(kind),
            url=address,
            channel=json.text(spec, "channel") or "general",
            username=json.text(spec, "username") or "flagger",
            token=token,
            proxy=proxy,
        )

    async def _object(self, kind: Kind, ref: SecretRef, prefix: str, absent: str) -> Json:
        try:
            found = await self._objects.get(kind, ref.namespace, ref.name)
        except Forbidden as error:
            raise Never(f"{prefix}: {error}") from error
        if found is None:
            raise Never(f"{prefix}: {absent}")
        return found


def _decoded(secret: Json, key: str) -> str:
    """A value of a secret without the line break that editors add; empty when it's none."""
    try:
        return base64.b64decode(json.text(secret, "data", key), validate=True).decode().strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""
