"""What several actions are made of: notices that remember what was told, due times, and the events of a verdict."""

from dataclasses import replace
from datetime import datetime, timedelta

from services.router.rollout import guards, texts
from services.router.rollout.context import Context, Step
from services.router.rollout.inputs import Kind, Outcome
from services.router.rollout.state import Purpose, State
from services.router.rollout.texts import Draft, Event

GRACE = timedelta(seconds=1)
"""Added to deadlines, so that the timer fires after what it waits for has become true."""


def nothing(_: Context) -> Step | None:
    """The rule fits, and the same wait goes on."""
    return None


def notice(state: State, key: str) -> State:
    """Remember that this was told."""
    return replace(state, noticed=(*(n for n in state.noticed if n != key), key)[-32:])


def forget(state: State, *prefixes: str) -> State:
    return replace(state, noticed=tuple(n for n in state.noticed if not n.startswith(prefixes)))


def once(c: Context, key: str, draft: Draft) -> Step | None:
    """Tell it unless the same was told last for this key."""
    told = f"{key}:{draft.message}"
    if told in c.state.noticed:
        return None
    return Step(notice(forget(c.state, f"{key}:"), told), (draft,))


def noted(c: Context, state: State) -> tuple[State, tuple[Draft, ...]]:
    """What checks say beside their outcome, each sentence once."""
    drafts: tuple[Draft, ...] = ()
    for check in c.verdict.checks:
        step = once(replace(c, state=state), f"note:{check.name}", texts.warning(Event.WARNING, check.note))
        if check.note and step:
            state, drafts = step.state, (*drafts, *step.events)
    return state, drafts


def handled(c: Context) -> State:
    """The request has been carried out."""
    return replace(c.state, request=c.seen.request.id) if c.seen.request else c.state


def timeout(c: Context) -> tuple[Purpose, datetime]:
    """The latest moment to look again at something that may take until its deadline."""
    return Purpose.TIMER, c.now + c.spec.deadline + GRACE


def next_due(c: Context) -> datetime:
    """An interval after the last due time, so that lateness never adds up; never in the past."""
    last = c.state.tick.due if c.state.tick and guards.judged(c) else c.now
    due = last + c.spec.interval
    return due if due > c.now else c.now + c.spec.interval


def primary_pending(c: Context) -> Step | None:
    text = texts.primary_unready(c.spec, c.seen.primary.text)
    return once(c, "pending", texts.warning(Event.PENDING, text))


def told(c: Context, *kinds: Kind) -> tuple[Draft, ...]:
    """The events of the verdict's checks, in the order in which they were made; what several say alike is said once."""
    drafts: list[Draft] = []
    for check in c.verdict.checks:
        if check.kind not in kinds or not check.message or any(draft.message == check.message for draft in drafts):
            continue
        passed = check.outcome is Outcome.PASS
        if check.kind is Kind.ROLLBACK:
            drafts.append(
                texts.warning(Event.HOOK, check.message) if passed else texts.normal(Event.HOOK, check.message)
            )
        elif passed:
            drafts.append(texts.normal(Event.GATE if check.kind is Kind.GATE else Event.HOOK, check.message))
        else:
            error = check.outcome is Outcome.ERROR
            drafts.append(Draft(Event.HALTED, check.message, warning=True, error=error))
    return tuple(drafts)


def refused_gate(c: Context) -> str:
    """Name of the gate that refused, or an empty text."""
    return next((gate.name for gate in c.verdict.of(Kind.GATE) if gate.outcome is not Outcome.PASS), "")
