"""What a Flagger 1.44 left in the cluster, phase by phase: recorded by `python -m bench record-flagger`, never edited."""

import json
from pathlib import Path

from shared.kube.json import Json

FOLDER = Path(__file__).parent / "flagger-1.44"


def objects(moment: str) -> list[Json]:
    """Everything that was there."""
    found: list[Json] = json.loads((FOLDER / f"{moment}.json").read_text())["objects"]
    return found


def statuses() -> list[Json]:
    """Each status that it wrote, in order, with its `managedFields` entries and version."""
    found: list[Json] = json.loads((FOLDER / "statuses.json").read_text())["statuses"]
    return found
