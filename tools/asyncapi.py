"""The AsyncAPI page of the public stream, as FastStream generates it from our models; `tools.docs` writes it.

FastStream knows neither the variables in a subject nor message headers, so those are added to what it generates.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Final

import yaml
from faststream.nats import NatsBroker
from faststream.specification import AsyncAPI

from shared.wire import subjects
from shared.wire.messages import CloudEvent, EventType

ROOT: Final = Path(__file__).parent.parent
_NOTE: Final = "# Made by `make docs` from the code; don't edit.\n"

ADDRESS: Final = "serinus.rollout.v1.{namespace}.{canary}.{type}"
"""`subjects.rollout` with names for its variables."""

_ABOUT: Final = (
    "Everything that happens in a rollout behind Serinus, as CloudEvents 1.0 in structured JSON mode. Subscribe with the "
    f"read-only NATS user `subscriber`: the JetStream stream `{subjects.PUBLIC_STREAM}` of the account `PUBLIC` keeps the "
    "events of the last seven days, so an ordered consumer can replay from any point. examples/subscribe.py does it in "
    "fifteen lines. Events of one Canary object come in the order of `data.seq`, without gaps and each once."
)
_PARAMETERS: Final[dict[str, Any]] = {
    "namespace": {"description": "Namespace of the Canary; a dot in it becomes an underscore."},
    "canary": {"description": "Name of the Canary; a dot in it becomes an underscore."},
    "type": {"description": "What happened.", "enum": [str(each) for each in EventType]},
}
_HEADERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "content-type": {"type": "string", "const": "application/cloudevents+json"},
        "Nats-Msg-Id": {"type": "string", "description": "The CloudEvent's id; a repeat is dropped by the stream."},
        "traceparent": {"type": "string", "description": "W3C trace context of the rollout, where traces are on."},
    },
}


_EXAMPLE: Final = {
    "specversion": "1.0",
    "id": "4b0f6e8e-6f0c-4a53-9c5e-0f5c8d0f2c11:7",
    "source": "/apis/flagger.app/v1beta1/namespaces/test/canaries/podinfo",
    "type": "serinus.rollout.v1.advanced",
    "subject": "test/podinfo",
    "time": "2026-01-01T12:00:00Z",
    "datacontenttype": "application/json",
    "data": {
        "canary": {"namespace": "test", "name": "podinfo", "uid": "4b0f6e8e-6f0c-4a53-9c5e-0f5c8d0f2c11"},
        "seq": 7,
        "at": "2026-01-01T12:00:00Z",
        "type": "advanced",
        "event_type": "Normal",
        "message": "Advance podinfo.test canary weight 20",
        "phase": "Progressing",
        "weight": 20,
    },
}


def document() -> dict[str, Any]:
    """AsyncAPI 3.0 of the public stream."""
    broker = NatsBroker("nats://nats:4222", description="The NATS that Serinus runs on.")
    broker.publisher(ADDRESS, title="rollouts", description="One rollout event.", schema=CloudEvent)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    page = AsyncAPI(broker, title="Serinus rollout events", version=version, description=_ABOUT, schema_version="3.0.0")
    found: dict[str, Any] = json.loads(page.to_specification().to_json())
    (channel,) = found["channels"].values()
    channel["parameters"] = _PARAMETERS
    (message,) = found["components"]["messages"].values()
    message["contentType"] = "application/cloudevents+json"
    message["headers"] = _HEADERS
    message["examples"] = [{"name": "advanced", "payload": _EXAMPLE}]
    return found


def render() -> str:
    """docs/asyncapi.yaml."""
    text = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True, width=110)
    # FastStream's name for its only server says nothing about where anybody runs it.
    return _NOTE + text.replace("#/servers/development", "#/servers/nats").replace("\n  development:\n", "\n  nats:\n")
