"""The documents that messengers accept, as their vendors document them; only what we send, but nothing looser."""

from typing import Any, Final

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string", "minLength": 1}


def _closed(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "required": list(required),
        "properties": required | (optional or {}),
        "additionalProperties": False,
    }


def _list(items: Schema, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


SLACK: Final = _closed(
    {
        "channel": _TEXT,
        "username": _TEXT,
        "attachments": _list(
            _closed(
                {
                    "color": {"type": "string", "pattern": "^(good|warning|danger|#[0-9A-F]{6})$"},
                    "author_name": _TEXT,
                    "text": _TEXT,
                    "mrkdwn_in": _list({"enum": ["pretext", "text", "fields"]}),
                    "fields": _list(_closed({"title": _TEXT, "value": _TEXT, "short": {"type": "boolean"}})),
                }
            ),
            least=1,
        ),
    },
    {"icon_url": {"type": "string"}, "icon_emoji": {"type": "string", "pattern": "^:[a-z]+:$"}},
)

MESSAGE_CARD: Final = _closed(
    {
        "@type": {"const": "MessageCard"},
        "@context": {"pattern": "^https?://schema.org/extensions$"},
        "themeColor": {"type": "string", "pattern": "^[0-9A-F]{6}$"},
        "summary": _TEXT,
        "sections": _list(
            _closed(
                {
                    "activityTitle": _TEXT,
                    "activitySubtitle": _TEXT,
                    "facts": _list(_closed({"name": _TEXT, "value": _TEXT})),
                }
            ),
            least=1,
        ),
    }
)

_TEXT_BLOCK: Final = _closed(
    {"type": {"const": "TextBlock"}, "text": _TEXT},
    {
        "color": {"enum": ["Default", "Dark", "Light", "Accent", "Good", "Warning", "Attention"]},
        "weight": {"enum": ["Default", "Lighter", "Bolder"]},
        "size": {"enum": ["Default", "Small", "Medium", "Large", "ExtraLarge"]},
        "spacing": {"enum": ["Default", "None", "Small", "Medium", "Large", "ExtraLarge", "Padding"]},
        "isSubtle": {"type": "boolean"},
        "wrap": {"type": "boolean"},
    },
)
_FACT_SET: Final = _closed(
    {"type": {"const": "FactSet"}, "facts": _list(_closed({"title": _TEXT, "value": _TEXT}), least=1)}
)

ADAPTIVE_CARD: Final = _closed(
    {
        "type": {"const": "message"},
        "attachments": _list(
            _closed(
                {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "contentUrl": {"type": "null"},
                    "content": _closed(
                        {
                            "type": {"const": "AdaptiveCard"},
                            "version": {"enum": ["1.0", "1.1", "1.2", "1.3", "1.4", "1.5"]},
                            "body": _list({"anyOf": [_TEXT_BLOCK, _FACT_SET]}, least=1),
                        },
                        {
                            "$schema": {"const": "http://adaptivecards.io/schemas/adaptive-card.json"},
                            "msteams": _closed({"width": {"const": "Full"}}),
                        },
                    ),
                }
            ),
            least=1,
        ),
    }
)

GOOGLE_CARDS: Final = _closed(
    {
        "cards": _list(
            _closed(
                {
                    "header": _closed({"title": _TEXT}, {"subtitle": _TEXT, "imageUrl": _TEXT}),
                    "sections": _list(
                        _closed({"widgets": _list(_closed({"textParagraph": _closed({"text": _TEXT})}), least=1)}),
                        least=1,
                    ),
                }
            ),
            least=1,
        )
    }
)

EVENT_HOOK: Final = _closed(
    {
        "name": _TEXT,
        "namespace": _TEXT,
        "phase": {"type": "string"},
        "checksum": _TEXT,
        "metadata": {
            "type": "object",
            "required": ["eventMessage", "eventType", "timestamp"],
            "properties": {
                "eventType": {"enum": ["Normal", "Warning"]},
                "timestamp": {"type": "string", "pattern": "^[0-9]{13}$"},
            },
            "additionalProperties": {"type": "string"},
        },
    }
)
