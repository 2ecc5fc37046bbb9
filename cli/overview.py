"""`status`: where our canaries stand, and what was last said of one."""

from collections.abc import Iterable
from typing import Final

from cli.canaries import Ref
from cli.ports import Say
from services.router import status
from services.router.parse import REQUEST
from services.router.rollout.guards import BLOCK, REFUSED, SUSPENDED
from shared.kube import json
from shared.kube.json import Json

_HEAD: Final = ("CANARY", "PHASE", "WEIGHT", "FAILED", "REVISION", "WHY NOT ON")
_SHORT: Final = 8
"""Digits of a revision: enough to tell two apart."""


def table(canaries: Iterable[Json], say: Say) -> None:
    """One line for each."""
    rows = [_HEAD, *(_row(each) for each in canaries)]
    if len(rows) == 1:
        say("no Canary of Serinus here")
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    for row in rows:
        say("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def story(canary: Json, say: Say) -> None:
    """The events of the transitions that the status keeps, oldest first."""
    for transition in json.items(canary, "status", "serinus", "transitions"):
        for event in json.items(transition, "events"):
            at = json.text(transition, "at").partition(".")[0].removesuffix("Z") + "Z"
            say(f"{at}  {json.text(event, 'eventType'):7}  {json.text(event, 'message')}")


def _row(canary: Json) -> tuple[str, ...]:
    own = json.mapping(canary, "status", "serinus")
    state = status.decode(canary)
    return (
        str(Ref.of(canary)), str(state.phase) or "-", str(state.weight), str(state.failed_checks),
        state.revision[:_SHORT] or "-", _why(canary, own),
    )  # fmt: skip


def _why(canary: Json, own: Json) -> str:
    """What keeps it from going on; or what a person asked and nobody has done yet."""
    if json.flag(canary, "spec", "suspend"):
        return SUSPENDED
    blocks = [str(each).removeprefix(BLOCK) for each in own.get("noticed") or () if str(each).startswith(BLOCK)]
    reasons = [each for each in blocks if each != SUSPENDED] or [json.text(own, "hold", "reason")]
    if reasons[0]:
        return reasons[0] if reasons[0].startswith(REFUSED) else reasons[0].partition(": ")[2] or reasons[0]
    asked = json.text(canary, "metadata", "annotations", REQUEST)
    return f"asked to {asked.partition(':')[0]}" if asked else ""
