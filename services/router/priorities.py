"""Where generated rules stand: right above the rule that they are made from, and below everything that wins over it. Pure.

A rule of the source with priority p gets a stack of generated ones from p + 1 on. A sibling with a priority above p goes
on winning, since the stack ends below it; one with p or less went on losing, and does. Where integers don't suffice for
that, nothing is generated and people are told which priority to raise.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.router.siblings import overlap, priority
from shared.kube import json
from shared.kube.json import Json


class NoRoom(Exception):
    """No priority is right; the text says which rule is in the way, and what to do."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A rule of the source route, and how many generated rules stand in its place."""

    index: int
    """Where the source lists it."""
    rule: Json
    size: int


def bases(
    stacks: Sequence[Stack], listed: Sequence[Json], others: Iterable[Json], have: Mapping[str, int]
) -> dict[int, int]:
    """The lowest priority of each stack, by its index.

    `listed` are all rules of the source route, `others` those of other routes. A priority that the generated route has
    already (`have`, by rule) is kept where it is right: Flagger's 10000 is, as long as it shadows nobody.
    """
    ours = {each.index for each in stacks}
    strangers = [(index, rule) for index, rule in enumerate(listed) if index not in ours]
    around = [*strangers, *((len(listed), rule) for rule in others)]
    try:
        return _placed(stacks, around, have)
    except NoRoom:
        return _placed(stacks, around, {})


def _placed(stacks: Sequence[Stack], around: Sequence[tuple[int, Json]], have: Mapping[str, int]) -> dict[int, int]:
    """From the lowest priority up; of equals the one that is listed first wins, so it comes last."""
    found: dict[int, int] = {}
    below: list[tuple[Json, int]] = []
    for stack in sorted(stacks, key=lambda each: (priority(each.rule), -each.index)):
        above = [top for rule, top in below if overlap(rule, stack.rule)]
        least = max([priority(stack.rule), *above]) + 1
        most = _limit(stack, around, least) - stack.size
        kept = have.get(json.text(stack.rule, "name"))
        found[stack.index] = kept if kept is not None and least <= kept <= most else least
        below.append((stack.rule, found[stack.index] + stack.size - 1))
    return found


def _limit(stack: Stack, around: Sequence[tuple[int, Json]], least: int) -> int:
    """The lowest priority that must go on winning over this rule. Raises NoRoom."""
    own, limit = priority(stack.rule), 2**31
    for index, rule in around:
        theirs = priority(rule)
        earlier = theirs == own and index < stack.index
        if not (earlier or theirs > own) or not overlap(rule, stack.rule):
            continue
        if earlier or theirs < least + stack.size:
            names = json.text(stack.rule, "name"), json.text(rule, "name")
            raise NoRoom(
                f"http route {names[0]} with priority {own} leaves no room below http route {names[1]} with priority "
                f"{theirs}, which has the same path: set the priority of {names[1]} to {least + stack.size} or more"
            )
        limit = min(limit, theirs)
    return limit
