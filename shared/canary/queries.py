"""PromQL of the builtin checks: pure text, rendered by the router, asked by the analyzer.

What the texts rest on, measured on real gateways:

* `node` is the upstream address that answered; it is empty where the gateway answered by itself. So the canary's own
  numbers are the series of its own addresses, and a 5xx without a node is the gateway's failure to reach anybody.
* A route is labelled with its name (`prefer_name: true`) or with the CRC-32 of that name, so both are matched.
* Series of a route outlive it, and a scrape that failed once makes every series stale at that moment. So counters are
  compared through `last_over_time`, which looks past such a gap; an instant selector would see no earlier value and
  take the counter's whole life for new requests.

Patterns are plain regular expressions; quoting them for PromQL happens here and nowhere else.
"""

import math
import re
import zlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from shared.canary.resource import seconds

ONLINE: Final = "vector(1)"
"""Asked to see whether a Prometheus answers at all; the answer must be 1."""

NOBODY: Final = "-"
"""A node pattern that no address matches. An empty pattern would match the series that have no node."""

LOOKBACK: Final = "5m"
"""How far back a counter's last sample is taken from; Prometheus' own default for instant selectors."""

MOMENTS: Final = 60
"""Into how many a window is divided to see counters begin anew; a moment is a second at least."""

_STATUS: Final = "apisix_http_status"
_LATENCY: Final = "apisix_http_latency"
_UPSTREAM: Final = 'type="upstream"'
_ANY_NODE: Final = 'node!=""'
_PROBES: Final = "/?(healthz|livez|readyz|health|ready|metrics)"
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$]")


def route_pattern(names: Iterable[str]) -> str:
    """Matches the `route` label of these APISIX routes, be it the name or the id."""
    return "|".join(f"{_literal(name)}|{zlib.crc32(name.encode()):x}" for name in names) or NOBODY


def node_pattern(addresses: Iterable[str]) -> str:
    """Matches the `node` label of these IP addresses; newer gateways put IPv6 in brackets, older ones don't.

    It holds no backslash: people put it between double quotes in their templates, where PromQL would want two.
    """
    return "|".join(_address(ip) for ip in sorted(set(addresses))) or NOBODY


def _address(ip: str) -> str:
    """`[^0-9a-f:]` is what a bracket is and no part of an address."""
    return f"[^0-9a-f:]?{ip}[^0-9a-f:]?" if ":" in ip else ip.replace(".", "[.]")


def window(span: timedelta) -> str:
    """A PromQL duration of at least that span, in whole seconds."""
    return f"{max(1, math.ceil(span.total_seconds()))}s"


def success_rate(route_regex: str, node_regex: str, interval: str) -> str:
    """Percent of the canary's requests within the interval that weren't answered 5xx.

    A 5xx without a node is charged to the canary: it may have been the canary that couldn't be reached. 0 when
    everything fails; nothing (or NaN) when there was no traffic.
    """
    own = _series(_STATUS, route_regex, _node(node_regex))
    good = _series(_STATUS, route_regex, _node(node_regex), 'code!~"5.."')
    lost = _series(_STATUS, route_regex, 'node=""', 'code=~"5.."')
    return _percent(_grown(good, interval), f"{_grown(own, interval)} or {_grown(lost, interval)}")


def success_rate_of_route(route_regex: str, interval: str) -> str:
    """The same over primary and canary together, where no `node` label tells them apart."""
    every = _series(_STATUS, route_regex)
    good = _series(_STATUS, route_regex, 'code!~"5.."')
    return _percent(_grown(good, interval), _grown(every, interval))


def duration(route_regex: str, node_regex: str, interval: str, part: str = "request") -> str:
    """99th percentile of the canary's latency within the interval, in milliseconds.

    `part` is `request`, all of it with the transfer to the client, or `upstream`, what the node took.
    """
    return _p99(_series(f"{_LATENCY}_bucket", route_regex, f'type="{part}"', _node(node_regex)), interval)


def duration_of_route(route_regex: str, interval: str, part: str = "request") -> str:
    """The same over primary and canary together."""
    return _p99(_series(f"{_LATENCY}_bucket", route_regex, f'type="{part}"'), interval)


def blame(route_regex: str, node_regex: str, interval: str) -> str:
    """How many of the canary's requests failed within the interval, `by` whose answer: application or gateway.

    The gateway's are those without a node, and where it says so (`response_source`, APISIX from 3.17 on) those that it
    made up itself because the node refused or took too long. Elsewhere a node's failures are the application's.
    """
    failed = 'code=~"5.."'
    made = 'response_source=~"nginx|apisix"'
    own = _grown(_series(_STATUS, route_regex, _node(node_regex), failed, made.replace("=~", "!~")), interval)
    given = _grown(_series(_STATUS, route_regex, _node(node_regex), failed, made), interval)
    lost = _grown(_series(_STATUS, route_regex, 'node=""', failed), interval)
    return f"{_named(f'sum({own})', 'application')} or {_named(f'sum({given} or {lost})', 'gateway')}"


def statuses(route_regex: str, since: str) -> str:
    """Answers of the whole route since then, by `node` and `code`; a comparison sorts them itself."""
    return f"sum by (node, code) ({_grown_anew(_series(_STATUS, route_regex), since)})"


def latencies(route_regex: str, since: str) -> str:
    """Requests of the whole route since then that took an upstream no longer than `le`, by `node`."""
    return f"sum by (node, le) ({_grown_anew(_series(f'{_LATENCY}_bucket', route_regex, _UPSTREAM), since)})"


