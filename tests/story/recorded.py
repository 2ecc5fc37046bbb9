"""What a Flagger 1.44 left in the cluster, phase by phase, on the stage of the story tests.

`python -m bench record-flagger` has recorded it; tests/recorded/flagger-1.44 holds a file for each moment.
"""

import json
from datetime import datetime, timedelta
from pathlib import Path

from shared.kube.json import Json
from tests.story.theatre import Theatre

FOLDER = Path(__file__).parents[1] / "recorded" / "flagger-1.44"


def objects(moment: str) -> list[Json]:
    """Everything that was there."""
    found: list[Json] = json.loads((FOLDER / f"{moment}.json").read_text())["objects"]
    return found


def left(moment: str) -> Theatre:
    """A router's first look at it, three intervals after Flagger's last write."""
    theatre = Theatre()
    theatre.cluster.objects.clear()
    for each in objects(moment):
        theatre.cluster.hold(each)
    theatre.clock.time = _last_write(theatre.canary) + timedelta(seconds=30)
    return theatre


def _last_write(canary: Json) -> datetime:
    return datetime.fromisoformat(canary["status"]["lastTransitionTime"])
