"""Flagger's variables go on working; what is wrong is found at the start and never shown."""

import pytest

from services.notifier.app import Reach, global_target
from services.notifier.messages import Messenger
from services.notifier.settings import NotifierSettings
from shared.errors import RetryLater
from shared.kube.json import Json
from shared.kube.kinds import Kind

SLACK = {"SLACK_URL": "https://hooks.slack.test/s3cret", "SLACK_TOKEN": "xoxb", "SLACK_PROXY_URL": "http://proxy:3128"}
TEAMS = {"MSTEAMS_URL": "https://teams.test/s3cret", "MSTEAMS_PROXY_URL": "http://other:3128"}


def settings(monkeypatch: pytest.MonkeyPatch, **environment: str) -> NotifierSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return NotifierSettings.load()


def test_nothing_set_nobody_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings(monkeypatch, SLACK_URL="")
    assert global_target(found) is None
    assert found.event_webhook_url.get_secret_value() == ""


def test_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    found = global_target(settings(monkeypatch, **SLACK, SERINUS_SLACK_USER="bot", SERINUS_SLACK_CHANNEL="ops"))
    assert found is not None
    assert (found.kind, found.url, found.token) == (Messenger.SLACK, SLACK["SLACK_URL"], "xoxb")
    assert (found.proxy, found.username, found.channel) == ("http://proxy:3128", "bot", "ops")


def test_slacks_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    found = global_target(settings(monkeypatch, SLACK_URL=SLACK["SLACK_URL"]))
    assert found is not None
    assert (found.username, found.channel, found.token, found.proxy) == ("flagger", "general", "", "")


def test_teams_wins_with_its_own_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    found = global_target(settings(monkeypatch, **SLACK, **TEAMS))
    assert found is not None
    assert (found.kind, found.url, found.token) == (Messenger.MSTEAMS, TEAMS["MSTEAMS_URL"], "")
    assert found.proxy == "http://other:3128"


@pytest.mark.parametrize(
    "name", ["SLACK_URL", "SLACK_PROXY_URL", "MSTEAMS_URL", "MSTEAMS_PROXY_URL", "EVENT_WEBHOOK_URL"]
)
def test_a_wrong_address_stops_the_process_and_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    with pytest.raises(SystemExit) as raised:
        settings(monkeypatch, **{name: "hooks.slack.test/s3cret"})
    assert raised.value.code == 2
    assert name in caplog.text
    assert "no http or https URL" in caplog.text
    assert "s3cret" not in caplog.text


def test_settings_show_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "s3cret" not in repr(settings(monkeypatch, **SLACK, **TEAMS, EVENT_WEBHOOK_URL="https://a.test/s3cret"))


class Cluster:
    """Is away until it's told otherwise; every request is observed, as the real door does."""

    def __init__(self) -> None:
        self.reach = Reach(lambda *_: None)
        self.asked = 0
        self.outcome = "later"

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        self.asked += 1
        self.reach("get", kind.kind, self.outcome, 0.1)
        if self.outcome == "later":
            self.outcome = "gone"
            raise RetryLater("away")
        return None


class Enough(Exception):
    """So often has it looked."""


async def test_an_api_server_is_asked_only_until_it_answers() -> None:
    cluster, pauses = Cluster(), 0
    shown = [cluster.reach.trouble]

    async def sleep(_: float) -> None:
        nonlocal pauses
        pauses += 1
        shown.append(cluster.reach.trouble)
        if pauses == 5:
            raise Enough

    with pytest.raises(Enough):
        await cluster.reach.keep(cluster, "test", sleep)
    assert shown == ["not asked yet", "the API server doesn't answer", "", "", "", ""]
    assert cluster.asked == 2


def test_any_answer_shows_that_it_is_there_and_a_cancelled_request_shows_nothing() -> None:
    reach = Reach(lambda *_: None)
    for outcome, trouble in (
        ("cancelled", "not asked yet"),
        ("forbidden", ""),
        ("later", "the API server doesn't answer"),
        ("cancelled", "the API server doesn't answer"),
        ("conflict", ""),
        ("gone", ""),
    ):
        reach("patch", "Event", outcome, 0.1)
        assert reach.trouble == trouble
