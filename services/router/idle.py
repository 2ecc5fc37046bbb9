"""Who scales the idle target up between rollouts, read off the target's managedFields. Pure."""

from datetime import datetime, timedelta
from typing import Final

from services.router.found import Found, target_revision
from services.router.parse import Canary
from services.router.rollout.inputs import Raised
from services.router.rollout.state import SETTLED, Phase, Stage, State
from shared.canary.ownership import ROUTER
from shared.kube import json
from shared.kube.json import Json

_AT_REST: Final = frozenset({Stage.IDLE, Stage.REPORTING, Stage.CONFIRMING})
SETTLED_IN: Final = timedelta(seconds=10)
_SIZE: Final[Json] = {"f:spec": {"f:replicas": {}}}


def keep_who_scales(obj: Json) -> Json:
    """Of a workload's managedFields only who owns its number of replicas: the lists of fields are a third of its bytes."""
    metadata = json.mapping(obj, "metadata")
    metadata["managedFields"] = [
        {**{key: entry[key] for key in ("manager", "time") if key in entry}, "fieldsV1": _SIZE}
        for entry in _owners(obj)
    ]
    return obj


def at_rest(phase: Phase, stage: Stage) -> bool:
    """The target stands at zero here, or shall."""
    return phase is Phase.WAITING or (phase in SETTLED and stage in _AT_REST)


def about_to_start(state: State, found: Found) -> bool:
    """One apply may bring a new template and its number of replicas: that number is the canary's, unless a gate must
    be asked first."""
    free = state.stage in {Stage.IDLE, Stage.REPORTING} and state.phase in SETTLED
    return free and not found.config_problem and target_revision(found) not in {state.revision, state.promoted}


def raised(canary: Canary, state: State, found: Found) -> Raised:
    """Somebody has scaled the target up since it came to rest. What was scaled before that was a canary's size."""
    size = json.number(found.target, "spec", "replicas", default=1)
    since = _resting_since(canary.document)
    idle = at_rest(state.phase, state.stage) and state.weight == 0  # one that serves everybody isn't
    if found.target is None or size == 0 or since is None or not idle:
        return Raised()
    last = max(_owners(found.target), key=lambda entry: json.text(entry, "time"), default={})
    manager, written = json.text(last, "manager"), json.text(last, "time")
    if manager in {"", ROUTER} or not _after(since, written, found.at):
        return Raised()
    if about_to_start(state, found):
        return Raised()
    return Raised(manager, json.number(found.target, "metadata", "generation"))


def _after(since: datetime, written: str, at: datetime | None) -> bool:
    """Was it written in this rest? The scale subresource notes no time; but whatever size the rollout left was put to zero,
    and made ours, when the rest began."""
    if written:
        return datetime.fromisoformat(written) > since
    return at is not None and at > since + SETTLED_IN


def claimed(found: Found) -> frozenset[str]:
    """Who claims to know the target's number of replicas, beside us."""
    return frozenset(json.text(entry, "manager") for entry in _owners(found.target)) - {ROUTER}


def _owners(obj: Json | None) -> list[Json]:
    entries = json.items(obj, "metadata", "managedFields")
    return [entry for entry in entries if json.value(entry, "fieldsV1", "f:spec", "f:replicas") is not None]


def _resting_since(document: Json) -> datetime | None:
    """The time of the transition that brought it to rest, or of the oldest that is remembered since."""
    since = ""
    for each in reversed(json.items(document, "status", "serinus", "transitions")):
        phase, stage = json.text(each, "phase"), json.text(each, "stage")
        if phase not in set(Phase) or stage not in set(Stage) or not at_rest(Phase(phase), Stage(stage)):
            break
        since = json.text(each, "at")
    return datetime.fromisoformat(since) if since else None
