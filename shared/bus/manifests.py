"""Kubernetes Secrets as text, for kubectl to take."""

import base64
import json
from collections.abc import Mapping


def secrets(found: Mapping[str, Mapping[str, str]], kind: str = "Opaque") -> str:
    """Name → key → value as one List of the Kubernetes API, in JSON, which is YAML too. Empty when there are none."""
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "serinus"}},
            "type": kind,
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
        for name, data in found.items()
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2) + "\n" if items else ""


def data(secret: str) -> dict[str, str]:
    """Key → value of one Secret, as `kubectl get secret … -o json` prints it. Raises ValueError when it's none."""
    found = json.loads(secret)
    values = found.get("data") if isinstance(found, dict) and found.get("kind") == "Secret" else None
    if not isinstance(values, dict):
        raise ValueError("it isn't one Secret in JSON: `kubectl get secret NAME -o json` prints that")
    return {str(key): base64.b64decode(str(value)).decode() for key, value in values.items()}
