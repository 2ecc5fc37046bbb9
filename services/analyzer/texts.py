"""Flagger's sentences and number formats, word for word. Pure; policy.py chooses among them.

People's dashboards and alert rules match on these texts, spelling mistakes included. Sentences about the canary name
the Canary object (`N.NS`), sentences about traffic name its target (`T.NS`).
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from services.analyzer.comparison import Counts
from shared.wire.messages import Blame, Evidence, Hook, Metric, MetricSource, Provider, Question

NO_VALUES: Final = "no values found"
NO_QUESTION: Final = "Metric query failed for no usable metrics template and query were configured"
SUCCESS_RATE: Final = "request-success-rate"

_APPROVALS: Final = {
    "confirm-rollout": "approval",
    "confirm-traffic-increase": "traffic increase approval",
    "confirm-promotion": "promotion approval",
}
_MILLISECONDS: Final = (("h", 3_600_000), ("m", 60_000))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What a comparison found. `bound` is in milliseconds, of latency only."""

    canary: Counts
    primary: Counts
    floor: float
    bound: float = 0.0

    @property
    def verb(self) -> str:
        return "answered" if self.bound else "failed"


def shortest(value: float) -> str:
    """Go's `%v`: shortest form that reads back the same, scientific below 1e-04 and from 1e+06."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    negative, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    sign, text, power = "-" if negative else "", "".join(map(str, digits)), len(digits) + int(exponent) - 1
    if value == 0:
        return f"{sign}0"
    if -4 <= power < 6:
        return f"{value:.{max(0, len(digits) - 1 - power)}f}"
    return f"{sign}{text[0]}{'.' if text[1:] else ''}{text[1:]}e{power:+03d}"


def fixed(value: float) -> str:
    """Go's `%.2f`."""
    return f"{value:.2f}" if math.isfinite(value) else shortest(value)


def span(milliseconds: int) -> str:
    """A Go duration of whole milliseconds: `0s`, `500ms`, `1.515s`, `1m30.005s`, `1h0m0s`."""
    sign, left, text = "-" if milliseconds < 0 else "", abs(milliseconds), ""
    if 0 < left < 1000:
        return f"{sign}{left}ms"
    for unit, size in _MILLISECONDS:
        if text or left >= size:
            text, left = f"{text}{left // size}{unit}", left % size
    fraction = f".{left % 1000:03d}".rstrip("0") if left % 1000 else ""
    return f"{sign}{text}{left // 1000}{fraction}s"


def hook_passed(hook: Hook) -> str:
    match hook.type:
        case "rollback":
            return f"Rollback check {hook.name} passed"
        case "rollout" | "":
            return ""
        case _:
            return f"{hook.type.capitalize()} check {hook.name} passed"


def hook_failed(question: Question, hook: Hook, error: str) -> str:
    halt = f"Halt {_canary(question)} advancement"
    match hook.type:
        case "rollback":
            return f"Rollback hook {hook.name} not signaling a rollback"
        case "confirm-rollout" | "confirm-traffic-increase" | "confirm-promotion":
            return f"{halt} waiting for {_APPROVALS[hook.type]} {hook.name}"
        case "pre-rollout":
            return f"{halt} pre-rollout check {hook.name} failed {error}"
        case "post-rollout":
            return f"Post-rollout hook {hook.name} failed {error}"
        case _:
            return f"{halt} external check {hook.name} failed {error}"


def out_of_bounds(question: Question, metric: Metric, value: float, sign: str, bound: float) -> str:
    """`sign` is `<` or `>`; duration's value and bound are milliseconds."""
    match metric.source:
        case MetricSource.SUCCESS_RATE:
            what = f"success rate {fixed(value)}% {sign} {shortest(bound)}%"
        case MetricSource.DURATION:
            what = f"request duration {_span(value)} {sign} {_span(bound)}"
        case _:
            what = f"{metric.name} {fixed(value)} {sign} {shortest(bound)}"
    return f"Halt {_canary(question)} advancement {what}"


def no_values(question: Question, source: MetricSource, name: str) -> str:
    match source:
        case MetricSource.SUCCESS_RATE:
            return f"{_no_traffic(question, name)}: running query failed: {NO_VALUES}"
        case MetricSource.DURATION:
            return _no_traffic(question, name)
        case MetricSource.QUERY:
            return f"Halt advancement no values found for metric: {name}"
        case _:
            return f"Halt advancement no values found for custom metric: {name}: {NO_VALUES}"


