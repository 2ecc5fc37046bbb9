"""What messengers are sent: one JSON document each, Flagger's (behaviour sheet §10.4). Pure.

MS Teams has two. Microsoft retired the connectors that took a MessageCard; a Power Automate workflow ("When a Teams
webhook request is received") takes an Adaptive Card. The URL tells which of them listens.
"""

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from shared.kube.json import Json
from shared.wire.messages import Severity

_WORKFLOW_HOSTS: Final = (".logic.azure.com", ".powerplatform.com", ".powerautomate.com")
_GOOD_BAD: Final = ("good", "danger")
_BLUE_RED: Final = ("#0076D7", "#FF0000")
_GREY: Final = "<font color=#848484><strong>{}</strong></font>"


class Messenger(StrEnum):
    """Types of AlertProviders."""

    SLACK = "slack"
    MSTEAMS = "msteams"
    DISCORD = "discord"
    ROCKET = "rocket"
    GCHAT = "gchat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where alerts go. What may hold a credential is never shown."""

    kind: Messenger
    url: str = field(repr=False)
    channel: str = "general"
    username: str = "flagger"
    token: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What people read."""

    author: str
    message: str
    severity: Severity
    fields: tuple[tuple[str, str], ...] = ()

    def one_of(self, colours: tuple[str, str]) -> str:
        """Info and warn share a colour."""
        return colours[self.severity is Severity.ERROR]


def payload(target: Target, text: Text) -> Json:
    """The body of the POST."""
    match target.kind:
        case Messenger.SLACK | Messenger.DISCORD:
            return _slack(target, text, _GOOD_BAD)
        case Messenger.ROCKET:
            return _slack(target, text, _BLUE_RED)
        case Messenger.MSTEAMS:
            return _adaptive_card(text) if is_workflow(target.url) else _message_card(text)
        case Messenger.GCHAT:
            return _google_card(text)


def url(target: Target) -> str:
    """Discord understands Slack's document at a path of its own."""
    if target.kind is not Messenger.DISCORD:
        return target.url
    parts = urlsplit(target.url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith("/slack") else f"{path}/slack"))


def headers(target: Target) -> Mapping[str, str]:
    authorization = {"Authorization": f"Bearer {target.token}"} if target.token else {}
    return {"Content-Type": "application/json"} | (authorization if target.kind is Messenger.SLACK else {})


def is_address(address: str) -> bool:
    """Can anything be posted there?"""
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_workflow(address: str) -> bool:
    """Does this URL belong to a Power Automate workflow?"""
    parts = urlsplit(address)
    return (parts.hostname or "").endswith(_WORKFLOW_HOSTS) or "/workflows/" in parts.path


def _slack(target: Target, text: Text, colours: tuple[str, str]) -> Json:
    return {
        "channel": target.channel,
        "username": target.username,
        "icon_url": "",
        "icon_emoji": ":rocket:",
        "attachments": [
            {
                "color": text.one_of(colours),
                "author_name": text.author,
                "text": text.message,
                "mrkdwn_in": ["text"],
                "fields": [{"title": name, "value": value, "short": False} for name, value in text.fields],
            }
        ],
    }


def _message_card(text: Text) -> Json:
    return {
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": text.one_of(_BLUE_RED).removeprefix("#"),
        "summary": text.author,
        "sections": [
            {
                "activityTitle": text.message,
                "activitySubtitle": text.author,
                "facts": [{"name": name, "value": value} for name, value in text.fields],
            }
        ],
    }


def _adaptive_card(text: Text) -> Json:
    """Version 1.4 is what Teams shows on desktop and phone; `color` is a word of the theme, not of ours."""
    body: list[Json] = [
        {
            "type": "TextBlock",
            "text": text.message,
            "weight": "Bolder",
            "size": "Medium",
            "color": text.one_of(("Default", "Attention")),
            "wrap": True,
        },
        {"type": "TextBlock", "text": text.author, "isSubtle": True, "spacing": "None", "wrap": True},
    ]
    if text.fields:
        body.append({"type": "FactSet", "facts": [{"title": name, "value": value} for name, value in text.fields]})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": body,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _google_card(text: Text) -> Json:
    """Its paragraphs are HTML, so what an error says in angle brackets is escaped."""
    sections = [_paragraph(_GREY.format(html.escape(text.message, quote=False)))]
    for name, value in text.fields:
        sections.append(_paragraph(f"{html.escape(name)}<br>{_GREY.format(html.escape(value, quote=False))}"))
    header = {"title": "Flagger", "subtitle": text.author, "imageUrl": "https://flagger.app/favicon.png"}
    return {"cards": [{"header": header, "sections": sections}]}


def _paragraph(text: str) -> Json:
    return {"widgets": [{"textParagraph": {"text": text}}]}
