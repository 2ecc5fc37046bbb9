"""Requests by annotation, pause and resume: what a person wants, written where Kubernetes says who may.

The router carries a request out once and takes the annotation off; `--wait` follows that. Pausing is no request but a
field of the Canary, so that it shows in `kubectl get -o yaml` and in Git.
"""

from collections.abc import Callable
from typing import Final

from cli.canaries import Ref
from cli.ports import Api, Impatience, Patience, Refusal, Say
from services.router.parse import REQUEST
from services.router.rollout import guards, holding, machine
from services.router.rollout.inputs import Verb
from shared.kube import json, kinds
from shared.kube.json import Json

POLL: Final = 0.5
"""Seconds between looks of `--wait`."""
_IDLE: Final = next(rule.when for rule in machine.RULES if rule.action is holding.ignore_request)
_PAUSED: Final = guards.BLOCK + guards.SUSPENDED


async def ask(api: Api, canary: Json, verb: Verb, new_id: Callable[[], str], say: Say) -> str:
    """Leave the request on the Canary; answers the annotation's value."""
    ref, value = Ref.of(canary), f"{verb}:{new_id()}"
    await api.patch(kinds.CANARY, ref.namespace, ref.name, {"metadata": {"annotations": {REQUEST: value}}})
    if replaced := _annotation(canary):
        say(f"{ref}: replaces {replaced}, which nobody had carried out")
    say(f"{ref}: asked to {verb}")
    if json.flag(canary, "spec", "suspend"):
        say(f"{ref}: is paused, so this waits until it is resumed")
    return value


async def follow(api: Api, before: Json, value: str, patience: Patience, say: Say) -> None:
    """Wait until the router has taken the request. Raises Refusal if it came to nothing."""
    ref, verb = Ref.of(before), value.partition(":")[0]
    after = await until(api, ref, lambda found: _taken(found, value), patience, f"to {verb}")
    left = _annotation(after)
    if json.text(after, "status", "serinus", "request") != value and left:
        raise Refusal(f"{ref}: somebody replaced the request by {left} before it was carried out")
    if _IDLE in _rules(before, after):
        phase = json.text(after, "status", "phase")
        raise Refusal(f"{ref}: to {verb} means nothing now (phase {phase}), so the request was used up")
    say(f"{ref}: done; {_summary(after)}")


async def suspend(api: Api, canary: Json, wanted: bool, say: Say) -> None:
    """`spec.suspend`: on, or off."""
    ref, word = Ref.of(canary), "paused" if wanted else "running"
    if json.flag(canary, "spec", "suspend") == wanted:
        say(f"{ref}: is {word} already")
        return
    await api.patch(kinds.CANARY, ref.namespace, ref.name, {"spec": {"suspend": wanted}})
    say(f"{ref}: spec.suspend is {str(wanted).lower()} now")


async def follow_suspension(api: Api, ref: Ref, wanted: bool, patience: Patience, say: Say) -> None:
    """Wait until the router knows."""

    def known(found: Json) -> bool:
        noticed = json.value(found, "status", "serinus", "noticed") or []
        return (_PAUSED in noticed) == wanted

    after = await until(api, ref, known, patience, "to pause" if wanted else "to resume")
    say(f"{ref}: done; {_summary(after)}")


async def until(api: Api, ref: Ref, done: Callable[[Json], bool], patience: Patience, what: str) -> Json:
    """The Canary as soon as it looks so. Raises Impatience."""
    end = patience.monotonic() + patience.seconds
    while True:
        found = await api.get(kinds.CANARY, ref.namespace, ref.name)
        if found is None:
            raise Refusal(f"{ref}: was deleted meanwhile")
        if done(found):
            return found
        if patience.monotonic() >= end:
            raise Impatience(f"{ref}: the router hasn't taken the request {what} within {patience.seconds:g} s")
        await patience.pause(POLL)


def _annotation(canary: Json) -> str:
    return json.text(canary, "metadata", "annotations", REQUEST)


def _taken(canary: Json, value: str) -> bool:
    """Carried out, taken off, or replaced: whatever it is, it's no longer pending."""
    return json.text(canary, "status", "serinus", "request") == value or _annotation(canary) != value


def _rules(before: Json, after: Json) -> list[str]:
    """Why the machine moved between two looks."""
    last = json.number(before, "status", "serinus", "transition")
    moves = json.items(after, "status", "serinus", "transitions")
    return [json.text(each, "rule") for each in moves if json.number(each, "seq") > last]


def _summary(canary: Json) -> str:
    phase, weight = json.text(canary, "status", "phase"), json.number(canary, "status", "canaryWeight")
    return f"phase {phase}, canary weight {weight}"
