"""From the wire to the machine's words. Pure."""

from services.router.rollout.inputs import Check, Judged, Kind, Look, Message, Outcome
from services.router.rollout.state import Purpose
from shared.wire import messages as wire


def message(received: wire.Fact | wire.Verdict | wire.Nudge) -> Message:
    if not isinstance(received, wire.Verdict):
        return Look(received.id)
    found = tuple(
        Check(each.name, Kind(each.kind), Outcome(each.outcome), each.message, each.note or "")
        for each in received.checks
    )
    return Judged(
        received.id, received.tick.revision, received.tick.seq, received.tick.due, Purpose(received.purpose),
        Outcome(received.outcome), found, received.abort or "",
    )  # fmt: skip


def checks(received: wire.Fact | wire.Verdict | wire.Nudge) -> tuple[wire.Check, ...]:
    """What a verdict brought, with values and queries, for those who are told."""
    return received.checks if isinstance(received, wire.Verdict) else ()
