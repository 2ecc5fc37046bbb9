"""The fields of a Canary's spec that Flagger doesn't have, for tools/crds.py."""

from typing import Final

from tools.own_status import TEXT, Schema, described

FURTHER_ROUTES: Final[Schema] = {
    "description": "More ApisixRoutes that lead to the apex Service; each gets a generated route of its own.",
    "type": "array",
    "items": {
        "description": "One of them.",
        "type": "object",
        "required": ["apiVersion", "kind", "name"],
        "properties": {
            "apiVersion": described(TEXT, "Its API version."),
            "kind": described({**TEXT, "enum": ["ApisixRoute"]}, "Its kind."),
            "name": described(TEXT, "Name of what is meant."),
        },
    },
}
