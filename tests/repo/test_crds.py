"""Our CRDs take everything that Flagger's take, describe every field, and the guide's manifests are valid under them."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.repo.manifests import ROOT, Json, documents
from tools import crds

_GUIDE = ROOT / "tests" / "guide"


def _schema(plural: str) -> Json:
    (definition,) = documents(ROOT / "k8s/crds" / f"{plural}.yaml")
    (version,) = definition["spec"]["versions"]
    found: Json = version["schema"]["openAPIV3Schema"]
    return found


def _at(schema: Json, path: str) -> Json | None:
    """The schema of a path such as `spec.analysis.metrics[].name`."""
    here: Any = schema
    for step in path.split("."):
        name = re.split(r"\[\]|\{\*\}", step)[0]
        here = here.get("properties", {}).get(name)
        for suffix in re.findall(r"\[\]|\{\*\}", step):
            here = here and here.get("items" if suffix == "[]" else "additionalProperties")
        if not isinstance(here, dict):
            return None
    found: Json = here
    return found


def _fields(schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from _fields(each, f"{path}.{name}")
    for key, suffix in (("items", "[]"), ("additionalProperties", "{*}")):
        if isinstance(schema.get(key), dict):
            yield from _fields(schema[key], path + suffix)


@pytest.mark.parametrize("plural", crds.NAMES)
def test_every_path_of_flagger_has_its_type(plural: str) -> None:
    schema = _schema(plural)
    wrong = []
    for path, kind, _ in crds.paths()[plural]:
        found = _at(schema, path)
        if found is None:
            wrong.append(f"{path} is missing")
        elif kind == "int-or-string":
            wrong += [] if found.get("x-kubernetes-int-or-string") else [f"{path} is no int-or-string"]
        elif found.get("type") != kind:
            wrong.append(f"{path} is {found.get('type')}, not {kind}")
    assert wrong == []


@pytest.mark.parametrize("plural", crds.NAMES)
def test_no_path_of_flagger_is_narrower_than_there(plural: str) -> None:
    """A value that Flagger's schema admits is admitted: an enum holds at least its values, nothing more is required."""
    schema = _schema(plural)
    for path, _, constraints in crds.paths()[plural]:
        found = _at(schema, path)
        assert found is not None
        assert set(found.get("required", ())) <= set(constraints.get("required", ())), path
        if "enum" in found:
            assert set(found["enum"]) >= set(constraints["enum"]), path
        for bound in ("minimum", "maximum", "pattern"):
            assert found.get(bound) == constraints.get(bound), path


@pytest.mark.parametrize("plural", crds.NAMES)
def test_every_field_is_described(plural: str) -> None:
    assert [path for path, field in _fields(_schema(plural), plural) if not field.get("description")] == [
        f"{plural}.metadata"
    ]


def test_our_part_of_the_status_is_kept() -> None:
    assert _at(_schema("canaries"), "status.serinus.transitions[].events[].message") is not None


def _guide() -> list[tuple[str, Json]]:
    kinds = {kind: plural for plural, (kind, _) in crds.NAMES.items()}
    return [
        (kinds[each["kind"]], each)
        for path in sorted(_GUIDE.glob("*.yaml"))
        for each in documents(path)
        if each["kind"] in kinds
    ]


def test_the_guide_has_canaries_and_templates_to_check() -> None:
    assert {plural for plural, _ in _guide()} == {"canaries", "metrictemplates"}


@pytest.mark.parametrize(("plural", "manifest"), _guide(), ids=lambda each: each if isinstance(each, str) else "")
def test_the_guides_manifests_are_valid(plural: str, manifest: Json) -> None:
    jsonschema.validate(manifest, _schema(plural))


def test_a_canary_that_flagger_refuses_is_refused() -> None:
    (canary,) = (each for plural, each in _guide() if plural == "canaries" and each["metadata"]["name"] == "podinfo")
    del canary["spec"]["targetRef"]["name"]
    with pytest.raises(jsonschema.ValidationError, match="'name' is a required property"):
        jsonschema.validate(canary, _schema("canaries"))
