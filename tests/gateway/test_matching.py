"""Which rule answers: the longest path, then priority; conditions on header, cookie and query only rule out."""

import pytest

from sandbox.controlplane.api import Json
from tests.gateway.stage import Stage
from tests.unit.sandbox.objects import backend, rule


def named(host: str, name: str, match: Json, priority: int = 0) -> Json:
    """A rule that says its name in a header of the answer."""
    says = {"name": "response-rewrite", "enable": True, "config": {"headers": {"X-Rule": name}}}
    unique = f"{host.partition('.')[0]}-{name}"
    hosts = {"hosts": [host]} if host else {"hosts": []}
    return rule(unique, backend("podinfo-primary"), match={**hosts, **match}, priority=priority, plugins=[says])


async def winner(stage: Stage, path: str = "/", *, host: str, method: str = "GET", **headers: str) -> str:
    return (await stage.ask(path, host=host, method=method, **headers)).headers.get("X-Rule", "")


def header(name: str, op: str, **more: object) -> Json:
    return {"subject": {"scope": "Header", "name": name}, "op": op, **more}


async def test_the_path_beats_priority(stage: Stage) -> None:
    wide = {"paths": ["/*"]}
    await stage.apply(
        named("longer.test", "wide", wide, 10000), named("longer.test", "longer", {"paths": ["/hello/*"]}),
        named("exact.test", "wide", wide, 10000), named("exact.test", "exact", {"paths": ["/hello"]}),
        named("both.test", "wide", wide, 10000), named("both.test", "both", {"paths": ["/*", "/hello"]}),
    )  # fmt: skip
    assert await winner(stage, "/hello/a", host="longer.test") == "longer"
    assert await winner(stage, "/other", host="longer.test") == "wide"
    assert await winner(stage, "/hello", host="exact.test") == "exact"
    assert await winner(stage, "/hello/a", host="exact.test") == "wide"
    assert await winner(stage, "/hello", host="both.test") == "both"


async def test_a_host_beats_priority_in_newer_versions_only(stage: Stage) -> None:
    await stage.apply(named("hosted.test", "hosted", {}), named("", "hostless", {}, 10000))
    assert await winner(stage, host="hosted.test") == ("hosted" if stage.dialect.host_first else "hostless")
    assert await winner(stage, host="other.test") == "hostless"


async def test_priority_decides_between_rules_of_one_path(stage: Stage) -> None:
    """Methods and conditions give no precedence, and a rule below zero only answers what nobody else does."""
    insider = {"exprs": [header("X-Canary", "Equal", value="insider")]}
    await stage.apply(
        named("method.test", "get", {"methods": ["GET"]}), named("method.test", "any", {}, 10),
        named("below.test", "shadowed", {}, -1), named("below.test", "user", {}),
        named("above.test", "insider", insider, 10002), named("above.test", "post", {"methods": ["POST"]}, 10001),
        named("above.test", "any", {}, 10000),
    )  # fmt: skip
    assert await winner(stage, host="method.test") == "any"
    assert await winner(stage, host="below.test") == "user"
    assert await winner(stage, host="above.test") == "any"
    assert await winner(stage, host="above.test", method="POST") == "post"
    assert await winner(stage, host="above.test", **{"X-Canary": "insider"}) == "insider"


async def test_hosts_without_port_and_with_wildcard(stage: Stage) -> None:
    await stage.apply(named("*.wild.test", "wild", {}))
    assert await winner(stage, host="app.wild.test:8080") == "wild"
    assert (await stage.ask(host="wild.example.org")).status == 404


CONDITIONS: tuple[tuple[str, Json, list[str]], ...] = (
    ("equal", header("X-Group", "Equal", value="b"), ["b"]),
    ("notequal", header("X-Group", "NotEqual", value="b"), ["a", "Bb", "10", ""]),
    ("in", header("X-Group", "In", set=["a", "b"]), ["a", "b"]),
    ("notin", header("X-Group", "NotIn", set=["a", "b"]), ["Bb", "10", ""]),
    ("regex", header("X-Group", "RegexMatch", value="b$"), ["b", "Bb"]),
    ("notregex", header("X-Group", "RegexNotMatch", value="b$"), ["a", "10", ""]),
    ("regexcase", header("X-Group", "RegexMatchCaseInsensitive", value="^b"), ["b", "Bb"]),
    ("greater", header("X-Group", "GreaterThan", value="9"), ["10"]),
    ("prefix", header("X-Group", "RegexMatch", value="^B"), ["Bb"]),
)


async def test_conditions_on_a_header(stage: Stage) -> None:
    await stage.apply(*(named(f"{name}.test", name, {"exprs": [expr]}) for name, expr, _ in CONDITIONS))
    for name, _, holding in CONDITIONS:
        held = []
        for value in ("a", "b", "Bb", "10", ""):
            headers = {"X-Group": value} if value else {}
            if await winner(stage, host=f"{name}.test", **headers):
                held.append(value)
        assert held == holding, name


@pytest.mark.parametrize(
    ("scope", "path", "headers"),
    [
        ("Cookie", "/", {"Cookie": "other=no; canary=always"}),
        ("Query", "/?canary=always", {}),
        ("Header", "/", {"Canary": "always"}),
    ],
)
async def test_the_recipe_of_a_b(stage: Stage, scope: str, path: str, headers: dict[str, str]) -> None:
    """Whoever has it gets the rule above; a value that only begins like it doesn't count."""
    expr = {"subject": {"scope": scope, "name": "canary"}, "op": "RegexMatch", "value": "^(always|yes)$"}
    await stage.apply(named("ab.test", "insider", {"exprs": [expr]}, 10001), named("ab.test", "public", {}, 10000))
    longer = {name: f"{value}s" for name, value in headers.items()}
    assert await winner(stage, path, host="ab.test", **headers) == "insider"
    assert await winner(stage, "/", host="ab.test") == "public"
    assert await winner(stage, f"{path}s" if "?" in path else path, host="ab.test", **longer) == "public"


async def test_a_name_that_is_too_long_keeps_the_rule_out(stage: Stage) -> None:
    longest = stage.dialect.longest_name - len(stage.route(""))
    fits = rule("a" * longest, backend("podinfo-primary"), match={"hosts": ["fits.test"]})
    await stage.apply(fits)
    assert (await stage.ask(host="fits.test")).status == 200
    await stage.apply({**fits, "name": "a" * (longest + 1), "match": {"hosts": ["long.test"], "paths": ["/*"]}})
    assert (await stage.ask(host="long.test")).status == 404
