"""`Canary.status` from and to the machine's state. Pure.

Flagger's fields keep their meaning; ours live under `status.serinus`. Hashes of Flagger (`lastAppliedSpec`,
`lastPromotedSpec`, `trackedConfigs`) stay as found until a rollout of ours ends.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeVar

from services.router import conditions, transitions
from services.router.nodes import Node
from services.router.rollout.machine import Decision
from services.router.rollout.state import SETTLED, Cookies, Hold, PendingTick, Phase, Purpose, Raise, Stage, State
from shared.kube import json
from shared.kube.json import Json

Word = TypeVar("Word", bound=StrEnum)
SCHEMA: Final = 1
DIRECT: Final = "direct/"
"""How the cause of a transition begins that was committed without a bus: what came before it may be unpublished too."""
_FLAGGERS: Final = re.compile("[456789bcdf]{1,10}")
_COOKIES: Final = {
    "canary": "sessionAffinityCookie",
    "primary": "primarySessionAffinityCookie",
    "former": "previousSessionAffinityCookie",
}
"""Parts of the state's cookies, and the fields in which Flagger shows them."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a commit writes beside the state."""

    kind: str
    configs: Mapping[str, str] | None
    """Checksums of the tracked configs that belong to the state's revision; None while tracking is off."""
    nodes: tuple[Node, ...]
    """Under which addresses the gateway counts the canary's answers, and counted those of the revision before."""
    cause: str
    generation: int
    """Of the spec that was decided on."""
    writers: Mapping[str, str]
    """When others last wrote the status, as far as that is known and accepted."""


def decode(document: Json) -> State:
    """The state of a Canary object; a Canary without status is new.

    Phase, weight, iterations and failed checks are read from our last transition, not from the fields that people see: what
    somebody else writes there changes nothing (and is put right by our next commit). Where there is no transition of
    ours, another controller's fields say how things stand.
    """
    status = json.mapping(document, "status")
    own = json.mapping(status, "serinus")
    last = last_transition(document) or {**status, "weight": status.get("canaryWeight")}
    tick = json.mapping(own, "tick")
    hold = json.mapping(own, "hold")
    return State(
        phase=_one_of(Phase, json.text(last, "phase"), Phase.NEW),
        stage=_one_of(Stage, json.text(own, "stage"), Stage.IDLE),
        weight=json.number(last, "weight"),
        failed_checks=json.number(last, "failedChecks"),
        iterations=max(json.number(last, "iterations"), 0),
        revision=json.text(own, "revision"),
        promoted=json.text(own, "promotedRevision"),
        promotion=json.text(own, "promotion"),
        cookies=Cookies(*(json.text(own, "cookies", part) for part in _COOKIES)),
        transition=json.number(own, "transition"),
        seq=json.number(own, "seq"),
        tick=_tick(tick) if tick else None,
        hold=Hold(json.text(hold, "reason"), _required(hold, "since")) if hold else None,
        rollout_started=_time(own, "rolloutStartedAt"),
        analysis_started=_time(own, "analysisStartedAt"),
        step_started=_time(own, "stepStartedAt"),
        step_ticks=json.number(own, "stepTicks"),
        noticed=tuple(str(text) for text in own.get("noticed") or ()),
        request=json.text(own, "request"),
        providers_checked=json.flag(own, "providersChecked"),
        supported=own.get("supported") is not False,
        raises=tuple(
            Raise(json.text(each, "manager"), _required(each, "at"), json.number(each, "generation"))
            for each in json.items(own, "raises")
        ),
        yielded=json.text(own, "yielded"),
    )


def _one_of(words: type[Word], text: str, default: Word) -> Word:
    return words(text) if text in set(words) else default


def _tick(tick: Json) -> PendingTick | None:
    purpose = json.text(tick, "purpose")
    if purpose not in set(Purpose):
        return None
    return PendingTick(json.number(tick, "seq"), _required(tick, "due"), Purpose(purpose), json.text(tick, "revision"))


def encode(document: Json, decision: Decision, recorded: Recorded, now: datetime) -> Json:
    """The whole new status of this Canary object after the decision."""
    state = decision.state
    old = json.mapping(document, "status")
    status = dict(old)
    status.update(
        phase=str(state.phase),
        canaryWeight=state.weight,
        failedChecks=state.failed_checks,
        iterations=state.iterations,
        lastTransitionTime=stamp(now.replace(microsecond=0)),
        conditions=conditions.of(old, state, recorded.kind, stamp(now.replace(microsecond=0))),
        serinus=_own(old, decision, recorded, now),
    )
    if state.phase in SETTLED and state.revision and (state.rollout_started or not of_flagger(old)):
        status.update(lastAppliedSpec=short(state.revision), lastPromotedSpec=short(state.promoted))
        if recorded.configs is not None:
            status["trackedConfigs"] = dict(recorded.configs)
    for part, name in _COOKIES.items():
        _set(status, name, getattr(state.cookies, part))
    return status


