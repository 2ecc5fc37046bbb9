"""What we generate is what every version of the ingress controller takes: each strategy against each definition.

The definitions are those of real controllers where `SERINUS_APISIX_CRDS` names a folder with them
(`apisixroute-<version>.yaml`), and otherwise the project's own.
"""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.apiserver.schemas import Findings, Schema
from services.router import parse, route_objects, routes, traffic
from services.router.found import Found, RouteFound
from services.router.objects import Options
from services.router.routes import Around
from services.router.rules import Gateway
from services.router.shape import Affinity, Condition, Operator, Scope, Shape
from shared.canary.names import Names
from tests.story.theatre import guide

Json = dict[str, Any]
EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*.yaml"))
OWN = Path(__file__).parents[3] / "sandbox/crds"
FOLDER = Path(os.environ.get("SERINUS_APISIX_CRDS") or OWN)
FILES = sorted(FOLDER.glob("apisixroute-*.yaml")) or sorted(OWN.glob("apisix*.yaml"))
NAMES = Names(target="podinfo", apex="podinfo", route="podinfo")
GATEWAY = Gateway(nodes=("10.0.0.1", "fd00::1"), mirrors={80: "http://podinfo-canary.test.svc.cluster.local:80"})
EVERY_KIND = tuple(
    (Condition(scope, "X-Canary", operator, "a.b"),)
    for scope, operator in zip([*Scope, Scope.HEADER], Operator, strict=True)
)
COOKIES = Affinity(
    cookie="c", value="v", domain="example.com", path="/", same_site="None", secure=True, http_only=True, partitioned=True,
    primary_cookie="p", primary_value="w",
)  # fmt: skip
STRATEGIES = {
    "weights": Shape(weight=30),
    "blue/green": Shape(weight=100),
    "mirrored": Shape(mirror=0.1),
    "testers": Shape(pinned=EVERY_KIND),
    "testers beside weights": Shape(weight=5, pinned=EVERY_KIND),
    "testers at rest": Shape(resting=EVERY_KIND),
    "cookies": Shape(weight=20, affinity=COOKIES),
    "testers beside cookies": Shape(weight=20, affinity=COOKIES, pinned=EVERY_KIND),
    "cookies that end": Shape(affinity=Affinity(cookie="c", expired=("v", "u"))),
}


def definition(path: Path) -> Schema:
    for document in yaml.safe_load_all(path.read_text()):
        if document["metadata"]["name"] == "apisixroutes.apisix.apache.org":
            [version] = [each for each in document["spec"]["versions"] if each["name"] == "v2"]
            return Schema(version["schema"]["openAPIV3Schema"])
    raise AssertionError(f"{path} defines no ApisixRoute")


def rich() -> Json:
    """Everything that all versions have."""
    source = guide("route")
    source["spec"]["http"][0].update(
        timeout={"connect": "5s", "send": "30s", "read": "30s"},
        websocket=True,
        plugin_config_name="shared",
        authentication={"enable": True, "type": "keyAuth", "keyAuth": {"header": "X-Key"}},
        priority=-4,
    )
    source["spec"]["http"][0]["plugins"].append(
        {"name": "response-rewrite", "enable": True, "config": {"headers": {"X": "y"}}}
    )
    source["spec"]["http"][0]["match"].update(
        exprs=[{"subject": {"scope": "Query", "name": "v"}, "op": "In", "set": ["1"]}], remoteAddrs=["10.0.0.0/8"]
    )
    source["spec"]["http"][0]["backends"].append({"serviceName": "legacy", "servicePort": "http", "weight": 3})
    return source


def findings(schema: Schema, spec: Json) -> Findings:
    route = {"apiVersion": "apisix.apache.org/v2", "kind": "ApisixRoute", "metadata": {"name": "r"}, "spec": spec}
    found = Findings()
    schema.walk(route, "", found)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("source", [guide("route"), rich()], ids=["guide", "rich"])
def test_each_strategy_is_valid_in_each_version(path: Path, strategy: str, source: Json) -> None:
    schema, shape = definition(path), STRATEGIES[strategy]
    if shape.mirror:  # a rule with other backends is refused: their requests would be mirrored too
        source = guide("route")
    allowed = findings(schema, source["spec"])
    assert allowed.causes == []
    for shy in (False, True):
        spec = routes.generated_spec(source, NAMES, "test", shape, Around(gateway=GATEWAY, shy=shy))
        found = findings(schema, spec)
        assert found.causes == []
        assert set(found.unknown) <= set(allowed.unknown), "nothing of ours is dropped"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_what_each_strategys_manifest_comes_to_is_valid_in_each_version(path: Path, example: Path) -> None:
    [document] = yaml.safe_load_all(example.read_text())
    canary, schema = parse.canary(document, timedelta()), definition(path)
    routed = {each.route: RouteFound(source=guide("route")) for each in canary.names.each_route()}
    found = Found(target=guide("deployment"), nodes=("10.0.0.1",), routes=routed)
    most = traffic.most(canary)
    for shape in (most, replace(most, weight=50, mirror=0.0)):
        for names in canary.names.each_route():
            spec = route_objects.spec_of(canary, names, found, shape, Options())
            assert findings(schema, spec).causes == []


def test_all_five_real_definitions_are_there_if_any_is() -> None:
    assert len(FILES) >= (5 if FOLDER != OWN else 1)
