"""What one request becomes on the metrics page."""

from typing import Any

import pytest

from sandbox.gateway.dialect import dialect
from sandbox.gateway.metrics import Meter, Seen
from tests.unit.sandbox.world import parse


def seen(**changes: Any) -> Seen:
    fields: dict[str, Any] = {
        "code": 200, "route": "r", "matched_uri": "/*", "matched_host": "", "service": "", "node": "10.0.0.1",
        "source": "upstream", "request_time": 5.0, "upstream_time": 4.0, "ingress": 100, "egress": 300,
    }  # fmt: skip
    return Seen(**{**fields, **changes})


def page(*requests: Seen, version: str = "3.18.0") -> list[tuple[str, dict[str, str], float]]:
    meter = Meter(dialect(version))
    for request in requests:
        meter.count(request)
    return parse(meter.page())


def latencies(name: str, *requests: Seen) -> dict[str, float]:
    return {labels["type"]: value for found, labels, value in page(*requests) if found == f"apisix_http_latency_{name}"}


@pytest.mark.parametrize(
    ("milliseconds", "bound"), [(0.5, "1"), (1.0, "1"), (1.01, "2"), (60000, "60000"), (60001, "+Inf")]
)
def test_a_bucket_includes_its_bound(milliseconds: float, bound: str) -> None:
    samples = page(seen(request_time=milliseconds))
    counted = [
        labels["le"] for _, labels, value in samples if labels.get("le") and labels["type"] == "request" and value
    ]

    assert counted[0] == bound
    assert counted[-1] == "+Inf"


def test_the_gateways_own_time_is_the_difference_and_never_negative() -> None:
    assert latencies("sum", seen()) == {"request": 5, "upstream": 4, "apisix": 1}
    assert latencies("sum", seen(request_time=3.0)) == {"request": 3, "upstream": 4, "apisix": 0}
    assert latencies("sum", seen(upstream_time=None)) == {"request": 5, "apisix": 5}


def test_sizes_add_up() -> None:
    sizes = {labels["type"]: value for name, labels, value in page(seen(), seen()) if name == "apisix_bandwidth"}

    assert sizes == {"ingress": 200, "egress": 600}


@pytest.mark.parametrize(("version", "node"), [("2.15.3", "fd00::1"), ("3.17.0", "fd00::1"), ("3.18.0", "[fd00::1]")])
def test_ipv6_is_bracketed_since_3_18(version: str, node: str) -> None:
    nodes = {
        labels["node"]
        for name, labels, _ in page(seen(node="fd00::1"), version=version)
        if name == "apisix_http_status"
    }

    assert nodes == {node}