def of_flagger(status: Json) -> bool:
    """Is `lastAppliedSpec` a hash of Flagger's (behaviour sheet §4.2)? It stays until a rollout of ours ends."""
    return _FLAGGERS.fullmatch(json.text(status, "lastAppliedSpec")) is not None


def _own(old: Json, decision: Decision, recorded: Recorded, now: datetime) -> Json:
    state = decision.state
    own = dict(json.mapping(old, "serinus"))
    tick = state.tick
    own.update(
        schema=SCHEMA,
        stage=str(state.stage),
        revision=state.revision,
        promotedRevision=state.promoted,
        promotion=state.promotion,
        transition=state.transition,
        seq=state.seq,
        stepTicks=state.step_ticks,
        noticed=list(state.noticed),
        request=state.request,
        providersChecked=state.providers_checked,
        supported=state.supported,
        observedGeneration=recorded.generation,
        configs=dict(recorded.configs or {}),
        nodes=_nodes(own, recorded.nodes),
        transitions=transitions.after(json.items(old, "serinus", "transitions"), decision, recorded.cause, stamp(now)),
    )
    _set(own, "writers", dict(recorded.writers))
    _set(own, "tick", tick and _same(own, "tick", "seq", {
        "seq": tick.seq, "due": stamp(tick.due), "purpose": str(tick.purpose), "revision": tick.revision,
    }))  # fmt: skip
    _set(own, "hold", state.hold and _same(own, "hold", "since", {
        "reason": state.hold.reason, "since": stamp(state.hold.since),
    }))  # fmt: skip
    _set(own, "cookies", {part: text for part in _COOKIES if (text := getattr(state.cookies, part))})
    _set(own, "raises", [
        {"manager": each.manager, "at": stamp(each.at), "generation": each.generation} for each in state.raises
    ])  # fmt: skip
    _set(own, "yielded", state.yielded)
    _set(own, "rolloutStartedAt", state.rollout_started and stamp(state.rollout_started))
    _set(own, "analysisStartedAt", state.analysis_started and stamp(state.analysis_started))
    _set(own, "stepStartedAt", state.step_started and stamp(state.step_started))
    return own


def _same(own: Json, key: str, identity: str, new: Json) -> Json:
    """With what a newer version has noted of the same thing."""
    old = json.mapping(own, key)
    return {**old, **new} if old.get(identity) == new[identity] else new


def _nodes(own: Json, nodes: tuple[Node, ...]) -> list[Json]:
    had = {json.text(each, "address"): each for each in json.items(own, "nodes")}
    found = [{**had.get(node.address, {}), "address": node.address, "lastSeen": stamp(node.seen)} for node in nodes]
    for each, node in zip(found, nodes, strict=True):
        _set(each, "former", node.former)
    return found


def _set(target: Json, key: str, value: object) -> None:
    if value:
        target[key] = value
    else:
        target.pop(key, None)


def last_transition(document: Json) -> Json:
    found = json.items(document, "status", "serinus", "transitions")
    return found[-1] if found else {}


def direct(transition: Json) -> bool:
    """Was it committed without a bus?"""
    return json.text(transition, "cause").startswith(DIRECT)


def in_doubt(document: Json) -> list[Json]:
    """Transitions whose events may not be published yet: the last, and before one without a bus also the one before."""
    found = json.items(document, "status", "serinus", "transitions")
    first = len(found) - 1
    while first > 0 and direct(found[first]):
        first -= 1
    return found[max(first, 0) :]


def known_nodes(document: Json) -> tuple[Node, ...]:
    """The canary's addresses as last recorded."""
    nodes = json.items(document, "status", "serinus", "nodes")
    return tuple(
        Node(json.text(node, "address"), _required(node, "lastSeen"), json.flag(node, "former")) for node in nodes
    )


def short(revision: str) -> str:
    """A revision as Flagger's fields and webhook checksums carry it."""
    return revision[:16]


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC; fractions only where there are some, since the printer column shows seconds."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _time(obj: Json, key: str) -> datetime | None:
    text = json.text(obj, key)
    return datetime.fromisoformat(text) if text else None


def _required(obj: Json, key: str) -> datetime:
    return _time(obj, key) or datetime.fromtimestamp(0, UTC)
