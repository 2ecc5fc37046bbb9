"""The documents, as Flagger sends them (behaviour sheet §10.4), compared as JSON text."""

import json
from pathlib import Path

import pytest

from services.notifier import messages
from services.notifier.messages import Messenger, Target, Text
from shared.wire.messages import Severity

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())
WORKFLOW = "https://prod-12.westeurope.logic.azure.com:443/workflows/abc/triggers/manual/paths/invoke?sig=s3cret"
URLS = {"adaptive": WORKFLOW}


def text(severity: Severity = Severity.INFO, *fields: tuple[str, str]) -> Text:
    return Text(author="podinfo.test", message="New revision detected.", severity=severity, fields=fields)


def target(name: str) -> Target:
    kind = Messenger.MSTEAMS if name == "adaptive" else Messenger(name)
    return Target(kind=kind, url=URLS.get(name, "https://messenger.test/hook/s3cret"))


@pytest.mark.parametrize("name", [*Messenger, "adaptive"])
def test_a_document_with_a_field(name: str) -> None:
    found = messages.payload(target(name), text(Severity.INFO, ("Target", "Deployment/podinfo.test")))
    assert json.dumps(found) == json.dumps(GOLDEN[name])


@pytest.mark.parametrize("name", ["slack", "discord", "rocket"])
def test_without_fields_the_list_is_empty(name: str) -> None:
    assert messages.payload(target(name), text())["attachments"][0]["fields"] == []


@pytest.mark.parametrize(
    ("name", "path", "calm", "bad"),
    [
        ("slack", ("attachments", 0, "color"), "good", "danger"),
        ("discord", ("attachments", 0, "color"), "good", "danger"),
        ("rocket", ("attachments", 0, "color"), "#0076D7", "#FF0000"),
        ("msteams", ("themeColor",), "0076D7", "FF0000"),
        ("adaptive", ("attachments", 0, "content", "body", 0, "color"), "Default", "Attention"),
    ],
)
def test_colours(name: str, path: tuple[str | int, ...], calm: str, bad: str) -> None:
    found = []
    for severity in Severity:
        here: object = messages.payload(target(name), text(severity))
        for step in path:
            here = here[step]  # type: ignore[index]  # a path through JSON
        found.append(here)
    assert found == [calm, calm, bad]


def test_a_card_without_fields_has_no_empty_fact_set() -> None:
    card = messages.payload(target("adaptive"), text())["attachments"][0]["content"]
    assert [each["type"] for each in card["body"]] == ["TextBlock", "TextBlock"]


def test_google_paragraphs_are_html() -> None:
    said = Text(author="a.b", message="1 < 2 & more", severity=Severity.ERROR, fields=(("a<b", "c>d"),))
    sections = messages.payload(target("gchat"), said)["cards"][0]["sections"]
    assert [each["widgets"][0]["textParagraph"]["text"] for each in sections] == [
        "<font color=#848484><strong>1 &lt; 2 &amp; more</strong></font>",
        "a&lt;b<br><font color=#848484><strong>c&gt;d</strong></font>",
    ]


@pytest.mark.parametrize(
    ("address", "card"),
    [
        (WORKFLOW, True),
        ("https://default0123.4.environment.api.powerplatform.com:443/powerautomate/automations/direct/x", True),
        ("https://prod-1.usgovtexas.logic.azure.us/workflows/abc/triggers/manual/paths/invoke", True),
        ("https://contoso.webhook.office.com/webhookb2/abc/IncomingWebhook/def", False),
        ("https://logic.azure.com.evil.test/webhook", False),
        ("https://teams.test/hook?next=/workflows/", False),
    ],
)
def test_which_urls_are_workflows(address: str, card: bool) -> None:
    assert messages.is_workflow(address) is card


@pytest.mark.parametrize(
    ("address", "posted"),
    [
        ("https://discord.test/api/webhooks/1/t", "https://discord.test/api/webhooks/1/t/slack"),
        ("https://discord.test/api/webhooks/1/t/", "https://discord.test/api/webhooks/1/t/slack"),
        ("https://discord.test/api/webhooks/1/t/slack", "https://discord.test/api/webhooks/1/t/slack"),
        ("https://discord.test/t?wait=true", "https://discord.test/t/slack?wait=true"),
    ],
)
def test_discord_takes_slacks_documents_at_a_path_of_its_own(address: str, posted: str) -> None:
    assert messages.url(Target(kind=Messenger.DISCORD, url=address)) == posted
    assert messages.url(Target(kind=Messenger.ROCKET, url=address)) == address


def test_only_slack_gets_the_token() -> None:
    for kind in Messenger:
        found = messages.headers(Target(kind=kind, url="https://a.test/", token="xoxb"))
        assert found.get("Authorization") == ("Bearer xoxb" if kind is Messenger.SLACK else None)
        assert found["Content-Type"] == "application/json"
    assert "Authorization" not in messages.headers(Target(kind=Messenger.SLACK, url="https://a.test/"))


@pytest.mark.parametrize(
    ("address", "good"),
    [("https://a.test/x", True), ("http://10.0.0.1:80", True), ("a.test/x", False), ("ftp://a.test", False),
     ("https://", False), ("http://[", False), ("http://a:99999/", False), ("", False)],
)  # fmt: skip
def test_addresses(address: str, good: bool) -> None:
    assert messages.is_address(address) is good


def test_a_target_shows_no_credential() -> None:
    shown = repr(Target(kind=Messenger.SLACK, url="https://a/s3cret", token="s3cret", proxy="http://u:s3cret@p"))
    assert "s3cret" not in shown
