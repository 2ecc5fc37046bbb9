"""What a revision is: a stable hash over a pod template and its tracked configs. Pure.

Canonical JSON (sorted keys, no blanks, nothing empty) and SHA-256: the same on every version of every library, unlike
Flagger's dump of Go types (W-G15). Empty values are left out, so that a field that an API server starts to send as
null or {} starts no rollout.
"""

import hashlib
import json as encoding
from collections.abc import Mapping
from typing import Any

from shared.kube import json
from shared.kube.json import Json

_DIGITS = {ord(str(digit)): letter for digit, letter in enumerate("456789bcdf")}


def revision(template: Json, configs: Mapping[str, str]) -> str:
    """64 hex digits for this template with configs of these checksums."""
    metadata = json.mapping(template, "metadata")
    essence = {
        "labels": metadata.get("labels"),
        "annotations": metadata.get("annotations"),
        "spec": template.get("spec"),
        "configs": dict(configs),
    }
    text = encoding.dumps(_pruned(essence), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _pruned(value: Any) -> Any:
    if isinstance(value, Mapping):
        pruned = {key: _pruned(each) for key, each in value.items()}
        return {key: each for key, each in pruned.items() if each is not None and each != {} and each != []}
    if isinstance(value, list):
        return [_pruned(each) for each in value]
    return value


def webhook_checksum(tracked: Mapping[str, str] | None, last_applied: str) -> str:
    """The `checksum` of webhook bodies: Flagger's own formula over text, golden vectors in the tests."""
    entries = "<nil>" if tracked is None else f"map[{' '.join(f'{key}:{tracked[key]}' for key in sorted(tracked))}]"
    text = (
        "(struct { TrackedConfigs *map[string]string; LastAppliedSpec string })"
        f"{{TrackedConfigs:(*map[string]string){entries} LastAppliedSpec:(string){last_applied}}}"
    )
    digest = 0x811C9DC5
    for byte in text.encode():
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return str(digest).translate(_DIGITS)
