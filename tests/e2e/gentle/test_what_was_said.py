"""After all plays: texts that no page lists, and lines of the services' logs that nobody can read."""

import re

from sandbox.scene import Scene
from tests.e2e.plays import Programme
from tests.guide.transcript import unknown

SERVICES = ("bootstrap", "watcher", "analyzer", "router", "notifier")


async def test_nobody_says_what_no_page_lists(programme: Programme, scene: Scene) -> None:
    await programme.over()

    assert unknown(event["data"]["message"] for event in scene.listener.heard) == []


async def test_every_line_of_every_service_is_one_json_object_with_flaggers_keys(
    programme: Programme, scene: Scene
) -> None:
    await programme.over()

    for service in SERVICES:
        lines = scene.log(service)
        assert lines, service
        assert all({"level", "ts", "msg"} <= line.keys() for line in lines), service


async def test_no_service_was_refused_anything(programme: Programme, scene: Scene) -> None:
    """Each runs under its own token: a right that is missing shows as a 403 or as a violation of NATS's permissions."""
    await programme.over()

    bad = re.compile(r"HTTP 403|is forbidden: |permissions violation|Authorization", re.IGNORECASE)
    going = "because it is being terminated"  # also a 403, to everybody: one play deletes its namespace
    said = [line["msg"] for service in SERVICES for line in scene.log(service)]
    assert [each for each in said if bad.search(each) and going not in each] == []
