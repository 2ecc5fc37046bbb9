"""Who hears of a rollout, end to end: AlertProviders and the global messenger, event webhooks, with Serinus installed
from `k8s/` on the real API server, two replicas of each service.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sandbox.receiver import Post, Receiver
from sandbox.scene import Scene
from sandbox.stage import SLACK
from tests.contract import notifier_schemas as schemas
from tests.e2e.casting import WORKFLOW
from tests.e2e.plays import Play, Programme, declared, play
from tests.e2e.rollouts import PATIENCE, Rollout
from tests.e2e.short import CHECK, HALT, NEW, applied, canary, hook, told
from tests.integration.bus_stage import collected, until

EXAMPLE = Path(__file__).parents[3] / "examples/subscribe.py"
INITIALIZED = "New Deployment detected, initialization completed."
REVISION = "New revision detected, progressing canary analysis."
WAITING = "Canary traffic increase is waiting for approval."
FAILED = "Failed checks threshold reached 1"
PROMOTED = "Canary analysis completed successfully, promotion finished."


@play
async def providers(rollout: Rollout) -> None:
    """Everything that happens is heard by those who asked for it: info, a warning about a gate, an error at the end."""
    halts = hook("rollout", HALT)
    gate = {**hook("confirm-traffic-increase", CHECK), "name": "gate"}
    listed = [
        _alert("all", ""), _alert("legacy", "info"), _alert("workflow", "warn"), _alert("errors", "error"),
        _alert("absent", "info"),
    ]  # fmt: skip
    await applied(
        rollout,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "slack"},
         "stringData": {"address": f"http://{SLACK}/all", "token": "xoxb-1"}},
        _provider("all", "slack", secretRef={"name": "slack"}, channel="on-call", username="serinus"),
        _provider("legacy", "msteams", address=f"http://{SLACK}/legacy"),
        _provider("workflow", "msteams", address=f"http://{WORKFLOW}/workflows/1/triggers/manual/paths/invoke?sig=2"),
        _provider("errors", "slack", address=f"http://{SLACK}/errors"),
        canary(threshold=1, webhooks=[halts, gate], alerts=listed),
    )  # fmt: skip
    await rollout.initialized()
    await rollout.release(NEW)
    name = f"podinfo.{rollout.namespace}"
    await told(rollout, f"Halt {name} advancement waiting for traffic increase approval gate")
    rollout.open_gate()
    assert (await rollout.over())["status"]["phase"] == "Failed"

    everything, slack = [INITIALIZED, REVISION, WAITING, FAILED], rollout.scene.stage.slack
    heard = _in_order(await _until(rollout, "/all", 4))
    assert [post.json["attachments"][0]["text"] for post in heard] == everything
    assert [post.json["attachments"][0]["color"] for post in heard] == ["good", "good", "good", "danger"]
    assert {(post.json["channel"], post.json["username"]) for post in heard} == {("on-call", "serinus")}
    assert {post.headers.get("Authorization") for post in heard} == {"Bearer xoxb-1"}
    cards = _in_order(await _until(rollout, "/legacy", 4))
    assert [post.json["sections"][0]["activityTitle"] for post in cards] == everything
    adaptive = _in_order(await _until(rollout, "/workflows/1", 2))
    assert [post.json["attachments"][0]["content"]["body"][0]["text"] for post in adaptive] == [WAITING, FAILED]
    errors = await _until(rollout, "/errors", 1)
    assert [post.json["attachments"][0]["text"] for post in errors] == [FAILED]
    for posts, schema in (
        (heard + errors, schemas.SLACK), (cards, schemas.MESSAGE_CARD), (adaptive, schemas.ADAPTIVE_CARD)
    ):  # fmt: skip
        for post in posts:
            jsonschema.validate(post.json, schema)
    assert not [post for post in slack.posts if post.path == "/global" and name in post.body.decode()]
    complaint = f'alert provider absent.{rollout.namespace} error: alertprovider.flagger.app "absent" not found'
    assert await rollout.scene.logged("notifier", beginning=complaint, count=4) == [complaint] * 4


@play
async def global_slack(rollout: Rollout) -> None:
    """A Canary that names nobody is told of by the installation's own messenger, with Flagger's fields."""
    await applied(rollout, canary())
    await _released(rollout)

    posts = _in_order(await _until(rollout, "/global", 3))
    attachments = [post.json["attachments"][0] for post in posts]
    assert [each["text"] for each in attachments] == [INITIALIZED, REVISION, PROMOTED]
    assert {each["author_name"] for each in attachments} == {f"podinfo.{rollout.namespace}"}
    assert {post.json["channel"] for post in posts} == {"releases"}
    fields = [{field["title"]: field["value"] for field in each["fields"]} for each in attachments]
    assert fields[0] == {
        "Cluster": "north",
        "Target": f"Deployment/podinfo.{rollout.namespace}",
        "Failed checks threshold": "2",
        "Progress deadline": "60s",
        "Traffic routing": "Weight step: 50 max: 50",
    }
    assert fields[2] == {"Cluster": "north"}
    everything = await _until(rollout, "/everything", len(rollout.texts()))
    assert [post.json["metadata"]["eventMessage"] for post in _in_order(everything)] == rollout.texts()


@play
async def event_webhook(rollout: Rollout) -> None:
    """A Canary's own hears every event once, instead of the installation's."""
    url = f"http://{SLACK}/mine"
    await applied(rollout, canary(webhooks=[hook("event", url, metadata={"team": "shop", "eventType": "mine"})]))
    await _released(rollout)

    posts = _in_order(await _until(rollout, "/mine", len(rollout.texts())))
    assert [post.json["metadata"]["eventMessage"] for post in posts] == rollout.texts()
    assert {post.json["metadata"]["team"] for post in posts} == {"shop"}
    events = rollout.scene.listener.of(rollout.namespace)
    assert [post.json["metadata"]["eventType"] for post in posts] == [event["event_type"] for event in events]
    assert [post.json["phase"] for post in posts] == [event["phase"] for event in events]
    uid = events[0]["canary"]["uid"]
    assert [post.headers["Serinus-Event-Id"] for post in posts] == [f"{uid}:{event['seq']}" for event in events]
    assert rollout.namespace not in {
        post.json["namespace"] for post in rollout.scene.stage.slack.posts if post.path == "/everything"
    }


@play
async def deaf_messenger(rollout: Rollout) -> None:
    """One that hangs holds up neither the rollout nor its Events, nor the others' alerts; and hears it again, marked."""
    async with Receiver(delay=60) as deaf:
        await applied(
            rollout,
            _provider("deaf", "slack", address=f"{deaf.url}/deaf"),
            _provider("fine", "slack", address=f"http://{SLACK}/beside"),
            canary(alerts=[_alert("deaf", "info"), _alert("fine", "info")]),
        )
        await _released(rollout)

        await told(rollout, f"Promotion completed! Scaling down podinfo.{rollout.namespace}", "Normal")
        posts = _in_order(await _until(rollout, "/beside", 3))
        assert [post.json["attachments"][0]["text"] for post in posts] == [INITIALIZED, REVISION, PROMOTED]
        async with asyncio.timeout(PATIENCE):
            while f"{INITIALIZED} (repeated)" not in [
                post.json["attachments"][0]["text"] for post in deaf.posts if post.headers.get("Serinus-Repeated")
            ]:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_heard_by_those_who_asked(programme: Programme, play: Play[None]) -> None:
    await programme.of(play)


