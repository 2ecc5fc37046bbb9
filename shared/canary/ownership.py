"""Whose Canary it is, and who else writes its status. Pure."""

from typing import Final

from shared.kube import json
from shared.kube.json import Json

PROVIDER: Final = "apisix"
ROUTER: Final = "serinus-router"
"""The field manager of the one service that writes."""


def ours(canary: Json, default_provider: str = PROVIDER) -> bool:
    """Serinus owns a Canary whose provider is apisix, or empty while apisix is the default."""
    return (json.text(canary, "spec", "provider") or default_provider) == PROVIDER


def foreign_status_write(old: Json | None, new: Json, manager: str = ROUTER) -> bool:
    """Did (or could) somebody besides `manager` write the status between `old` and `new`?

    `managedFields` say when a manager last changed a field of the status, to the second. So a foreign entry that is new
    or has moved is a foreign write, and so is one no older than ours: within one second nobody can tell. Where there are
    no entries at all, nobody can tell either. A wrong yes costs one look, a wrong no loses a write.
    """
    before, after = status_writers(old), status_writers(new)
    own = after.pop(manager, "")
    if not own and not after:
        return True
    return any(before.get(other) != time or time >= own for other, time in after.items())


def status_writers(canary: Json | None) -> dict[str, str]:
    """When each manager last wrote the status; RFC 3339 in UTC, so text order is time order."""
    written: dict[str, str] = {}
    for entry in json.items(canary, "metadata", "managedFields"):
        if json.text(entry, "subresource") == "status":
            manager = json.text(entry, "manager")
            written[manager] = max(written.get(manager, ""), json.text(entry, "time"))
    return written
