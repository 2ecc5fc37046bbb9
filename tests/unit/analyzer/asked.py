"""Questions of one canary, `podinfo-canary` of target `podinfo` in `test`, so that N and T can't be mixed up."""

from datetime import UTC, datetime
from typing import Any

from shared.wire.messages import (
    CanaryRef,
    Evidence,
    Hook,
    HookPayload,
    Metric,
    MetricSource,
    Provider,
    Purpose,
    Question,
    Tick,
    TickId,
)

DUE = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PROMETHEUS = Provider(address="http://prometheus:9090")
TEMPLATE = Provider(address="http://other:9090", template="errors.monitoring")
EVIDENCE = Evidence(query="own", nodes_query="nodes", route_query="route", provider=PROMETHEUS, first_tick=False)
FIRST = EVIDENCE.model_copy(update={"first_tick": True})


def question(**parts: Any) -> Question:
    payload = HookPayload(name="podinfo-canary", namespace="test", phase="Progressing", checksum="85d557f47b")
    return Question(**({"purpose": Purpose.ANALYSIS, "payload": payload, "target": "podinfo"} | parts))


def tick(asked: Question | None = None, **parts: Any) -> Tick:
    return Tick(
        id="tick/u-1/abc/7",
        canary=CanaryRef(namespace="test", name="podinfo-canary", uid="u-1"),
        tick=TickId(revision="abc", seq=7, due=DUE),
        question=asked or question(**parts),
    )


def success_rate(lower: float | None = 99, upper: float | None = None, **parts: Any) -> Metric:
    return Metric(
        **(
            {
                "name": "request-success-rate",
                "source": MetricSource.SUCCESS_RATE,
                "query": "rate",
                "fallback": "rate of route",
                "lower": lower,
                "upper": upper,
                "provider": PROMETHEUS,
            }
            | parts
        )
    )


def duration(upper: float | None = 500, lower: float | None = None) -> Metric:
    return success_rate(lower, upper, name="request-duration", source=MetricSource.DURATION, query="p99")


def inline(upper: float | None = 5, lower: float | None = None) -> Metric:
    return success_rate(lower, upper, name="not found", source=MetricSource.QUERY, query="inline", fallback="")


def template(upper: float | None = 5, lower: float | None = None, provider: Provider = TEMPLATE) -> Metric:
    return success_rate(
        lower, upper, name="error rate", source=MetricSource.TEMPLATE, query="templated", fallback="", provider=provider
    )


def hook(kind: str = "rollout", name: str = "load-test", **parts: Any) -> Hook:
    return Hook(name=name, type=kind, **({"url": "http://tester/"} | parts))
