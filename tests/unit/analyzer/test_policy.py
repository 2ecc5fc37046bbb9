"""Every sentence of the judge, and every way in which an answer may not be a pass."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analyzer import evidence, policy
from services.analyzer.policy import Answer, Fault, Reply, Sightings
from shared.wire.messages import (
    Check,
    CheckKind,
    Evidence,
    Metric,
    MetricSource,
    Outcome,
    Provider,
    Purpose,
    SecretRef,
)
from tests.unit.analyzer.asked import (
    EVIDENCE,
    FIRST,
    PROMETHEUS,
    TEMPLATE,
    duration,
    hook,
    inline,
    question,
    success_rate,
    template,
    tick,
)

NOTHING = Answer()
NAN = Answer(value=math.nan)
DEAD = Answer(error="request failed: connection refused", fault=Fault.QUERY)
AWAY = Answer(error="get secrets: connection refused", fault=Fault.CLUSTER)
ZERO, SOME = Answer(value=0.0), Answer(value=42.0)
MOVED = Sightings(own=SOME, nodes=SOME, route=SOME)
STILL = Sightings(own=NOTHING, nodes=NOTHING, route=NOTHING)
UNSERVED = Sightings(own=ZERO, nodes=SOME, route=SOME)
LABEL_OFF = Sightings(own=NOTHING, nodes=NOTHING, route=SOME)

SILENT = "Halt advancement no values found for apisix metric"
QUIET = "probably podinfo.test is not receiving traffic"


def judged(metric: Metric, answer: Answer, seen: Sightings | None = None, asked: Evidence | None = None) -> Check:
    return policy.judge_metric(question(evidence=asked), metric, answer, seen)


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (success_rate(), 98.765, "Halt podinfo-canary.test advancement success rate 98.77% < 99%"),
        (success_rate(99.5), 99.4999, "Halt podinfo-canary.test advancement success rate 99.50% < 99.5%"),
        (success_rate(None, 50), 100, "Halt podinfo-canary.test advancement success rate 100.00% > 50%"),
        (success_rate(), 99, ""),
        (success_rate(None, 99), 99, ""),
        (success_rate(None, None), 0, ""),
        (duration(), 501.9, "Halt podinfo-canary.test advancement request duration 501ms > 500ms"),
        (duration(), 500.9, ""),
        (duration(500.9), 501, "Halt podinfo-canary.test advancement request duration 501ms > 500ms"),
        (duration(60_000), 90_005, "Halt podinfo-canary.test advancement request duration 1m30.005s > 1m0s"),
        (duration(None, 100), 99, "Halt podinfo-canary.test advancement request duration 99ms < 100ms"),
        (duration(), math.inf, "Halt podinfo-canary.test advancement request duration +Inf > 500ms"),
        (inline(), 5.001, "Halt podinfo-canary.test advancement not found 5.00 > 5"),
        (inline(None, 1e6), 3, "Halt podinfo-canary.test advancement not found 3.00 < 1e+06"),
        (inline(), 5, ""),
        (template(), math.inf, "Halt podinfo-canary.test advancement error rate +Inf > 5"),
        (template(0.5), 0.75, "Halt podinfo-canary.test advancement error rate 0.75 > 0.5"),
        (template(None, 2), -1, "Halt podinfo-canary.test advancement error rate -1.00 < 2"),
    ],
)
def test_bounds_are_inclusive_and_told_as_flagger_does(metric: Metric, value: float, text: str) -> None:
    check = judged(metric, Answer(value=float(value)))
    assert (check.outcome, check.message) == (Outcome.FAIL if text else Outcome.PASS, text)


def test_a_check_shows_its_value_bounds_and_query() -> None:
    check = judged(duration(500.9, 10), Answer(value=20.7))
    assert (check.kind, check.type, check.query) == (CheckKind.METRIC, "duration", "p99")
    assert (check.value, check.lower, check.upper) == (20.0, 10, 500.9)


@pytest.mark.parametrize("answer", [NOTHING, NAN])
@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (success_rate(), f"{SILENT} request-success-rate {QUIET}: running query failed: no values found"),
        (duration(), f"{SILENT} request-duration {QUIET}"),
        (inline(), "Halt advancement no values found for metric: not found"),
        (template(), "Halt advancement no values found for custom metric: error rate: no values found"),
    ],
)
def test_no_values_fail(metric: Metric, text: str, answer: Answer) -> None:
    for seen, asked in ((None, None), (STILL, EVIDENCE), (MOVED, FIRST), (MOVED, EVIDENCE)):
        check = judged(metric, answer, seen, asked)
        assert (check.outcome, check.message, check.value) == (Outcome.FAIL, text, None)


@pytest.mark.parametrize("metric", [success_rate(), duration(), inline(), template()])
def test_no_values_hold_only_on_a_steps_first_tick_before_anything_moved(metric: Metric) -> None:
    check = judged(metric, NOTHING, STILL, FIRST)
    assert (check.outcome, check.message, check.reason) == (Outcome.HOLD, "", policy.NOT_MOVED)
    unknown = Sightings(own=DEAD, nodes=DEAD, route=DEAD)
    assert judged(metric, NOTHING, unknown, FIRST).outcome is Outcome.FAIL


def test_the_provider_in_the_text_is_the_questions() -> None:
    asked = question(provider_name="apisix:service")
    check = policy.judge_metric(asked, duration(), NOTHING, None)
    assert check.message.startswith("Halt advancement no values found for apisix:service metric request-duration")


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (success_rate(), "Prometheus query failed: running query failed: request failed: connection refused"),
        (duration(), "Prometheus query failed: running query failed: request failed: connection refused"),
        (inline(), "Prometheus query failed for not found: request failed: connection refused"),
        (template(), "Metric query failed for error rate: request failed: connection refused"),
    ],
)
def test_a_dead_prometheus_is_an_error(metric: Metric, text: str) -> None:
    check = judged(metric, DEAD, STILL, FIRST)
    assert (check.outcome, check.message) == (Outcome.ERROR, text)


@pytest.mark.parametrize(
    ("provider", "fault", "error", "text"),
    [
        (
            TEMPLATE.model_copy(update={"secret": SecretRef(namespace="monitoring", name="basic")}),
            Fault.SECRET,
            'secrets "basic" not found',
            'Metric template errors.monitoring secret basic error: secrets "basic" not found',
        ),
        (
            TEMPLATE,
            Fault.PROVIDER,
            "prometheus credentials does not contain a username",
            "Metric template errors.monitoring provider prometheus error: "
            "prometheus credentials does not contain a username",
        ),
        (
            PROMETHEUS.model_copy(update={"address": "::"}),
            Fault.PROVIDER,
            "prometheus address :: is not a valid URL",
            "Error building Prometheus client for :: prometheus address :: is not a valid URL",
        ),
        (
            PROMETHEUS,
            Fault.SECRET,
            "no",
            "Error building Prometheus client for http://prometheus:9090 secret  error: no",
        ),
    ],
)
def test_a_provider_that_cant_be_used_is_an_error(provider: Provider, fault: Fault, error: str, text: str) -> None:
    check = judged(template(provider=provider), Answer(error=error, fault=fault))
    assert (check.outcome, check.message) == (Outcome.ERROR, text)


def test_an_api_server_that_is_away_holds_and_says_why() -> None:
    check = judged(template(), AWAY)
    assert (check.outcome, check.message, check.reason) == (Outcome.HOLD, "", AWAY.error)
    asked = Sightings(own=AWAY, nodes=AWAY, route=AWAY)
    assert evidence.judge_evidence(question(), EVIDENCE, asked, ()).outcome is Outcome.HOLD


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"error": "Metric template x.test error: not found"}, "Metric template x.test error: not found"),
        ({"provider": None}, "Metric query failed for no usable metrics template and query were configured"),
        ({"query": ""}, "Metric query failed for no usable metrics template and query were configured"),
    ],
)
def test_a_metric_that_cant_be_asked_is_an_error(parts: dict[str, Any], text: str) -> None:
    check = judged(success_rate(**parts), SOME)
    assert (check.outcome, check.message) == (Outcome.ERROR, text)


def test_without_node_labels_the_route_is_judged_and_people_are_warned() -> None:
    assert policy.query_of(success_rate(), LABEL_OFF) == "rate of route"
    check = judged(success_rate(), Answer(value=100.0), LABEL_OFF, EVIDENCE)
    assert (check.outcome, check.query, check.reason) == (Outcome.PASS, "rate of route", policy.LABEL_OFF)
    check = evidence.judge_evidence(question(), EVIDENCE, LABEL_OFF, ())
    assert (check.outcome, check.query, check.value) == (Outcome.PASS, "route", 42.0)
    assert check.reason == policy.LABEL_OFF
    assert check.note == f"podinfo.test: {policy.LABEL_OFF}"


@pytest.mark.parametrize("seen", [None, MOVED, STILL, UNSERVED, Sightings(own=ZERO, nodes=DEAD, route=SOME)])
def test_otherwise_the_own_query_is_asked(seen: Sightings | None) -> None:
    assert policy.query_of(success_rate(), seen) == "rate"
    assert policy.query_of(inline(), LABEL_OFF) == "inline"


@pytest.mark.parametrize(
    ("asked", "seen", "outcome", "reason"),
    [
        (EVIDENCE, MOVED, Outcome.PASS, ""),
        (FIRST, MOVED, Outcome.PASS, ""),
        (FIRST, STILL, Outcome.HOLD, policy.NOT_MOVED),
        (FIRST, UNSERVED, Outcome.HOLD, policy.NOT_MOVED),
        (EVIDENCE, STILL, Outcome.FAIL, evidence.NOT_SERVED),
        (EVIDENCE, UNSERVED, Outcome.FAIL, evidence.NOT_SERVED),
        (FIRST, Sightings(own=DEAD, nodes=SOME, route=SOME), Outcome.ERROR, DEAD.error),
        (FIRST, Sightings(own=ZERO, nodes=DEAD, route=SOME), Outcome.ERROR, DEAD.error),
        (EVIDENCE, Sightings(own=SOME, nodes=DEAD, route=DEAD), Outcome.PASS, ""),
        (EVIDENCE, Sightings(own=Answer(value=-1.0), nodes=SOME, route=SOME), Outcome.FAIL, evidence.NOT_SERVED),
    ],
)
def test_evidence(asked: Evidence, seen: Sightings, outcome: Outcome, reason: str) -> None:
    check = evidence.judge_evidence(question(), asked, seen, ())
    assert (check.kind, check.outcome, check.reason) == (CheckKind.EVIDENCE, outcome, reason)


def test_evidence_says_nothing_that_a_metric_has_said() -> None:
    text = f"{SILENT} request-success-rate {QUIET}: running query failed: no values found"
    assert evidence.judge_evidence(question(), EVIDENCE, STILL, ()).message == text
    said = judged(success_rate(), NOTHING, STILL, EVIDENCE)
    assert evidence.judge_evidence(question(), EVIDENCE, STILL, (said,)).message == ""
    dead = Sightings(own=DEAD, nodes=DEAD, route=DEAD)
    said = judged(success_rate(), DEAD, dead, EVIDENCE)
    silent = evidence.judge_evidence(question(), EVIDENCE, dead, (said,))
    assert (silent.outcome, silent.message) == (Outcome.ERROR, "")


@pytest.mark.parametrize(
    ("provider", "answer", "text"),
    [
        (PROMETHEUS, Answer(value=1.0), ""),
        (
            PROMETHEUS,
            DEAD,
            "prometheus not avaiable: running query failed: request failed: connection refused",
        ),
        (PROMETHEUS, NOTHING, "prometheus not avaiable: running query failed: no values found"),
        (PROMETHEUS, Answer(value=2.0), "prometheus not avaiable: value is not 1 for query: vector(1)"),
        (PROMETHEUS, NAN, "prometheus not avaiable: value is not 1 for query: vector(1)"),
        (
            TEMPLATE,
            Answer(value=0.0),
            "prometheus in metric template errors.monitoring not avaiable: value is not 1 for query: vector(1)",
        ),
        (
            TEMPLATE.model_copy(update={"secret": SecretRef(namespace="monitoring", name="s")}),
            Answer(error='secrets "s" not found', fault=Fault.SECRET),
            'metric template errors.monitoring secret s error: secrets "s" not found',
        ),
        (
            TEMPLATE,
            Answer(error="bad", fault=Fault.PROVIDER),
            "metric template errors.monitoring provider prometheus error: bad",
        ),
        (
            PROMETHEUS,
            Answer(error="bad", fault=Fault.PROVIDER),
            "error building Prometheus client for http://prometheus:9090 bad",
        ),
        (TEMPLATE, AWAY, "metric template errors.monitoring secret  error: get secrets: connection refused"),
    ],
)
def test_providers(provider: Provider, answer: Answer, text: str) -> None:
    check = policy.judge_provider(provider, answer)
    assert (check.kind, check.outcome) == (CheckKind.PROVIDER, Outcome.ERROR if text else Outcome.PASS)
    assert check.message == (f"Error checking metric providers: {text}" if text else "")
    assert check.name == (provider.template or provider.address)


def test_a_verdict_names_its_tick_and_is_the_same_however_often_it_is_given() -> None:
    asked = tick(purpose=Purpose.TIMER)
    verdict = policy.verdict(asked, (), "analyzer-0")
    assert verdict.id == "verdict/u-1/abc/7/2026-11-24T12:00:00+00:00"
    assert (verdict.cause, verdict.canary, verdict.tick) == (asked.id, asked.canary, asked.tick)
    assert (verdict.outcome, verdict.purpose, verdict.judged_by) == (Outcome.PASS, Purpose.TIMER, "analyzer-0")


def test_a_gates_refusal_waits_without_failing_the_verdict() -> None:
    refused = policy.judge_hook(question(), hook("confirm-promotion"), Reply(accepted=False))
    assert policy.verdict(tick(), (refused,)).outcome is Outcome.PASS


def test_a_requested_rollback_is_never_leave_to_advance() -> None:
    agreed = policy.judge_hook(question(), hook("rollback"), Reply(accepted=True))
    quiet = policy.judge_hook(question(), hook("rollback"), Reply(accepted=False))
    assert policy.rollback_requested((quiet, agreed))
    assert not policy.rollback_requested((quiet,))
    assert policy.verdict(tick(), (agreed,)).outcome is Outcome.HOLD
    assert policy.verdict(tick(), (quiet,)).outcome is Outcome.PASS


OUTCOMES = st.sampled_from(Outcome)
CHECKS = st.lists(st.builds(Check, name=st.just("c"), kind=st.sampled_from(CheckKind), outcome=OUTCOMES))


@given(CHECKS)
def test_no_verdict_passes_over_a_check_that_does_not(checks: list[Check]) -> None:
    counted = [check.outcome for check in checks if check.kind not in (CheckKind.GATE, CheckKind.ROLLBACK)]
    verdict = policy.verdict(tick(), checks)
    if verdict.outcome is Outcome.PASS:
        assert all(outcome is Outcome.PASS for outcome in counted)
        assert policy.passed(checks)
    elif not policy.rollback_requested(checks):
        worst = (Outcome.FAIL, Outcome.ERROR, Outcome.HOLD)
        assert verdict.outcome is next(outcome for outcome in worst if outcome in counted)


ANSWERS = st.one_of(
    st.builds(Answer, value=st.none() | st.floats()),
    st.builds(Answer, error=st.text(min_size=1), fault=st.sampled_from([fault for fault in Fault if fault])),
)
METRICS = st.builds(
    Metric,
    name=st.just("m"),
    source=st.sampled_from(MetricSource),
    query=st.just("q"),
    fallback=st.sampled_from(["", "f"]),
    lower=st.none() | st.floats(allow_nan=False),
    upper=st.none() | st.floats(allow_nan=False),
    provider=st.just(PROMETHEUS),
)


@given(METRICS, ANSWERS, st.none() | st.builds(Sightings, own=ANSWERS, nodes=ANSWERS, route=ANSWERS), st.booleans())
def test_only_a_number_within_bounds_passes(
    metric: Metric, answer: Answer, seen: Sightings | None, first: bool
) -> None:
    asked = FIRST if first else EVIDENCE
    check = judged(metric, answer, seen, asked)
    if check.outcome is Outcome.PASS:
        assert answer.fault is Fault.NONE
        assert answer.value is not None
        assert not math.isnan(answer.value)
        assert check.message == ""
    elif check.outcome is not Outcome.HOLD:
        assert check.message
    if seen and evidence.judge_evidence(question(), asked, seen, ()).outcome is Outcome.PASS:
        assert seen.own.count > 0 or seen.label_off