async def test_fifteen_lines_of_somebody_else_tell_the_same_story(scene: Scene, programme: Programme) -> None:
    """From the first event on, with the read-only account."""
    await programme.of(global_slack)
    told = [f"#{event['seq']} {event['type']} {event['weight']}% {event['message']}"
            for event in scene.listener.of("global-slack")]  # fmt: skip
    password = scene.stage.nats.credentials["subscriber"]
    url = scene.stage.nats.url.replace("nats://", f"nats://subscriber:{password}@")
    async with collected(sys.executable, "-P", str(EXAMPLE), url, "global-slack", "podinfo", cwd=Path("/")) as child:
        await until(lambda: len(child.lines) >= len(told), within=PATIENCE)
        assert [line.split(maxsplit=1)[1] for line in child.lines] == told


async def _released(rollout: Rollout) -> None:
    """Initialized, promoted, and all of it told."""
    await rollout.initialized()
    await rollout.release(NEW)
    assert (await rollout.over())["status"]["phase"] == "Succeeded"
    done = f"Promotion completed! Scaling down podinfo.{rollout.namespace}"
    await rollout.scene.listener.until(done, rollout.namespace)


def _alert(name: str, severity: str) -> dict[str, Any]:
    return {"name": name, "severity": severity, "providerRef": {"name": name}}


def _provider(name: str, kind: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "flagger.app/v1beta1", "kind": "AlertProvider", "metadata": {"name": name},
        "spec": {"type": kind, **spec},
    }  # fmt: skip


async def _until(rollout: Rollout, path: str, count: int) -> list[Post]:
    """This canary's POSTs to the path, once there are so many; more would show as well."""
    slack, wanted = rollout.scene.stage.slack, f"{rollout.namespace}".encode()

    def mine() -> list[Post]:
        return [post for post in slack.posts if post.path.startswith(path) and wanted in post.body]

    async with asyncio.timeout(PATIENCE):
        while len(mine()) < count:
            await asyncio.sleep(0.05)
    return mine()


def _in_order(posts: list[Post]) -> list[Post]:
    """As the events were numbered: posts about one canary may overtake each other."""
    return sorted(posts, key=lambda post: int(post.headers["Serinus-Event-Id"].rpartition(":")[2]))