def shares(route_regex: str, since: str) -> str:
    """Requests of the whole route since then by `node`, each gateway (`instance`) for itself."""
    return f"sum by (instance, node) ({_grown(_series(_STATUS, route_regex), since)})"


def evidence(route_regex: str, node_regex: str, since: str) -> str:
    """How many requests the canary itself answered within the last `since`."""
    return f"sum({_grown(_series(_STATUS, route_regex, _node(node_regex)), since)})"


def evidence_of_route(route_regex: str, since: str) -> str:
    """How many requests of the route reached any upstream within the last `since`.

    Counted by upstream latency, which exists only where an upstream was used: a route that answers everything by
    itself (a redirect, a refused login) moves no request to anybody and gives no evidence.
    """
    return f"sum({_grown(_series(f'{_LATENCY}_count', route_regex, _UPSTREAM), since)})"


def nodes_present(route_regex: str, since: str) -> str:
    """Those of `evidence_of_route` that carry a node; none of some means that the `node` label is switched off."""
    return f"sum({_grown(_series(f'{_LATENCY}_count', route_regex, _UPSTREAM, _ANY_NODE), since)})"


def pods_success_rate(namespace: str, target: str, interval: str) -> str:
    """Percent of the requests that the canary's pods say they didn't answer 5xx, whoever sent them."""
    own = _of_pods("count", namespace, target)
    good = _of_pods("count", namespace, target, 'status!~"5.*"', 'code!~"5.*"')
    return _percent(_either(good, interval), _either(own, interval))


def pods_duration(namespace: str, target: str, interval: str) -> str:
    """99th percentile of what the canary's pods say they took, in milliseconds."""
    return f"histogram_quantile(0.99, sum by (le) ({_either(_of_pods('bucket', namespace, target), interval)})) * 1000"


def pods_evidence(namespace: str, target: str, since: str) -> str:
    """How many requests the canary's pods say they answered within the last `since`."""
    return f"sum({_either(_of_pods('count', namespace, target), since)})"


def _of_pods(part: str, namespace: str, target: str, *matchers: str) -> tuple[str, ...]:
    """The usual histogram of HTTP servers, by the usual names of pods: of Flagger's Prometheus, and of its operator's.

    What probes and scrapes ask is nobody's traffic.
    """
    pods = _quoted(f"{_literal(target)}-[0-9a-z]+-[0-9a-z]+")
    return tuple(
        f"http_request_duration_seconds_{part}{{"
        + ",".join((f"{space}={_quoted(namespace)}", f"{pod}=~{pods}", f"path!~{_quoted(_PROBES)}", *matchers))
        + "}"
        for space, pod in (("kubernetes_namespace", "kubernetes_pod_name"), ("namespace", "pod"))
    )


def _either(series: tuple[str, ...], since: str) -> str:
    return " or ".join(_grown(each, since) for each in series)


def _grown(series: str, since: str) -> str:
    """By how much each counter grew: the sum of what it grew from one moment to the next, where one that is less than
    before has begun anew. So a gateway that restarts hides nothing of before or after, and what is counted of one window
    fits together: goods without their failures, or the other way round, would be an alarm about nobody.

    Rejected: `rate()` and `increase()`. They need two samples inside the window and never see a counter's first
    value, so the first failures of a canary, and short steps altogether, would be invisible to them.
    """
    moment = _moment(since)
    now, before = f"last_over_time({series}[{LOOKBACK}])", f"last_over_time({series}[{LOOKBACK}] offset {moment})"
    # Times one, since a series that keeps its metric's name would be another one than its own differences.
    return f"sum_over_time(({now} - {before} >= 0 or {now} * 1)[{since}:{moment}])"


def _grown_anew(series: str, since: str) -> str:
    """The same, but what came after a restart of the gateway, if there was one: a comparison needs numbers of one time.

    A counter that is less now, or was less in between, has begun anew.
    """
    now, before = f"last_over_time({series}[{LOOKBACK}])", f"last_over_time({series}[{LOOKBACK}] offset {since})"
    whole = (
        f"{now} - {before} unless min_over_time({series}[{since}]) - {before} < 0 unless resets({series}[{since}]) > 0"
    )
    return f"({whole} or {now})"


def _moment(since: str) -> str:
    """A sixtieth of the window, so that a long one costs no more than a short one; by it a window may lag behind."""
    return window(timedelta(seconds=seconds(since) / MOMENTS))


def _named(query: str, name: str) -> str:
    return f'label_replace({query}, "by", "{name}", "", "")'


def _percent(part: str, whole: str) -> str:
    """Zero percent, rather than nothing, where the part has no series at all."""
    return f"(sum({part}) or on() vector(0)) / sum({whole}) * 100"


def _p99(series: str, interval: str) -> str:
    return f"histogram_quantile(0.99, sum by (le) ({_grown(series, interval)}))"


def _node(node_regex: str) -> str:
    return f"node=~{_quoted(node_regex or NOBODY)}"


def _series(metric: str, route_regex: str, *matchers: str) -> str:
    return f"{metric}{{{','.join((f'route=~{_quoted(route_regex or NOBODY)}', *matchers))}}}"


def _literal(text: str) -> str:
    """The text itself as a regular expression of RE2, which Prometheus uses."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def _quoted(text: str) -> str:
    """A PromQL string: double quotes, with backslash, quote and newline escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
