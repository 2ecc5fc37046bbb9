"""Does anything still reach a canary that has lost its traffic? By the gateway's own numbers, which are old. Pure.

A drain ends early only where they surely say no: they are of a time at which the gateway had taken the weight in, other
requests moved them meanwhile, and none of the canary's for longer than its slowest requests take. The gateway counts a
request when it ends, so one that is under way shows in no number.
"""

import math
from datetime import datetime, timedelta
from typing import Final

from services.analyzer import comparing, texts
from services.analyzer.policy import Answer
from shared.canary import queries
from shared.wire.messages import Check, CheckKind, Glance, Outcome, Purpose, Question, Sides, Verdict

NAME: Final = "drain"
SHOWN: Final = timedelta(seconds=20)
"""After so long each page shows the gateway without the weight: 5 s until it knows, and a page is 15 s old at most."""
QUIET: Final = timedelta(seconds=15)
"""How long nothing may have reached it, on top of what its slowest requests take: a page and a scrape are in it."""
BEFORE: Final = "10m"
"""Over which time its slowest requests are looked for."""


def shown(asked: Sides, now: datetime, slowest: timedelta = timedelta()) -> bool:
    """Do the last numbers, of the canary's quiet time, come from after the weight?"""
    return now >= asked.since + SHOWN + QUIET + slowest


def latency_query(asked: Sides) -> str:
    return queries.latencies(asked.route, BEFORE)


def request_query(asked: Sides, slowest: timedelta = timedelta()) -> str:
    return queries.statuses(asked.route, queries.window(QUIET + slowest))


def slowest(asked: Sides, answer: Answer) -> timedelta | None:
    """What the canary's slowest requests took at most; None where there is no saying."""
    found, below = 0.0, 0.0
    for bucket in comparing.buckets(asked.canary, answer.rows):
        if bucket.requests > below:
            found, below = bucket.bound, bucket.requests
    return None if answer.fault or not found or math.isinf(found) else timedelta(milliseconds=found)


def requests(asked: Sides, answer: Answer) -> tuple[float, float]:
    """The canary's and the primary's, of the quiet time."""
    canary, primary = comparing.failures(asked, answer.rows)
    return canary.all, primary.all


def over(glance: Glance, query: str, answer: Answer, judged_by: str = "") -> Verdict | None:
    """The verdict that lets the timer be over, if nothing reaches the canary; else nothing at all."""
    canary, primary = requests(glance.comparison, answer)
    if answer.fault or canary > 0 or primary <= 0:
        return None
    reason = f"nothing reached the canary while the primary answered {primary:.0f} requests"
    return Verdict(
        id=f"drained/{glance.canary.uid}/{glance.tick.revision}/{glance.tick.seq}",
        cause=glance.id,
        canary=glance.canary,
        tick=glance.tick,
        purpose=Purpose.TIMER,
        outcome=Outcome.PASS,
        checks=(_check(canary, query, reason=reason),),
        judged_by=judged_by,
    )


def at_the_end(question: Question, asked: Sides, query: str, answer: Answer) -> list[Check]:
    """The drain time is over whatever this says; if the canary still has requests, people are told."""
    canary, _ = requests(asked, answer)
    if answer.fault or canary <= 0:
        return []
    text = texts.undrained(question, canary, QUIET.seconds)
    return [_check(canary, query, reason=text, note=text)]


def _check(value: float, query: str, **parts: str) -> Check:
    return Check.model_validate(
        {"name": NAME, "kind": CheckKind.EVIDENCE, "outcome": Outcome.PASS, "value": value, "query": query, **parts}
    )
