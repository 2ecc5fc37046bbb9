"""The builtin queries as text; what they mean to a real Prometheus is tested in tests/integration."""

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.canary import queries

ROUTE = queries.route_pattern(["test_podinfo-podinfo-canary_method"])
NODE = queries.node_pattern(["10.1.2.3"])


def test_success_rate_is_of_the_canarys_own_nodes_and_of_failures_that_no_node_owns() -> None:
    own = r'apisix_http_status{route=~"r|6c09ff9d",node=~"10[.]1[.]2[.]3"}'
    good = r'apisix_http_status{route=~"r|6c09ff9d",node=~"10[.]1[.]2[.]3",code!~"5.."}'
    lost = r'apisix_http_status{route=~"r|6c09ff9d",node="",code=~"5.."}'

    def grown(series: str) -> str:
        now = f"last_over_time({series}[5m])"
        return f"sum_over_time(({now} - last_over_time({series}[5m] offset 1s) >= 0 or {now} * 1)[1m:1s])"

    assert queries.success_rate(queries.route_pattern(["r"]), NODE, "1m") == (
        f"(sum({grown(good)}) or on() vector(0)) / sum({grown(own)} or {grown(lost)}) * 100"
    )


def test_duration_is_the_99th_percentile_of_requests_in_milliseconds() -> None:
    text = queries.duration(ROUTE, NODE, "30s")
    assert text.startswith("histogram_quantile(0.99, sum by (le) (")
    assert 'type="request"' in text
    assert "[30s:1s]" in text


@pytest.mark.parametrize(("since", "moment"), [("1s", "1s"), ("90s", "2s"), ("1m30s", "2s"), ("1h", "60s")])
def test_a_window_is_looked_at_sixty_times_at_most(since: str, moment: str) -> None:
    text = queries.evidence(ROUTE, NODE, since)
    assert f"[{since}:{moment}]" in text
    assert f"offset {moment})" in text


@pytest.mark.parametrize(
    "text",
    [
        queries.success_rate_of_route(ROUTE, "1m"),
        queries.duration_of_route(ROUTE, "1m"),
        queries.evidence_of_route(ROUTE, "70s"),
    ],
)
def test_of_route_knows_no_node(text: str) -> None:
    assert "node" not in text
    assert "test_podinfo-podinfo-canary_method|b8e1f709" in text


def test_evidence_counts_the_canarys_answers_and_presence_any_nodes() -> None:
    assert r'node=~"10[.]1[.]2[.]3"' in queries.evidence(ROUTE, NODE, "70s")
    assert 'node!=""' in queries.nodes_present(ROUTE, "70s")
    assert 'type="upstream"' in queries.nodes_present(ROUTE, "70s")


def test_a_route_is_matched_by_name_or_by_id() -> None:
    pattern = re.compile(queries.route_pattern(["test_a.b_rule", "x"]))
    assert pattern.fullmatch("test_a.b_rule")
    assert pattern.fullmatch("8cdc1683")  # the id of "x"
    assert not pattern.fullmatch("test_aXb_rule")


@pytest.mark.parametrize("label", ["fd00::1", "[fd00::1]"])
def test_an_ipv6_node_is_matched_with_and_without_brackets(label: str) -> None:
    assert re.fullmatch(queries.node_pattern(["fd00::1"]), label)


@pytest.mark.parametrize("pattern", [queries.node_pattern([]), queries.route_pattern([])])
def test_no_address_matches_nothing_and_least_of_all_an_empty_label(pattern: str) -> None:
    assert pattern == queries.NOBODY
    assert not re.fullmatch(pattern, "")


def test_empty_patterns_of_a_caller_match_nobody_either() -> None:
    assert 'route=~"-",node=~"-"' in queries.evidence("", "", "1m")


@given(st.text())
def test_a_pattern_survives_quoting(text: str) -> None:
    quoted = queries.evidence(text, "", "1m").split('route=~"', 1)[1].split('",node=~', 1)[0]
    read = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], quoted)
    assert read == (text or queries.NOBODY)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=60), "60s"),
        (timedelta(seconds=60.2), "61s"),
        (timedelta(0), "1s"),
        (timedelta(hours=1), "3600s"),
    ],
)
def test_window(span: timedelta, text: str) -> None:
    assert queries.window(span) == text
