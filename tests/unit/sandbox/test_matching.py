"""Which rule wins, as measured; and the conditions of `exprs`."""

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from sandbox.controlplane.api import Json
from sandbox.gateway import exprs
from sandbox.gateway.config import translate
from sandbox.gateway.dialect import dialect
from sandbox.gateway.matching import Table
from sandbox.network import ServiceTable
from tests.unit.sandbox.objects import backend, route, rule, services, slices

ANY_HOST: Json = {"hosts": []}


def winner(
    version: str, path: str, *rules: Json, method: str = "GET", host: str = "app.example.com", **headers: str
) -> str:
    """The name of the rule that answers; empty for nobody."""
    spoken = dialect(version)
    rules = tuple({**each, "backends": [backend("podinfo-primary")]} for each in rules)
    found = translate([route(*rules, name="r")], ServiceTable(services(), slices()), {}, spoken)["test", "r"]
    table = Table(found, host_first=spoken.host_first)
    match = table.find(make_mocked_request(method, path, headers=CIMultiDict({"Host": host, **headers})))
    return "" if match is None else match.rule.name.removeprefix("test_r_")


BOTH = pytest.mark.parametrize("version", ["2.15.3", "3.18.0"])


@BOTH
@pytest.mark.parametrize(
    ("path", "paths", "wins"),
    [
        ("/hello/a", ["/hello/*"], True),  # a longer path
        ("/hello", ["/hello"], True),  # an exact path
        ("/hello", ["/*", "/hello"], True),
        ("/other", ["/hello/*"], False),
    ],
)
def test_the_path_beats_priority(version: str, path: str, paths: list[str], wins: bool) -> None:
    specific = rule("specific", match={"paths": paths}, priority=0)
    assert winner(version, path, rule("wide", priority=10000), specific) == ("specific" if wins else "wide")


@BOTH
def test_an_exact_path_beats_the_prefix_of_the_same_length_and_longer(version: str) -> None:
    prefix = rule("prefix", match={"paths": ["/hello*"]}, priority=10000)

    assert winner(version, "/hello", prefix, rule("exact", match={"paths": ["/hello"]})) == "exact"
    assert winner(version, "/hello2", prefix, rule("exact", match={"paths": ["/hello"]})) == "prefix"


@pytest.mark.parametrize(("version", "wins"), [("3.18.0", "hosted"), ("3.2.0", "hostless"), ("2.15.3", "hostless")])
def test_a_host_beats_priority_in_newer_versions_only(version: str, wins: str) -> None:
    assert winner(version, "/", rule("hosted"), rule("hostless", match=ANY_HOST, priority=10000)) == wins


@BOTH
def test_priority_decides_between_equals_and_then_the_order(version: str) -> None:
    get = {"methods": ["GET"]}
    assert winner(version, "/", rule("get", match=get), rule("any", priority=10)) == "any"
    assert winner(version, "/", rule("first"), rule("second", match=get)) == "first"
    assert winner(version, "/", rule("shadowed", priority=-1), rule("user")) == "user"


@BOTH
def test_what_doesnt_fit_is_passed_over(version: str) -> None:
    post = rule("post", match={"methods": ["POST"]}, priority=5)
    insider = rule("insider", match={"exprs": [header("X-Canary", "Equal", value="insider")]}, priority=9)

    assert winner(version, "/", post, insider, rule("any")) == "any"
    assert winner(version, "/", post, insider, rule("any"), method="POST") == "post"
    assert winner(version, "/", post, insider, rule("any"), **{"X-Canary": "insider"}) == "insider"
    assert winner(version, "/", rule("any"), host="other.example.com") == ""


@BOTH
def test_hosts_without_port_and_with_wildcard(version: str) -> None:
    wild = rule("wild", match={"hosts": ["*.example.com"]})

    assert winner(version, "/", wild, host="APP.example.com:8080") == "wild"
    assert winner(version, "/", wild, host="example.org") == ""
    assert winner("3.18.0", "/", wild, rule("exact")) == "exact"


def header(name: str, op: str, **more: Any) -> Json:
    return {"subject": {"scope": "Header", "name": name}, "op": op, **more}


@pytest.mark.parametrize(
    ("op", "more", "holding"),
    [
        ("Equal", {"value": "b"}, ["b"]),
        ("NotEqual", {"value": "b"}, ["a", "Bb", "10", None]),
        ("In", {"set": ["a", "b"]}, ["a", "b"]),
        ("NotIn", {"set": ["a", "b"]}, ["Bb", "10", None]),
        ("RegexMatch", {"value": "b$"}, ["b", "Bb"]),
        ("RegexNotMatch", {"value": "b$"}, ["a", "10", None]),
        ("RegexMatchCaseInsensitive", {"value": "^b"}, ["b", "Bb"]),
        ("RegexNotMatchCaseInsensitive", {"value": "^b"}, ["a", "10", None]),
        ("GreaterThan", {"value": "9"}, ["10"]),
        ("LessThan", {"value": "11"}, ["10"]),
        ("GreaterThanEqual", {"value": "10"}, ["10"]),
        ("LessThanEqual", {"value": "10"}, ["10"]),
    ],
)
def test_operators(op: str, more: Json, holding: list[str | None]) -> None:
    found = exprs.condition(header("X-Group", op, **more))
    held = []
    for value in ("a", "b", "Bb", "10", None):
        headers = CIMultiDict({} if value is None else {"X-Group": value})
        if found.holds(make_mocked_request("GET", "/", headers=headers)):
            held.append(value)

    assert held == holding


@pytest.mark.parametrize(
    "subject",
    [
        {"scope": "Query", "name": "v"},
        {"scope": "Cookie", "name": "v"},
        {"scope": "Header", "name": "X-V"},
        {"scope": "Variable", "name": "arg_v"},
        {"scope": "Path"},
    ],
)
def test_scopes(subject: Json) -> None:
    value = "/2" if subject["scope"] == "Path" else "2"
    found = exprs.condition({"subject": subject, "op": "Equal", "value": value})
    told = CIMultiDict({"Cookie": "v=2", "X-V": "2"})

    assert found.holds(make_mocked_request("GET", "/2?v=2", headers=told))
    assert not found.holds(make_mocked_request("GET", "/3", headers=CIMultiDict()))
