"""`migrate check`: what Serinus would do with a Canary as it stands, asked of the very code that would do it.

The router's machine decides on the objects as they are until it would have to wait for the world; nothing is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cli import direct, snapshot
from cli.canaries import Ref
from cli.ports import Api, Say
from services.router import observe, policy, status, wanted
from services.router.converge import difference
from services.router.found import Found
from services.router.objects import NoSelector, Options, Wanted, selector
from services.router.parse import Canary
from services.router.rollout import guards, machine
from services.router.rollout.inputs import Look
from services.router.rollout.state import SETTLED, Phase, Stage, State
from services.router.world import World
from shared.canary.resource import InvalidCanary, parse_spec
from shared.kube import json
from shared.kube.json import Json

_NEW: Final = "and what the target shows isn't what the primary was made from: a new revision"
_MOST: Final = 20
"""Decisions in a row, as for one message of the router."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """What would become of one Canary."""

    before: State
    after: State
    restarts: bool
    """An analysis would begin, without weight: a new one, or the one that was under way."""
    writes: tuple[str, ...]
    """Objects beside the Canary that would be written at once."""
    foreign: bool
    """No status of ours: somebody else ran it, or nobody."""


async def check(api: Api, canaries: list[Json], now: datetime, say: Say) -> None:
    """One line for each Canary, and what would be written below it."""
    worlds: dict[str, World] = {}
    for document in canaries:
        namespace = json.namespace(document)
        if namespace not in worlds:
            worlds[namespace] = await snapshot.taken(api, namespace)
        found = await outlook(worlds[namespace], document, Options(), now)
        say(f"{Ref.of(document)}: {sentence(found)}")
        for each in found.writes:
            say(f"    writes {each}")
    if not canaries:
        say("no Canary of Serinus here")


async def outlook(world: World, document: Json, options: Options, now: datetime) -> Outlook:
    """Reads the tracked configs of this Canary, decides, and compares."""
    canary, before = direct.read(document), status.decode(document)
    found = await _found(world, canary, options, now)
    state, restarts = before, False
    for _ in range(_MOST):
        seen = observe.observe(canary, state, found, options, now)
        decision = machine.decide(canary.spec, state, seen, Look("migrate check"), now)
        if decision is None:
            break
        state = decision.state
        restarts = restarts or (state.stage is Stage.READYING and state.weight == 0)
    refused = bool(policy.refusals(canary.model, found))
    writes = () if wanted.hands_off(canary, state, found, refused) else _writes(world, canary, state, found, options)
    foreign = not json.mapping(document, "status", "serinus")
    return Outlook(before, state, restarts, tuple(writes), foreign)


async def _found(world: World, canary: Canary, options: Options, now: datetime) -> Found:
    hold = policy.contested(canary.document, canary.spec.interval, now)
    found = replace(await world.found(canary, invalid=_invalid(canary.document), hold=hold), at=now)
    if found.target is None or found.config_problem:
        return found
    try:
        selector(canary, found, options)
    except NoSelector as error:
        return replace(found, config_problem=str(error))
    return found


def _invalid(document: Json) -> str:
    try:
        parse_spec(json.mapping(document, "spec"))
    except InvalidCanary as error:
        return str(error)
    return ""


def _writes(world: World, canary: Canary, state: State, found: Found, options: Options) -> Iterator[str]:
    for copy in wanted.copies(state, found):
        yield f"the primary's copy of {copy.key}"
    for want in wanted.wanted(canary, state, found, options):
        have = world.cache(want.kind).get(canary.spec.namespace, want.name)
        if what := _write(want, have):
            yield f"{want.kind.kind} {want.name} ({what})"


def _write(want: Wanted, have: Json | None) -> str:
    if want.gone:
        return "deleted" if have is not None else ""
    if have is None:
        return "created" if want.create is not None else ""
    change = difference(have, want)
    parts = [f"{part}.{field}" for part, fields in change.items() for field in fields]
    return ", ".join(parts)


def sentence(found: Outlook) -> str:
    """What happens, in one sentence."""
    before, after = found.before, found.after
    phase = before.phase or "new"
    for notice in after.noticed:
        if notice.startswith(guards.BLOCK):
            return f"{phase}, and nothing is done: {notice.removeprefix(guards.BLOCK)}"
    if not found.foreign and after == before:
        return f"{phase}, run by Serinus already: nothing changes"
    if before.phase in {Phase.NEW, Phase.INITIALIZING}:
        return f"{phase}: is initialized"
    if before.phase not in SETTLED:
        return f"{phase}: {_goes(found)}"
    if after.phase is before.phase and after.stage is not Stage.CONFIRMING:
        if any(notice.startswith("pending:") for notice in after.noticed):
            return f"{phase}, {_NEW}, which waits for the primary to be ready"
        kept = "what the target shows is what failed" if before.phase is Phase.FAILED else "as it is"
        return f"{phase}, taken over: {kept}, nothing starts"
    return f"{phase}, {_NEW}, {_goes(found)}"


def _goes(found: Outlook) -> str:
    after = found.after
    if found.restarts:
        return "its analysis starts with all traffic on the primary"
    if after.phase is Phase.WAITING or after.stage is Stage.CONFIRMING:
        return "its confirm-rollout webhooks are asked"
    if after.phase in {Phase.PROMOTING, Phase.FINALISING}:
        return "the promotion is finished"
    return f"goes on in phase {after.phase} with {after.weight} % on the canary"
