"""What an answer means. Pure; handlers.py asks the questions and acts on what is decided here.

| what came back | outcome | counted by the router |
|---|---|---|
| a value within its bounds, or a hook that agreed | pass | no |
| a value out of bounds, or a hook that refused | fail | yes |
| no values (nothing, or not a number) | as `noData` says, fail by default; hold on the first tick of a step whose numbers haven't moved | fail: yes |
| nobody answered, or not understandably | error | yes |
| a secret that couldn't be read because the API server is away | hold | no |

A verdict is as bad as the worst of its checks, fail over error over hold over pass. A gate only asks whether to wait,
so its refusal isn't the verdict's; a rollback hook asks whether to roll back, and one that agrees makes the verdict a
hold, so that no reader can take it for leave to advance. No path leads from anything but a pass to a pass.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum
from typing import Final

from services.analyzer import texts
from shared.wire.messages import (
    Check,
    CheckKind,
    Evidence,
    Hook,
    Metric,
    MetricSource,
    NoData,
    Outcome,
    Provider,
    Question,
    Tick,
    Verdict,
)

LABEL_OFF: Final = (
    "the gateway's metrics carry no node label for this route, so primary and canary were measured together; "
    "check disabled_labels in the metadata of APISIX's prometheus plugin, and the scrape's relabelling"
)
NOT_MOVED: Final = "the gateway's numbers haven't moved since this step's weight was applied"
IGNORED: Final = "no values found, which `noData: ignore` lets pass"

_WORST_FIRST: Final = (Outcome.FAIL, Outcome.ERROR, Outcome.HOLD)
_IN_ORDER: Final = frozenset({"confirm-rollout", "confirm-traffic-increase", "confirm-promotion", "post-rollout"})


class Fault(StrEnum):
    """What went wrong on the way to an answer; it decides the sentence."""

    NONE = ""
    QUERY = "query"
    PROVIDER = "provider"
    SECRET = "secret"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Row:
    """One series of an answer that has several."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a Prometheus said: a value, or rows where those were asked for, nothing, or why it couldn't say."""

    value: float | None = None
    rows: tuple[Row, ...] = ()
    error: str = ""
    fault: Fault = Fault.NONE

    @property
    def number(self) -> float | None:
        """The value, unless there is none or it's not a number."""
        return None if self.fault or self.value is None or math.isnan(self.value) else self.value

    @property
    def count(self) -> float:
        """The value as a count: 0 for silence and faults."""
        return self.number or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """How a webhook ended. `error` is Flagger's text, which may be empty for a refusal without a body."""

    accepted: bool
    error: str = ""
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sightings:
    """The answers to an Evidence's three queries."""

    own: Answer
    nodes: Answer
    route: Answer

    @property
    def label_off(self) -> bool:
        """Requests reached upstreams, and not one of them is attributed to a node."""
        faults = self.nodes.fault or self.route.fault
        return not faults and self.nodes.count <= 0 < self.route.count


def in_order(hook: Hook) -> bool:
    """Is this one of a group that is asked one by one and ends at the first refusal?"""
    return hook.type in _IN_ORDER


def judge_hook(question: Question, hook: Hook, reply: Reply) -> Check:
    """A webhook's reply, of any type."""
    reason = "asked again: the first call's outcome was lost with its process" if reply.repeated else ""
    if reply.accepted:
        outcome, message = Outcome.PASS, texts.hook_passed(hook)
    else:
        outcome, message = Outcome.FAIL, texts.hook_failed(question, hook, reply.error)
        reason = "; ".join(filter(None, (reply.error, reason)))
    return Check(name=hook.name, kind=_kind(hook), outcome=outcome, type=hook.type, message=message, reason=reason)


def judge_provider(provider: Provider, answer: Answer) -> Check:
    """Did this Prometheus answer 1 to `vector(1)`?"""
    message, outcome = "", Outcome.PASS
    if answer.fault in (Fault.CLUSTER, Fault.SECRET):
        message, outcome = texts.secret_unusable(provider, answer.error), Outcome.ERROR
    elif answer.fault is Fault.PROVIDER:
        message, outcome = texts.provider_unusable(provider, answer.error), Outcome.ERROR
    elif answer.fault or answer.value is None:
        error = f"running query failed: {answer.error or texts.NO_VALUES}"
        message, outcome = texts.offline(provider, error), Outcome.ERROR
    elif answer.value != 1:
        message, outcome = texts.offline(provider, "value is not 1 for query: vector(1)"), Outcome.ERROR
    return Check(
        name=provider.template or provider.address,
        kind=CheckKind.PROVIDER,
        outcome=outcome,
        type=provider.type,
        message=message and texts.providers_failed(message),
        reason=answer.error,
    )


def unaskable(metric: Metric) -> str:
    """Why this metric can't be asked at all, as Flagger says it; empty when it can."""
    return metric.error or ("" if metric.provider and metric.query else texts.NO_QUESTION)


