"""Is a Prometheus new enough for our queries? Pure; prometheus.py asks it once, after its first good answer.

Others speak PromQL too (Thanos, Mimir, VictoriaMetrics) and name versions of their own, so this never keeps anybody
from being asked: what is too old says so in a sentence, and its errors are judged as any other's.
"""

import re
from typing import Final

OLDEST: Final = (2, 26)
"""The first Prometheus with `last_over_time`, which the builtin checks and the evidence are made of."""

PATH: Final = "/api/v1/status/buildinfo"


def complaint(address: str, answer: object) -> str:
    """What is to be said about the Prometheus that answered this to PATH; empty: nothing."""
    data = answer.get("data") if isinstance(answer, dict) else None
    version = data.get("version") if isinstance(data, dict) else None
    found = re.match(r"(\d+)\.(\d+)\.", version) if isinstance(version, str) else None
    # Versions of 1.x and 0.x are those of others: Prometheus itself has had this path since 2.14.
    if not found or not (2, 0) <= (int(found[1]), int(found[2])) < OLDEST:
        return ""
    return (
        f"Prometheus at {address} is {version}, and Serinus needs {OLDEST[0]}.{OLDEST[1]} or newer: its builtin checks "
        "will fail"
    )
