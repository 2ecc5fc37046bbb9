"""Our own definitions of ApisixRoute for controllers 1.5 and 2.2: they take what we generate and drop what theirs drop.

Where SERINUS_APISIX_CRDS names a folder with the controllers' own (`apisixroute-1.5.1.yaml`, …), ours are held against them.
"""

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sandbox.apiserver.schemas import Findings, Schema
from services.router import routes
from services.router.shape import Shape
from shared.canary import names
from shared.kube.json import Json
from tests.story.theatre import guide

CRDS: Final = Path(__file__).parents[3] / "sandbox/crds"
OURS: Final = {"1.5.1": CRDS / "apisix-1.5.yaml", "2.2.0": CRDS / "apisix-2.2.yaml"}
_FOLDER: Final = os.environ.get("SERINUS_APISIX_CRDS", "")
THEIRS: Final = {line: Path(_FOLDER) / f"apisixroute-{line}.yaml" if _FOLDER else path for line, path in OURS.items()}


@dataclass(frozen=True, slots=True)
class Stored:
    """What an API server makes of an object: faults, or what it keeps."""

    faults: list[str]
    kept: Any


def definition(path: Path) -> Schema:
    """Of v2."""
    crd = next(each for each in yaml.safe_load_all(path.read_text()) if each)
    [version] = [each for each in crd["spec"]["versions"] if each["name"] == "v2"]
    return Schema(version["schema"]["openAPIV3Schema"])


def stored(schema: Schema, route: Json) -> Stored:
    found = Findings()
    kept = schema.walk(copy.deepcopy(route), "", found)
    return Stored([str(each) for each in found.causes], kept)


def source(**rule: Any) -> Json:
    """The guide's route with something else in its rule."""
    made = guide("route")
    made["spec"]["http"][0] |= rule
    return made


def _expr(scope: str, name: str, op: str, value: str) -> Json:
    return {"subject": {"scope": scope, "name": name}, "op": op, "value": value}


_SET_COOKIE: Final = {"add": ["Set-Cookie: canary=abc; Path=/; Max-Age=3600"]}
SOURCES: Final = {
    "the guide's": source(),
    "of a class": {**source(), "spec": {"ingressClassName": "apisix", **source()["spec"]}},
    "with everything": source(
        priority=5, websocket=True, plugin_config_name="shared", timeout={"connect": "5s", "send": "30s", "read": "30s"},
        authentication={"enable": True, "type": "keyAuth", "keyAuth": {"header": "x-key"}},
        match={"paths": ["/api/*", "/exact"], "hosts": ["*.example.com"], "methods": ["GET", "POST"],
               "remoteAddrs": ["10.0.0.0/8"], "exprs": [_expr("Query", "v", "Equal", "2")]},
        backends=[{"serviceName": "podinfo", "servicePort": "http", "resolveGranularity": "service", "subset": "v1"}],
    ),
    "limited by an integer": source(plugins=[{"name": "limit-count", "enable": True, "config": {"count": 100}}]),
    "for testers": source(
        match={"paths": ["/*"], "exprs": [_expr("Header", "X-Canary", "RegexMatch", "^insider"),
                                          _expr("Cookie", "canary", "Equal", "always")]},
    ),
    "mirrored and sticky": source(plugins=[
        {"name": "proxy-mirror", "enable": True, "config": {"host": "http://podinfo-canary.test.svc.cluster.local:80", "sample_ratio": 0.1}},
        {"name": "response-rewrite", "enable": True, "config": {"vars": [["balancer_ip", "in", ["10.96.1.2"]]], "headers": _SET_COOKIE}},
    ]),
}  # fmt: skip
BROKEN: Final = {
    "no paths": source(match={"hosts": ["app.example.com"]}),
    "no name": {**source(), "spec": {"http": [{"match": {"paths": ["/*"]}, "backends": []}]}},
    "a plugin without a switch": source(plugins=[{"name": "prometheus"}]),
    "an unknown scope": source(match={"paths": ["/*"], "exprs": [_expr("Body", "x", "Equal", "1")]}),
    "a negative weight": source(backends=[{"serviceName": "podinfo", "servicePort": 80, "weight": -1}]),
    "a port that is neither": source(backends=[{"serviceName": "podinfo", "servicePort": 1.5}]),
    "no rules": {**source(), "spec": {}},
    "a method that is none": source(match={"paths": ["/*"], "methods": ["FETCH"]}),
    "half a second": source(timeout={"connect": 1}),
}


def generated(route: Json, weight: int) -> Json:
    spec = guide("canary")["spec"]
    return {**route, "spec": routes.generated_spec(route, names.of(spec), "test", Shape(weight=weight))}


@pytest.mark.parametrize("line", OURS)
@pytest.mark.parametrize("what", SOURCES)
def test_what_we_generate_is_taken_and_nothing_of_it_is_lost(line: str, what: str) -> None:
    for weight in (0, 10, 100):
        route = generated(SOURCES[what], weight)
        found = stored(definition(OURS[line]), route)
        assert found.faults == []
        route["spec"].pop("ingressClassName", None)
        kept = {key: value for key, value in found.kept["spec"].items() if key != "ingressClassName"}
        assert kept == route["spec"], "a field that is dropped would be written for ever"


def test_only_the_older_drops_the_class() -> None:
    route = SOURCES["of a class"]
    assert "ingressClassName" not in stored(definition(OURS["1.5.1"]), route).kept["spec"]
    assert stored(definition(OURS["2.2.0"]), route).kept["spec"]["ingressClassName"] == "apisix"


@pytest.mark.parametrize("line", THEIRS)
@pytest.mark.parametrize("what", [*SOURCES, *BROKEN])
def test_the_controllers_own_definition_says_the_same(line: str, what: str) -> None:
    given = (
        [SOURCES[what], *(generated(SOURCES[what], weight) for weight in (0, 50))]
        if what in SOURCES
        else [BROKEN[what]]
    )
    for route in given:
        ours, theirs = stored(definition(OURS[line]), route), stored(definition(THEIRS[line]), route)
        assert (ours.faults == []) == (theirs.faults == []), (ours.faults, theirs.faults)
        assert ours.faults or ours.kept == theirs.kept


@pytest.mark.parametrize("line", THEIRS)
def test_lists_and_columns_that_matter_are_the_same(line: str) -> None:
    def rules(path: Path) -> Json:
        crd = next(each for each in yaml.safe_load_all(path.read_text()) if each)
        [version] = [each for each in crd["spec"]["versions"] if each["name"] == "v2"]
        http: Json = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["http"]
        kinds = {key: value for key, value in http.items() if key.startswith("x-kubernetes-list")}
        return {"lists": kinds, "subresources": version["subresources"], "names": crd["spec"]["names"]["plural"]}

    assert rules(OURS[line]) == rules(THEIRS[line])