def query_of(metric: Metric, sightings: Sightings | None) -> str:
    """The query to judge by: the whole route's where the gateway doesn't tell nodes apart."""
    return metric.fallback if metric.fallback and sightings and sightings.label_off else metric.query


def judge_metric(question: Question, metric: Metric, answer: Answer, sightings: Sightings | None) -> Check:
    """One metric's answer against its bounds."""
    query = query_of(metric, sightings)
    still = question.evidence is not None and sightings is not None and _still(question.evidence, sightings)
    outcome, message, reason = _meaning(question, metric, answer, still)
    warning = LABEL_OFF if query != metric.query else ""
    return Check(
        name=metric.name,
        kind=CheckKind.METRIC,
        outcome=outcome,
        type=metric.source,
        value=None if answer.number is None else _shown(metric, answer.number),
        lower=metric.lower,
        upper=metric.upper,
        query=query,
        message=message,
        reason="; ".join(filter(None, (reason, warning))),
        no_data=(not unaskable(metric) and not answer.fault and answer.number is None) or None,
    )


def passed(checks: Iterable[Check]) -> bool:
    """Is there nothing among these that speaks against going on to the gates?"""
    return _worst(checks) is Outcome.PASS


def rollback_requested(checks: Iterable[Check]) -> bool:
    return any(check.kind is CheckKind.ROLLBACK and check.outcome is Outcome.PASS for check in checks)


def verdict_id(tick: Tick) -> str:
    """The same for every judging of the same tick; the bus, which drops what it has had, is told the tick's place besides."""
    named = tick.tick
    return f"verdict/{tick.canary.uid}/{named.revision}/{named.seq}/{named.due.astimezone(UTC).isoformat()}"


def verdict(tick: Tick, checks: Sequence[Check], judged_by: str = "") -> Verdict:
    """The answer to a tick."""
    return Verdict(
        id=verdict_id(tick),
        cause=tick.id,
        canary=tick.canary,
        tick=tick.tick,
        purpose=tick.question.purpose,
        outcome=Outcome.HOLD if rollback_requested(checks) else _worst(checks),
        checks=tuple(checks),
        judged_by=judged_by,
    )


def _meaning(question: Question, metric: Metric, answer: Answer, still: bool) -> tuple[Outcome, str, str]:
    """(outcome, Flagger's sentence, reason) of one metric's answer."""
    if error := unaskable(metric):
        return Outcome.ERROR, error, ""
    if answer.fault is not Fault.NONE:
        return _broken(metric, answer)
    if answer.number is None:
        if still:
            return Outcome.HOLD, "", NOT_MOVED
        match metric.no_data:
            case NoData.HOLD:
                return Outcome.HOLD, "", texts.NO_VALUES
            case NoData.IGNORE:
                return Outcome.PASS, "", IGNORED
            case _:
                return Outcome.FAIL, texts.no_values(question, metric.source, metric.name), texts.NO_VALUES
    broken = _out_of_bounds(question, metric, _shown(metric, answer.number))
    return (Outcome.FAIL, broken, "") if broken else (Outcome.PASS, "", "")


def _broken(metric: Metric, answer: Answer) -> tuple[Outcome, str, str]:
    provider = metric.provider or Provider(address="")
    match answer.fault:
        case Fault.CLUSTER:
            return Outcome.HOLD, "", answer.error
        case Fault.SECRET:
            return Outcome.ERROR, texts.secret_unusable(provider, answer.error), answer.error
        case Fault.PROVIDER:
            return Outcome.ERROR, texts.provider_unusable(provider, answer.error), answer.error
        case _:
            return Outcome.ERROR, texts.query_failed(metric.source, metric.name, answer.error), answer.error


def _out_of_bounds(question: Question, metric: Metric, value: float) -> str:
    """The sentence about the bound that doesn't hold; empty when both do."""
    lower, upper = (None if bound is None else _shown(metric, bound) for bound in (metric.lower, metric.upper))
    if lower is not None and value < lower:
        return texts.out_of_bounds(question, metric, value, "<", lower)
    if upper is not None and value > upper:
        return texts.out_of_bounds(question, metric, value, ">", upper)
    return ""


def _shown(metric: Metric, value: float) -> float:
    """Durations are compared and shown in whole milliseconds."""
    whole = metric.source is MetricSource.DURATION and math.isfinite(value)
    return float(math.trunc(value)) if whole else value


def _still(asked: Evidence, seen: Sightings) -> bool:
    """A step's first look, and nothing has moved yet."""
    counted = seen.route if seen.label_off else seen.own
    return asked.first_tick and not counted.fault and counted.count <= 0


def _kind(hook: Hook) -> CheckKind:
    if hook.type == "rollback":
        return CheckKind.ROLLBACK
    return CheckKind.GATE if hook.type.startswith("confirm-") else CheckKind.HOOK


def _worst(checks: Iterable[Check]) -> Outcome:
    found = {check.outcome for check in checks if check.kind not in (CheckKind.GATE, CheckKind.ROLLBACK)}
    return next((outcome for outcome in _WORST_FIRST if outcome in found), Outcome.PASS)
