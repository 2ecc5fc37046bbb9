"""The page of the public stream says what the code sends."""

import jsonschema
import yaml

from shared.wire import subjects
from shared.wire.messages import EventType
from tests.integration.bus_messages import event
from tools import asyncapi


def test_the_page_is_the_same_each_time() -> None:
    assert asyncapi.render() == asyncapi.render()


def test_its_subject_is_the_one_that_events_are_published_on() -> None:
    (channel,) = asyncapi.document()["channels"].values()
    named = channel["address"].format(namespace="shop", canary="web", type="promoted")
    assert named == subjects.rollout("shop", "web", "promoted")
    assert set(channel["parameters"]) == {"namespace", "canary", "type"}
    assert channel["parameters"]["type"]["enum"] == [str(each) for each in EventType]


def test_an_event_and_the_example_fit_its_schema() -> None:
    page = yaml.safe_load(asyncapi.render())
    (message,) = page["components"]["messages"].values()
    schema = {**message["payload"], "components": page["components"]}
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(event(3).model_dump(mode="json", exclude_none=True))
    validator.validate(message["examples"][0]["payload"])
    assert list(validator.iter_errors({"id": "1"}))


def test_every_reference_leads_somewhere() -> None:
    page = yaml.safe_load(asyncapi.render())
    found = list(references(page))
    assert found
    for reference in found:
        there = page
        for part in reference.removeprefix("#/").split("/"):
            there = there[part]


def references(part: object) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [each for value in part.values() for each in references(value)]
    return [each for value in part for each in references(value)] if isinstance(part, list) else []
