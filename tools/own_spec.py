"""The fields of a Canary's spec that Flagger doesn't have, for tools/crds.py."""

from typing import Any, Final

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

_ALPHA: Final = {"minimum": 0, "maximum": 1}
_POINTS: Final = {"minimum": 0, "maximum": 100}

JUDGING: Final[tuple[tuple[str, str, dict[str, Any], str], ...]] = (
    ("spec.analysis.minRequests", "integer", {"minimum": 1},
     "Ours: requests that the canary itself must have answered in a step before it may pass; 1 by default."),
    ("spec.analysis.metrics[].noData", "string", {"enum": ["fail", "hold", "ignore"]},
     "Ours: what a metric without values means. `fail` by default, as in Flagger."),
    ("spec.analysis.metrics[].latency", "string", {"enum": ["request", "upstream"]},
     "Ours, for request-duration: `request` (default) includes the transfer to the client, `upstream` is the workload's part."),
    ("spec.analysis.compare", "object", {}, "Ours: judge the canary against the primary over the same window. `{}` takes the defaults."),
    ("spec.analysis.compare.alpha", "number", _ALPHA,
     "How likely a rollout of an equally good canary may be told to be worse; 0.05 by default."),
    ("spec.analysis.compare.floor", "number", _POINTS,
     "Percentage points by which the canary may fail more than the primary; 1 by default."),
    ("spec.analysis.compare.latencyFloor", "number", _POINTS,
     "Percentage points by which more of the canary's requests may be slow; 5 by default, 100 leaves latency out."),
    ("spec.analysis.compare.minSample", "integer", {"minimum": 1},
     "Requests that both sides need before they are compared; 50 by default."),
    ("spec.analysis.compare.warmup", "string", {"pattern": "^[0-9]+(m|s)"},
     "Time after the first weight that isn't compared, for cold starts; 45s by default."),
    ("spec.analysis.fastAbort", "object", {}, "Ours: look at the canary between checks, and roll back at once if it plainly fails. `{}` takes the defaults."),
    ("spec.analysis.fastAbort.alpha", "number", _ALPHA,
     "How likely a rollout of an unbroken canary may be aborted; 0.001 by default."),
    ("spec.analysis.fastAbort.floor", "number", _POINTS,
     "Percent of its requests that a canary may fail without being called broken; 10 by default."),
    ("spec.analysis.fastAbort.every", "string", {"pattern": "^[0-9]+(m|s)"}, "Time between two looks, at least 1s; 5s by default."),
)  # fmt: skip
"""How a canary is judged beyond Flagger: (path, type, constraints, description)."""
