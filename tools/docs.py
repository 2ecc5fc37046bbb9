"""Writes the files that are made of code (pages of docs/, CRDs, NATS accounts), or with --check says which are out of date.

`python -m tools.docs [--check]`; called by `make docs` and `make check`.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final, get_args

from pydantic import BaseModel

from services.router.rollout.machine import RULES
from services.router.rollout.state import Phase
from shared.bus import accounts
from shared.runtime import metrics, settings
from shared.wire import messages, subjects
from tools import asyncapi, crds, support

ROOT: Final = Path(__file__).parent.parent
_NOTE: Final = "<!-- Made by `make docs` from the code; don't edit. -->\n\n"


def rollout_states() -> str:
    """The transition table, as it stands in the code, and the picture that follows from it."""
    rows = "\n".join(f"| {_phases(rule.phases)} | {rule.when} | {_phases(rule.leads)} |" for rule in RULES)
    arrows = sorted(
        {(a, b) for rule in RULES if _drawn(rule.leads) for a in _drawn(rule.phases) for b in rule.leads if a != b}
    )
    lines = "\n".join(f"    {a or 'New'} --> {b or 'New'}" for a, b in arrows)
    return (
        "# States of a rollout\n\nThe first row whose phase and condition fit is taken; the code is "
        "`services/router/rollout/machine.py`.\n\n"
        f"```mermaid\nstateDiagram-v2\n    [*] --> New\n{lines}\n```\n\n| in | when | leads to |\n|---|---|---|\n{rows}\n"
    )


def _drawn(phases: frozenset[Phase]) -> frozenset[Phase]:
    """Rules that hold, or lead, everywhere would hide the picture under arrows."""
    return phases if len(phases) < len(Phase) - 1 else frozenset()


def _phases(phases: frozenset[Phase]) -> str:
    if phases == frozenset(Phase):
        return "any"
    if phases == frozenset(Phase) - {Phase.TERMINATING}:
        return "any but Terminating"
    return ", ".join(str(phase) or "(new)" for phase in Phase if phase in phases)


def configuration() -> str:
    """Every setting of every process."""
    return settings.document(settings.known())


def wire() -> str:
    """Who sends what to whom, and each message field by field."""
    parts = ["# Messages\n", "| message | subject | from | to |\n|---|---|---|---|"]
    parts += [
        f"| [{model.__name__}](#{model.__name__.lower()}) | `{subject}` | {sender} | {receiver} |"
        for model, subject, sender, receiver in _FLOW
    ]
    parts.append("")
    for kind in dict.fromkeys(_named(row[0] for row in _FLOW)):
        parts.append(f"## {kind.__name__}\n\n{' '.join((kind.__doc__ or '').split())}\n")
        if issubclass(kind, BaseModel):
            parts.append("| field | type | meaning |\n|---|---|---|")
            parts += [
                f"| `{name}` | `{_kind(field.annotation)}` | {field.description or ''} |"
                for name, field in kind.model_fields.items()
            ]
        else:
            parts.append(", ".join(f"`{word}`" for word in kind))
        parts.append("")
    return "\n".join(parts)


def _kind(annotation: object) -> str:
    """A type as a reader writes it."""
    text = annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
    return re.sub(r"\b(?:typing|datetime|collections\.abc|shared\.\w+\.\w+)\.", "", text).replace("|", "\\|")


_FLOW: Final = (
    (messages.Fact, subjects.INBOX_PUBLISHED, "watcher", "router"),
    (messages.Tick, f"{subjects.SCHEDULES} → {subjects.TICKS}", "router", "analyzer"),
    (messages.Glance, f"{subjects.GLANCE_SCHEDULES} → {subjects.GLANCES}", "router, analyzer", "analyzer"),
    (messages.Verdict, subjects.INBOX_PUBLISHED, "analyzer", "router"),
    (messages.Nudge, subjects.INBOX_PUBLISHED, "router", "router"),
    (messages.Notice, subjects.NOTICES, "router", "notifier"),
    (messages.CloudEvent, subjects.ROLLOUTS, "router", "anybody"),
    (messages.DeadLetter, subjects.DEAD, "everybody", "people"),
)


def _named(kinds: Iterable[object]) -> Iterator[type[BaseModel] | type[StrEnum]]:
    """The models and enumerations in these types, each followed by those in its fields."""
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield kind
            yield from _named(field.annotation for field in kind.model_fields.values())
        elif isinstance(kind, type) and issubclass(kind, StrEnum):
            yield kind
        else:
            yield from _named(get_args(kind))


def nats_accounts() -> str:
    """The accounts of the NATS that `k8s/nats` installs; nats-server reads the passwords from its environment."""
    variables = {user.name: f"${accounts.variable(user.name)}" for user in accounts.USERS}
    return "# Made by `make docs` from shared/bus/accounts.py; don't edit.\n" + accounts.render(variables)


def _page(make: Callable[[], str]) -> Callable[[], str]:
    return lambda: f"{_NOTE}{make().strip()}\n"


FILES: Final[Mapping[str, Callable[[], str]]] = {
    "docs/rollout-states.md": _page(rollout_states),
    "docs/configuration.md": _page(configuration),
    "docs/metrics.md": _page(metrics.document),
    "docs/messages.md": _page(wire),
    "docs/asyncapi.yaml": asyncapi.render,
    "docs/install.md": support.page,
    "k8s/nats/accounts.conf": nats_accounts,
    **{f"k8s/crds/{plural}.yaml": partial(crds.render, plural) for plural in crds.NAMES},
}
"""What is made of code, by path."""


def outdated() -> list[str]:
    """The files that the code would write differently."""
    paths = {ROOT / name: make for name, make in FILES.items()}
    return [
        str(path.relative_to(ROOT)) for path, make in paths.items() if not path.exists() or path.read_text() != make()
    ]


def main() -> int:
    """Exit code 1 if --check finds a file that the code would write differently."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is out of date")
    if parser.parse_args().check:
        if old := outdated():
            sys.stderr.write(f"out of date, run `make docs`: {', '.join(old)}\n")
        return 1 if old else 0
    for name, make in FILES.items():
        (ROOT / name).write_text(make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
