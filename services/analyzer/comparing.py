"""Canary against primary: from what the gateway counted to checks, and to the end of a rollout. Pure.

comparison.py has the tests; here is whose counts are whose, and what an answer means.
"""

import math
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from services.analyzer import comparison, texts
from services.analyzer.comparison import Bucket, Counts
from services.analyzer.policy import LABEL_OFF, Answer, Row
from shared.canary import queries
from shared.wire.messages import (
    Check,
    CheckKind,
    Comparison,
    Glance,
    MetricSource,
    Outcome,
    Purpose,
    Question,
    Sides,
    Verdict,
)

SUCCESS: Final = "success against primary"
LATENCY: Final = "latency against primary"
UNBOUNDED: Final = (
    "more than one in ten of the primary's requests take longer than every bound that the gateway counts by"
)
WARMING_UP: Final = "the canary has just begun: its first moments aren't compared"


def status_query(asked: Comparison, now: datetime) -> str:
    """How many answers of which code each node gave since the comparison's beginning."""
    return queries.statuses(asked.route, queries.window(now - asked.since))


def latency_query(asked: Comparison, now: datetime) -> str:
    """How many requests each node answered within which time."""
    return queries.latencies(asked.route, queries.window(now - asked.since))


def warming_up(asked: Comparison, now: datetime) -> bool:
    return now - asked.since < timedelta(seconds=1)


def judge_warming_up() -> list[Check]:
    return [_check(name, Outcome.HOLD, reason=WARMING_UP) for name in (SUCCESS, LATENCY)]


def compares_latency(asked: Comparison) -> bool:
    """A floor of all requests is one that nothing can be above."""
    return asked.latency_floor < 1


def judge_success(question: Question, asked: Comparison, query: str, answer: Answer) -> Check:
    """Does the canary fail more of its requests than the primary?"""
    if answer.fault:
        return _unanswered(SUCCESS, query, answer, MetricSource.SUCCESS_RATE)
    canary, primary = sides = failures(asked, answer.rows)
    if min(canary.all, primary.all) < asked.least:
        return _check(SUCCESS, Outcome.HOLD, query=query, reason=_too_few(asked, sides, answer.rows))
    return _judged(question, asked, texts.Compared(canary=canary, primary=primary, floor=asked.floor), SUCCESS, query)


def judge_latency(question: Question, asked: Comparison, query: str, answer: Answer) -> Check:
    """Are more of the canary's requests slow, by the bound that nine in ten of the primary's keep?"""
    if answer.fault:
        return _unanswered(LATENCY, query, answer, MetricSource.DURATION)
    sides = buckets(asked.canary, answer.rows), buckets(asked.primary, answer.rows)
    every = [max((bucket.requests for bucket in side), default=0.0) for side in sides]
    if min(every) < asked.least:
        counted = (Counts(0, requests) for requests in every)
        return _check(LATENCY, Outcome.HOLD, query=query, reason=_too_few(asked, counted, answer.rows))
    if (found := comparison.slower_than(*sides)) is None:
        return _check(LATENCY, Outcome.PASS, query=query, reason=UNBOUNDED)
    bound, canary, primary = found
    compared = texts.Compared(canary=canary, primary=primary, floor=asked.latency_floor, bound=bound)
    return _judged(question, asked, compared, LATENCY, query)


def aborted(glance: Glance, query: str, answer: Answer, judged_by: str = "") -> Verdict | None:
    """The verdict that ends the rollout, if these counts settle that the canary is broken; else nothing at all."""
    asked = glance.comparison
    canary, primary = failures(asked, answer.rows)
    odds = comparison.broken(canary, primary, floor=asked.floor)
    if answer.fault or odds < 1 / asked.alpha:
        return None
    text = texts.broken(canary, primary, floor=asked.floor, odds=odds, alpha=asked.alpha)
    check = _check(
        "fast abort", Outcome.FAIL, value=100 * canary.share, upper=100 * asked.floor, query=query, reason=text
    )
    return Verdict(
        id=f"abort/{glance.canary.uid}/{glance.tick.revision}/{glance.tick.seq}",
        cause=glance.id,
        canary=glance.canary,
        tick=glance.tick,
        purpose=Purpose.ANALYSIS,
        outcome=Outcome.FAIL,
        checks=(check,),
        abort=text,
        judged_by=judged_by,
    )


def next_look(glance: Glance, now: datetime) -> datetime | None:
    """When to look again; not at all when the tick comes first."""
    due = now + timedelta(seconds=glance.every_seconds)
    return due if due < glance.tick.due else None


def failures(asked: Sides, rows: Iterable[Row]) -> tuple[Counts, Counts]:
    """Canary's and primary's failed requests. What has no node was never on either side."""
    return _failures(asked.canary, rows := tuple(rows)), _failures(asked.primary, rows)


def _failures(nodes: str, rows: Iterable[Row]) -> Counts:
    own = [row for row in rows if re.fullmatch(nodes, row.labels.get("node", ""))]
    return Counts(
        sum(row.value for row in own if row.labels.get("code", "").startswith("5")), sum(row.value for row in own)
    )


def buckets(nodes: str, rows: Iterable[Row]) -> list[Bucket]:
    """The latency histogram of these nodes, from its lowest bound up."""
    found: dict[float, float] = {}
    for row in rows:
        if re.fullmatch(nodes, row.labels.get("node", "")):
            bound = float(row.labels.get("le", "nan"))
            found[bound] = found.get(bound, 0.0) + row.value
    return [Bucket(bound, requests) for bound, requests in sorted(found.items()) if not math.isnan(bound)]


def _judged(question: Question, asked: Comparison, found: texts.Compared, name: str, query: str) -> Check:
    chance = comparison.worse(found.canary, found.primary, floor=found.floor, alpha=asked.alpha)
    bad = chance <= asked.alpha
    return _check(
        name,
        Outcome.FAIL if bad else Outcome.PASS,
        value=100 * found.canary.share,
        upper=100 * (found.primary.share + found.floor),
        query=query,
        message=texts.worse(question, found) if bad else "",
        reason=f"exact binomial test, p {chance:.2g} where {asked.alpha:.2g} is the bound",
    )


def _too_few(asked: Comparison, sides: Iterable[Counts], rows: tuple[Row, ...]) -> str:
    canary, primary = sides
    if rows and not any(row.labels.get("node") for row in rows):
        return LABEL_OFF
    return f"too few requests to compare: canary {canary.all:.0f}, primary {primary.all:.0f}, {asked.least} needed"


def _unanswered(name: str, query: str, answer: Answer, source: MetricSource) -> Check:
    message = texts.query_failed(source, name, answer.error)
    return _check(name, Outcome.ERROR, query=query, message=message, reason=answer.error)


def _check(name: str, outcome: Outcome, **parts: object) -> Check:
    return Check.model_validate(
        {"name": name, "kind": CheckKind.METRIC, "outcome": outcome, "type": "compare", **parts}
    )
