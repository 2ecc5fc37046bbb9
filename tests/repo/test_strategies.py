"""The strategies' manifests, whole and in part, are what they say: valid, taken on, and of the strategy of their heading."""

import re
from datetime import timedelta
from typing import Any, Final

import jsonschema
import pytest
import yaml

from services.router import parse, policy
from services.router.found import Found
from services.router.rollout.spec import Strategy
from tests.repo.manifests import ROOT, Json, documents
from tools import crds

_EXAMPLES: Final = sorted((ROOT / "examples").glob("*.yaml"))
_STRATEGIES: Final = {
    "ab-testing": Strategy.AB_TESTING,
    "blue-green": Strategy.BLUE_GREEN,
    "blue-green-mirroring": Strategy.BLUE_GREEN,
    "mirroring": Strategy.CANARY,
    "session-affinity": Strategy.CANARY,
    "testers-beside-weights": Strategy.CANARY,
}


def _taken_on(canary: Json) -> parse.Canary:
    jsonschema.validate(canary, crds.crd("canaries")["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    read = parse.canary(canary, timedelta())
    assert policy.refusals(read.model, Found()) == ()
    return read


def test_every_strategy_has_an_example() -> None:
    assert {path.stem for path in _EXAMPLES} == set(_STRATEGIES)
    page = (ROOT / "docs/strategies.md").read_text()
    assert [name for name in ("A/B testing", "Blue/Green", "Mirroring", "Session affinity") if name not in page] == []


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_taken_on(path: Any) -> None:
    [canary] = documents(path)
    assert _taken_on(canary).spec.strategy is _STRATEGIES[path.stem]


def test_the_fragments_of_the_page_are_taken_on() -> None:
    page = (ROOT / "docs/strategies.md").read_text()
    fragments = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert len(fragments) == 5
    [whole] = documents(_EXAMPLES[0])
    for fragment in fragments:
        _taken_on({**whole, "spec": {**whole["spec"], **fragment}})