def query_failed(source: MetricSource, name: str, error: str) -> str:
    match source:
        case MetricSource.SUCCESS_RATE | MetricSource.DURATION:
            return f"Prometheus query failed: running query failed: {error}"
        case MetricSource.QUERY:
            return f"Prometheus query failed for {name}: {error}"
        case _:
            return f"Metric query failed for {name}: {error}"


def provider_unusable(provider: Provider, error: str) -> str:
    """The client couldn't be built: address or credentials."""
    if provider.template:
        return f"Metric template {provider.template} provider {provider.type} error: {error}"
    return f"Error building Prometheus client for {provider.address} {error}"


def secret_unusable(provider: Provider, error: str) -> str:
    secret = provider.secret.name if provider.secret else ""
    if provider.template:
        return f"Metric template {provider.template} secret {secret} error: {error}"
    return f"Error building Prometheus client for {provider.address} secret {secret} error: {error}"


def providers_failed(error: str) -> str:
    """Around the three sentences above, which start in lower case here, or around `offline`."""
    return f"Error checking metric providers: {error[:1].lower()}{error[1:]}"


def offline(provider: Provider, error: str) -> str:
    where = f"{provider.type} in metric template {provider.template}" if provider.template else "prometheus"
    return f"{where} not avaiable: {error}"


def blamed(question: Question, blame: Blame) -> str:
    """Ours."""
    every = blame.application + blame.gateway
    return (
        f"{_target(question)}: {blame.gateway:.0f} of {every:.0f} failed requests were answered by the gateway itself, "
        f"{blame.application:.0f} by the application"
    )


def starved(question: Question, asked: Evidence, requests: float) -> str:
    """Ours."""
    return (
        f"{_target(question)} can't have had a request yet: at this weight up to {asked.first_after} go to the primary "
        f"first, and there were {requests:.0f}; use weights in steps of 5 or 10, or a longer interval"
    )


def mixed(question: Question, reason: str) -> str:
    """Ours."""
    return f"{_target(question)}: {reason}"


def behind(question: Question, weight: int, own: float, every: float, gateway: str) -> str:
    """Ours."""
    return (
        f"{_target(question)} has {own:.0f} of {every:.0f} requests where its weight is {weight}%: "
        f"{f'gateway {gateway}' if gateway else 'the gateway'} doesn't follow its route"
    )


def undrained(question: Question, requests: float, seconds: int) -> str:
    """Ours."""
    return (
        f"{_target(question)} is scaled down although it had {requests:.0f} requests in the last {seconds}s, without a "
        "weight: the gateway doesn't follow its route, or clients hold on to connections"
    )


def worse(question: Question, compared: Compared) -> str:
    """Ours."""
    canary, primary = compared.canary, compared.primary
    over = f" in over {shortest(compared.bound)}ms" if compared.bound else ""
    return (
        f"Halt {_canary(question)} advancement canary {compared.verb} {canary.bad:.0f} of {canary.all:.0f} requests{over} "
        f"({_percent(canary)}), primary {primary.bad:.0f} of {primary.all:.0f} ({_percent(primary)}): "
        f"worse by more than {shortest(compared.floor * 100)} percentage points"
    )


def broken(canary: Counts, primary: Counts, *, floor: float, odds: float, alpha: float) -> str:
    """Ours: what goes into the text of an abort."""
    return (
        f"canary failed {canary.bad:.0f} of {canary.all:.0f} requests, primary {primary.bad:.0f} of {primary.all:.0f}; more "
        f"than {shortest(floor * 100)}% by a sequential likelihood ratio test: odds {odds:.0f}, {1 / alpha:.0f} needed"
    )


def _percent(counts: Counts) -> str:
    return f"{fixed(100 * counts.share)}%"


def _target(question: Question) -> str:
    return f"{question.target}.{question.payload.namespace}"


def _no_traffic(question: Question, name: str) -> str:
    return (
        f"Halt advancement no values found for {question.provider_name} metric {name} "
        f"probably {question.target}.{question.payload.namespace} is not receiving traffic"
    )


def _canary(question: Question) -> str:
    return f"{question.payload.name}.{question.payload.namespace}"


def _span(milliseconds: float) -> str:
    return span(int(milliseconds)) if math.isfinite(milliseconds) else shortest(milliseconds)
