"""`migrate back`: suspends what a returning Flagger would analyse anew.

Flagger compares a hash that only it can compute. Where a rollout of ours has ended since, `lastAppliedSpec` is ours, so
whatever runs there would be a new revision for it.
"""

from cli.canaries import Ref
from cli.ports import Api, Refusal, Say
from services.router import status
from services.router.rollout.state import UNDER_WAY
from shared.kube import json, kinds
from shared.kube.json import Json


async def back(api: Api, mine: list[Json], *, dry_run: bool, say: Say) -> None:
    """One line for each. Raises Refusal, once all others are done, if some are in the middle of a rollout."""
    busy = []
    for each in mine:
        if _under_way(each):
            busy.append(str(Ref.of(each)))
        elif not _released_here(each):
            say(f"{Ref.of(each)}: nothing was released since, Flagger goes on with it as it is")
        elif json.flag(each, "spec", "suspend"):
            say(f"{Ref.of(each)}: is suspended already")
        else:
            await _suspend(api, each, dry_run=dry_run, say=say)
    if not mine:
        say("no Canary of Serinus here")
    if busy:
        raise Refusal(
            f"in the middle of a rollout, so left alone: {', '.join(busy)}; let it end or abort it, then come back"
        )


def _under_way(canary: Json) -> bool:
    state = status.decode(canary)
    return bool(state.revision) and state.phase in UNDER_WAY


def _released_here(canary: Json) -> bool:
    """The status is ours, and so is the hash of what was applied last."""
    return bool(json.mapping(canary, "status", "serinus")) and not status.of_flagger(json.mapping(canary, "status"))


async def _suspend(api: Api, canary: Json, *, dry_run: bool, say: Say) -> None:
    ref = Ref.of(canary)
    if not dry_run:
        await api.patch(kinds.CANARY, ref.namespace, ref.name, {"spec": {"suspend": True}})
    say(
        f"{ref}: {'would be suspended' if dry_run else 'suspended'}, since it was released here and Flagger would analyse it anew"
    )
