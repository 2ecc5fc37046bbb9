"""Puts a tick's questions to the doors and sends the verdict. What an answer means is policy's business.

Order: rollback hooks, because one that agrees ends everything; then hooks, metrics and evidence side by side, so that
none hides behind another; then gates, which are worth asking only if all of that passed.
"""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from services.analyzer import comparing, draining, evidence, policy, shifting, weighing
from services.analyzer.policy import Answer, Reply, Sightings
from services.analyzer.ports import Hooks, Markers, Meter, Outbox, Prometheus
from shared.bus.markers import State
from shared.canary import queries
from shared.errors import RetryLater
from shared.runtime.clock import Clock
from shared.wire import subjects
from shared.wire.messages import Check, Evidence, Glance, Hook, Metric, Outcome, Provider, Question, Tick, Verdict

Result = TypeVar("Result")

_UNASKED: Final = Answer()
_log: Final = logging.getLogger(__name__)


class Note(BaseModel):
    """What a marker remembers of a call that ended."""

    model_config = ConfigDict(frozen=True)

    accepted: bool
    error: str = ""
    repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyzer:
    """Judges ticks. Holds nothing between them."""

    prometheus: Prometheus
    hooks: Hooks
    markers: Markers
    outbox: Outbox
    clock: Clock
    meter: Meter
    judged_by: str = ""

    async def on_tick(self, tick: Tick, place: int = 0) -> None:
        """Judges a tick and stores the verdict. Raises RetryLater when the bus is away; survives redelivery.

        `place` is the tick's in its stream: delivered again it's the same, and the bus drops the second verdict. A tick that
        was armed again has another one: the verdict before it is lost, to a router that couldn't read it for instance.
        """
        late = (self.clock.now() - tick.tick.due).total_seconds()
        self.meter.observe("serinus_tick_lateness_seconds", max(0.0, late))
        verdict = policy.verdict(tick, await self._checks(tick), self.judged_by)
        subject = subjects.inbox(tick.canary.namespace, tick.canary.name)
        ident = f"{verdict.id}/{place}"
        await self.outbox.publish(subject, verdict, stream=subjects.INBOX_STREAM, message_id=ident)
        self.meter.inc("serinus_verdicts_total", outcome=verdict.outcome)
        for outcome in weighing.counted(verdict.checks):
            self.meter.inc("serinus_checks_total", outcome=outcome)
        _log.info("judged %s: %s", verdict.purpose, verdict.outcome, extra={"checks": len(verdict.checks)})

    async def on_glance(self, glance: Glance) -> None:
        """Ends a rollout whose canary is plainly broken, or a drain when nothing reaches it any more, or has NATS hold
        the next look. Raises RetryLater."""
        now = self.clock.now()
        if now >= glance.tick.due:
            return  # the tick sees the same
        verdict = await (self._drained(glance, now) if glance.drain else self._broken(glance, now))
        namespace, name = glance.canary.namespace, glance.canary.name
        if verdict:
            subject = subjects.inbox(namespace, name)
            await self.outbox.publish(subject, verdict, stream=subjects.INBOX_STREAM, message_id=verdict.id)
            _log.info("between ticks: %s", verdict.abort or verdict.checks[0].reason)
        elif due := comparing.next_look(glance, self.clock.now()):
            await self.outbox.glance(namespace, name, glance, due, next_one=True)

    async def _broken(self, glance: Glance, now: datetime) -> Verdict | None:
        asked = glance.comparison
        query = comparing.status_query(asked, now)
        return comparing.aborted(glance, query, await self.prometheus.rows(asked.provider, query), self.judged_by)

    async def _drained(self, glance: Glance, now: datetime) -> Verdict | None:
        asked = glance.comparison
        if not draining.shown(asked, now):
            return None
        slowest = draining.slowest(asked, await self.prometheus.rows(asked.provider, draining.latency_query(asked)))
        if slowest is None or not draining.shown(asked, now, slowest):
            return None
        query = draining.request_query(asked, slowest)
        return draining.over(glance, query, await self.prometheus.rows(asked.provider, query), self.judged_by)

    async def _left(self, question: Question) -> list[Check]:
        """At the end of a drain. Numbers of a time before it say nothing, so after a short one nobody is asked."""
        asked = question.drain
        if asked is None or not draining.shown(asked, self.clock.now()):
            return []
        query = draining.request_query(asked)
        return draining.at_the_end(question, asked, query, await self.prometheus.rows(asked.provider, query))

    async def _checks(self, tick: Tick) -> list[Check]:
        question = tick.question
        numbered = list(enumerate((*question.rollback, *question.hooks, *question.gates)))
        first, after = len(question.rollback), len(question.rollback) + len(question.hooks)
        checks = await self._one_by_one(tick, numbered[:first], until=Outcome.PASS)
        if policy.rollback_requested(checks):
            return checks
        for group in await _together(
            self._call_all(tick, numbered[first:after]),
            self._measure(question),
            self._follow(question),
            self._compare(question),
            self._left(question),
            self._look(question.providers),
        ):
            checks += group
        checks = weighing.settled(checks)
        if policy.passed(checks):
            checks += await self._one_by_one(tick, numbered[after:], until=Outcome.FAIL)
        return checks

    async def _call_all(self, tick: Tick, hooks: Sequence[tuple[int, Hook]]) -> list[Check]:
        """Those that have an order in it, the others side by side; the answer is in the order of the list."""
        ordered = [each for each in hooks if policy.in_order(each[1])]
        free = [self._one_by_one(tick, [each], until=Outcome.FAIL) for each in hooks if not policy.in_order(each[1])]
        groups = await _together(self._one_by_one(tick, ordered, until=Outcome.FAIL), *free)
        return [check for group in groups for check in group]

    async def _one_by_one(self, tick: Tick, hooks: Sequence[tuple[int, Hook]], *, until: Outcome) -> list[Check]:
        checks: list[Check] = []
        for position, hook in hooks:
            reply = await self._call(tick, position, hook)
            checks.append(policy.judge_hook(tick.question, hook, reply))
            if checks[-1].outcome is until:
                break
        return checks

    async def _call(self, tick: Tick, position: int, hook: Hook) -> Reply:
        """Calls a hook once, as far as that can be known: a call whose end isn't known is repeated and says so."""
        key = f"{tick.id}/{position}/{hook.name}"
        state, note = await self.markers.begin(key)
        if state is State.DONE:
            return _remembered(note)
        reply = await self.hooks.call(hook, tick.question.payload, event_id=key, repeated=state is State.UNSURE)
        ended = Note(accepted=reply.accepted, error=reply.error, repeated=reply.repeated)
        await self.markers.done(key, ended.model_dump_json())
        return reply

    async def _look(self, providers: Sequence[Provider]) -> list[Check]:
        answers = await _together(*(self.prometheus.ask(provider, queries.ONLINE) for provider in providers))
        return [policy.judge_provider(*each) for each in zip(providers, answers, strict=True)]

    async def _measure(self, question: Question) -> list[Check]:
        sightings = asyncio.ensure_future(self._sight(question.evidence))
        try:
            checks = await _together(*(self._judge(question, metric, sightings) for metric in question.metrics))
            seen = await sightings
        finally:
            sightings.cancel()
        if question.evidence and seen:
            checks.append(evidence.judge_evidence(question, question.evidence, seen, checks))
        return checks

    async def _follow(self, question: Question) -> list[Check]:
        asked = question.evidence
        if asked is None or asked.shift is None:
            return []
        return shifting.judge_shift(
            question, asked.shift, await self.prometheus.rows(asked.provider, asked.shift.query)
        )

    async def _compare(self, question: Question) -> list[Check]:
        asked, now = question.comparison, self.clock.now()
        if asked is None:
            return []
        if comparing.warming_up(asked, now):
            return comparing.judge_warming_up()
        judges = {comparing.status_query(asked, now): comparing.judge_success}
        if comparing.compares_latency(asked):
            judges[comparing.latency_query(asked, now)] = comparing.judge_latency
        answers = await _together(*(self.prometheus.rows(asked.provider, query) for query in judges))
        return [
            judge(question, asked, query, answer)
            for (query, judge), answer in zip(judges.items(), answers, strict=True)
        ]

    async def _sight(self, asked: Evidence | None) -> Sightings | None:
        if asked is None:
            return None
        own, nodes, route = await _together(
            *(
                self.prometheus.ask(asked.provider, query)
                for query in (asked.query, asked.nodes_query, asked.route_query)
            )
        )
        return Sightings(own=own, nodes=nodes, route=route)

    async def _judge(self, question: Question, metric: Metric, sightings: "asyncio.Future[Sightings | None]") -> Check:
        answer = await self._ask(metric, metric.query)
        seen = await asyncio.shield(sightings)
        if (query := policy.query_of(metric, seen)) != metric.query:
            answer = await self._ask(metric, query)
        check = policy.judge_metric(question, metric, answer, seen)
        if metric.blame and metric.provider and check.outcome is Outcome.FAIL and not check.no_data:
            check = weighing.blamed(question, check, await self.prometheus.rows(metric.provider, metric.blame))
        return check

    async def _ask(self, metric: Metric, query: str) -> Answer:
        if metric.provider is None or policy.unaskable(metric):
            return _UNASKED
        return await self.prometheus.ask(metric.provider, query)


def _remembered(note: str) -> Reply:
    """The outcome of a call that ended in an earlier delivery. One that can't be read is no agreement."""
    try:
        found = Note.model_validate_json(note)
    except ValidationError:
        return Reply(accepted=False, error="the outcome of the call is no longer known")
    return Reply(accepted=found.accepted, error=found.error, repeated=found.repeated)


async def _together(*asked: Coroutine[Any, Any, Result]) -> list[Result]:
    """All results in order. The first failure ends the others and is raised as it is, not in a group."""
    tasks = []
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(each) for each in asked]
    except BaseExceptionGroup as failures:
        later = failures.subgroup(RetryLater)
        raise (later or failures).exceptions[0] from failures
    return [task.result() for task in tasks]
