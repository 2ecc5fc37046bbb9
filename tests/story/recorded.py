"""What a Flagger 1.44 left (tests/recorded), on the stage of the story tests."""

from datetime import datetime, timedelta

from shared.kube.json import Json
from tests.recorded.moments import objects
from tests.story.theatre import Theatre


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
