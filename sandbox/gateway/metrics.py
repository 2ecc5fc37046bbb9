"""The prometheus plugin: what it counts of each request, and its page.

The families, labels and their order are those of pages captured from real data planes. Left out are the sizes of
nginx's shared dictionaries, which nothing here has.
"""

import bisect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from sandbox.gateway.dialect import Dialect

BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000)
"""Upper bounds of `apisix_http_latency`, in milliseconds."""

_LLM: Final = 'request_type="traditional_http",request_llm_model="",llm_model=""'


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request, as the log phase sees it. Times are in milliseconds, sizes in bytes."""

    code: int
    route: str
    matched_uri: str
    matched_host: str
    service: str
    node: str
    """IP of the upstream that was picked last; empty if none was."""
    source: str
    """Whose answer it was: upstream, nginx or apisix."""
    request_time: float
    upstream_time: float | None
    """None if no upstream was asked."""
    ingress: int
    egress: int


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    sum: float = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(BUCKETS, value)] += 1
        self.sum += value


class Meter:
    """The counters of one gateway. They're never reset, and a route's series outlive the route."""

    def __init__(self, dialect: Dialect) -> None:
        self.node_label = True
        """False: an administrator disabled the label `node`, so its values are empty."""
        self._dialect = dialect
        self._requests = 0
        self._status: dict[str, int] = {}
        self._latency: dict[tuple[str, str], _Histogram] = {}
        self._bandwidth: dict[tuple[str, str], int] = {}

    def arrived(self) -> None:
        """A request came, counted by the plugin or not."""
        self._requests += 1

    def count(self, seen: Seen) -> None:
        """Add a request of a route that has the plugin."""
        node = self._node(seen.node)
        own = f'route="{seen.route}",service="{seen.service}",consumer="",node="{node}"' + self._llm()
        status = (
            f'code="{seen.code}",route="{seen.route}",matched_uri="{seen.matched_uri}",'
            f'matched_host="{seen.matched_host}",service="{seen.service}",consumer="",node="{node}"' + self._llm()
        )
        if self._dialect.response_source:
            status += f',response_source="{seen.source}"'
        self._status[status] = self._status.get(status, 0) + 1
        apisix = seen.request_time - (seen.upstream_time or 0.0)
        times = {"request": seen.request_time, "upstream": seen.upstream_time, "apisix": max(apisix, 0.0)}
        for kind, time in times.items():
            if time is not None:
                self._latency.setdefault((kind, own), _Histogram()).add(time)
        for kind, size in (("ingress", seen.ingress), ("egress", seen.egress)):
            self._bandwidth[kind, own] = self._bandwidth.get((kind, own), 0) + size

    def page(self) -> str:
        """The text of the metrics page as of now."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield from _head("bandwidth", "counter", "Total bandwidth in bytes consumed per service in APISIX")
        for (kind, own), size in sorted(self._bandwidth.items()):
            yield f'apisix_bandwidth{{type="{kind}",{own}}} {size}'
        yield from _head("http_latency", "histogram", "HTTP request latency in milliseconds per service in APISIX")
        yield from self._histograms()
        yield from _head("http_requests_total", "gauge", "The total number of client requests since APISIX started")
        yield f"apisix_http_requests_total {self._requests}"
        yield from _head("http_status", "counter", "HTTP status codes per service in APISIX")
        for status, number in sorted(self._status.items()):
            yield f"apisix_http_status{{{status}}} {number}"
        yield from _head("nginx_http_current_connections", "gauge", "Number of HTTP connections")
        for state in ("accepted", "active", "handled", "reading", "waiting", "writing"):
            number = self._requests if state in ("accepted", "handled") else 1 if state in ("active", "writing") else 0
            yield f'apisix_nginx_http_current_connections{{state="{state}"}} {number}'
        yield from _head("nginx_metric_errors_total", "counter", "Number of nginx-lua-prometheus errors")
        yield "apisix_nginx_metric_errors_total 0"
        yield from _head("node_info", "gauge", "Info of APISIX node")
        version = f',version="{self._dialect.version}"' if self._dialect.llm_labels else ""
        yield f'apisix_node_info{{hostname="sandbox"{version}}} 1'

    def _histograms(self) -> Iterator[str]:
        known = sorted(self._latency.items())
        for (kind, own), histogram in known:
            for bound, number in zip((*BUCKETS, "+Inf"), itertools.accumulate(histogram.counts), strict=True):
                if not number:
                    continue  # a bucket begins with its first request
                yield f'apisix_http_latency_bucket{{type="{kind}",{own},le="{bound}"}} {number}'
        for (kind, own), histogram in known:
            yield f'apisix_http_latency_count{{type="{kind}",{own}}} {sum(histogram.counts)}'
        for (kind, own), histogram in known:
            yield f'apisix_http_latency_sum{{type="{kind}",{own}}} {histogram.sum:.14g}'

    def _llm(self) -> str:
        return f",{_LLM}" if self._dialect.llm_labels else ""

    def _node(self, ip: str) -> str:
        if not self.node_label:
            return ""
        return f"[{ip}]" if ":" in ip and self._dialect.bracketed else ip


def _head(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP apisix_{name} {text}", f"# TYPE apisix_{name} {kind}"
