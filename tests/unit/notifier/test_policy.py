"""Whom an event is told and what becomes of the telling, row by row."""

from datetime import timedelta

import pytest

from services.notifier import policy
from services.notifier.messages import Messenger, Target
from services.notifier.policy import Ended, Ending
from shared.http.posting import Attempt
from shared.http.webhooks import Called
from shared.wire.messages import SecretRef, Severity
from tests.unit.notifier.told import AT, NOW, alert, event, hook, notice, route

SLACK = Target(kind=Messenger.SLACK, url="https://hooks.slack.test/T/B/s3cret")
TEAMS = Target(kind=Messenger.MSTEAMS, url="https://teams.test/s3cret")
PROVIDER = SecretRef(namespace="test", name="slack")


@pytest.mark.parametrize(
    ("listed", "receives"),
    [
        ("", ["info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
        ("loud", ["info", "warn", "error"]),
    ],
)
def test_severities(listed: str, receives: list[str]) -> None:
    assert [each for each in Severity if policy.wants(route(severity=listed), each)] == receives


def test_recipients() -> None:
    told = alert(Severity.WARN, route("a"), route("b", "error"), route("c", "warn", "ops"), route("a", "warn"))
    assert policy.recipients(notice(), told) == (
        ("alert/u-1:7/test/a", SecretRef(namespace="test", name="a")),
        ("alert/u-1:7/ops/c", SecretRef(namespace="ops", name="c")),
    )
    assert policy.recipients(notice(), alert()) == (("alert/u-1:7/", None),)
    assert policy.recipients(notice(), alert(Severity.INFO, route("a", "error"))) == ()


def test_the_text_names_the_cluster_first_and_a_repetition_last() -> None:
    said = alert(fields=(("Target", "Deployment/podinfo.test"),))
    first = policy.text(notice(), said, "east", repeated=False)
    assert (first.author, first.message) == ("podinfo.test", "New revision detected.")
    assert first.fields == (("Cluster", "east"), ("Target", "Deployment/podinfo.test"))
    again = policy.text(notice(), said, "", repeated=True)
    assert (again.message, again.fields) == ("New revision detected. (repeated)", said.fields)


def test_own_event_webhooks_silence_the_global_one() -> None:
    everybody = policy.global_webhook("http://all.test/")
    assert everybody is not None
    assert (everybody.name, everybody.timeout_seconds, everybody.retries) == ("events", 10, 0)
    assert policy.webhooks(notice(), everybody) == (("hook/u-1:7/0/events", everybody),)
    own = (hook("a"), hook("b"))
    assert policy.webhooks(notice(hooks=own), everybody) == (
        ("hook/u-1:7/0/a", own[0]),
        ("hook/u-1:7/1/b", own[1]),
    )
    assert policy.webhooks(notice(), policy.global_webhook("")) == ()


def test_event_metadata_cant_be_overridden() -> None:
    asked = hook(metadata={"eventType": "mine", "team": "a"})
    told, payload = policy.told(asked, notice(event(event_type="Warning")), repeated=False)
    assert told.metadata == {
        "team": "a",
        "eventMessage": "Advance podinfo.test canary weight 10",
        "eventType": "Warning",
        "timestamp": "1795521600500",
    }
    assert (payload.name, payload.namespace, payload.phase, payload.checksum) == (
        "podinfo", "test", "Progressing", "85d557f47b",
    )  # fmt: skip
    again, _ = policy.told(asked, notice(), repeated=True)
    assert again.metadata["repeated"] == "true"


def test_older_than_the_markers() -> None:
    assert not policy.too_old(event(), AT + timedelta(hours=22))
    assert policy.too_old(event(), AT + timedelta(hours=24))


BAD = "alert provider slack.test send error: sending notification "
POSTS = [
    (Attempt(status=200, body="ok"), Ending.DELIVERED, "", 1.0),
    (Attempt(status=204), Ending.DELIVERED, "", 1.0),
    (Attempt(status=200, body='{"ok":true}'), Ending.DELIVERED, "", 1.0),
    (Attempt(status=200, body='{"ok":false,"error":"invalid_auth"}'), Ending.REFUSED,
     f"{BAD}bad response 200: invalid_auth", 1.0),
    (Attempt(status=200, body='{"ok":false,"error":"ratelimited"}', retry_after="9"), Ending.UNDELIVERED,
     f"{BAD}bad response 200: ratelimited", 9.0),
    (Attempt(status=404, body="no_service\n"), Ending.REFUSED, f"{BAD}bad response 404: no_service", 1.0),
    (Attempt(status=304), Ending.REFUSED, f"{BAD}bad response 304: ", 1.0),
    (Attempt(status=429, retry_after="30"), Ending.UNDELIVERED, f"{BAD}bad response 429: ", 30.0),
    (Attempt(status=503, body="later"), Ending.UNDELIVERED, f"{BAD}bad response 503: later", 1.0),
    (Attempt(cause="connection refused"), Ending.UNDELIVERED,
     f"{BAD}failed: POST https://hooks.slack.test: connection refused", 1.0),
    (Attempt(cause="EOF", unsure=True), Ending.UNSURE, f"{BAD}failed: POST https://hooks.slack.test: EOF", 1.0),
    (Attempt(cause="certificate verify failed", final=True), Ending.REFUSED,
     f"{BAD}failed: POST https://hooks.slack.test: certificate verify failed", 1.0),
]  # fmt: skip


@pytest.mark.parametrize(("attempt", "ending", "text", "delay"), POSTS)
def test_what_an_alerts_post_came_to(attempt: Attempt, ending: Ending, text: str, delay: float) -> None:
    ended = policy.judge_post(SLACK, PROVIDER, attempt, NOW)
    assert ended == Ended(ending=ending, text=text, delay=delay)
    assert ended.again == (ending in (Ending.UNDELIVERED, Ending.UNSURE))
    assert "s3cret" not in ended.text


def test_only_slack_says_its_errors_in_a_200() -> None:
    said = Attempt(status=200, body='{"ok":false}')
    assert policy.judge_post(TEAMS, None, said, NOW).ending is Ending.DELIVERED
    failed = policy.judge_post(SLACK, None, said, NOW)
    assert failed.text == "alert can't be sent: sending notification bad response 200: unknown"


GIVEN_UP = "error sending event to webhook: POST http://listener.test giving up after 2 attempt(s)"
CALLS = [
    (Called(last=Attempt(status=202), attempts=1), Ending.DELIVERED, ""),
    (Called(last=Attempt(status=202), attempts=2, unsure=True), Ending.DELIVERED, ""),
    (Called(last=Attempt(status=400, body="no"), attempts=1), Ending.REFUSED, "error sending event to webhook: no"),
    (Called(last=Attempt(status=503), attempts=2), Ending.UNDELIVERED, GIVEN_UP),
    (Called(last=Attempt(status=503), attempts=2, unsure=True), Ending.UNSURE, GIVEN_UP),
    (
        Called(last=Attempt(cause="connection refused"), attempts=2),
        Ending.UNDELIVERED,
        f"{GIVEN_UP}: connection refused",
    ),
    (Called(last=Attempt(cause="EOF", unsure=True), attempts=2, unsure=True), Ending.UNSURE, f"{GIVEN_UP}: EOF"),
    (Called(last=Attempt(cause="bad", final=True), attempts=2), Ending.REFUSED, f"{GIVEN_UP}: bad"),
]


@pytest.mark.parametrize(("called", "ending", "text"), CALLS)
def test_what_a_webhooks_call_came_to(called: Called, ending: Ending, text: str) -> None:
    ended = policy.judge_call(hook(), called, NOW)
    assert (ended.ending, ended.text) == (ending, text)
    assert "t0ken" not in ended.text
