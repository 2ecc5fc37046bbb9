"""Writes the pages of docs/ that are made of code, or with --check says which of them is out of date.

`python -m tools.docs [--check]`; called by `make docs` and `make check`.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from services.router.rollout.machine import RULES
from services.router.rollout.state import Phase
from shared.runtime import metrics, settings
from shared.wire import messages

DOCS: Final = Path(__file__).parent.parent / "docs"
SERVICES: Final = ("watcher", "analyzer", "router", "notifier")
_NOTE: Final = "<!-- Made by `make docs` from the code; don't edit. -->\n\n"


def rollout_states() -> str:
    """The transition table, as it stands in the code, and the picture that follows from it."""
    rows = "\n".join(f"| {_phases(rule.phases)} | {rule.when} | {_phases(rule.leads)} |" for rule in RULES)
    arrows = sorted(
        {
            (a, b)
            for rule in RULES
            if rule.leads != frozenset(Phase)
            for a in _drawn(rule.phases)
            for b in rule.leads
            if a != b
        }
    )
    lines = "\n".join(f"    {a or 'New'} --> {b or 'New'}" for a, b in arrows)
    return (
        "# States of a rollout\n\nThe first row whose phase and condition fit is taken; the code is "
        "`services/router/rollout/machine.py`.\n\n"
        f"```mermaid\nstateDiagram-v2\n    [*] --> New\n{lines}\n```\n\n| in | when | leads to |\n|---|---|---|\n{rows}\n"
    )


def _drawn(phases: frozenset[Phase]) -> frozenset[Phase]:
    """Rules that hold everywhere would hide the picture under arrows."""
    return phases if len(phases) < len(Phase) - 1 else frozenset()


def _phases(phases: frozenset[Phase]) -> str:
    if phases == frozenset(Phase):
        return "any"
    if phases == frozenset(Phase) - {Phase.TERMINATING}:
        return "any but Terminating"
    return ", ".join(str(phase) or "(new)" for phase in Phase if phase in phases)


def configuration() -> str:
    """Every setting of every process."""
    return "# Settings\n\n" + settings.document(_settings())


def _settings() -> list[type[settings.Settings]]:
    found = []
    for name in SERVICES:
        module = importlib.import_module(f"services.{name}.settings")
        found += [
            each for each in vars(module).values()
            if isinstance(each, type) and issubclass(each, settings.Settings) and each.__module__ == module.__name__
        ]  # fmt: skip
    bus = importlib.import_module("shared.bus.settings")
    return [
        *found,
        *(each for each in vars(bus).values() if isinstance(each, type) and each.__module__ == bus.__name__),
    ]


def wire() -> str:
    """The public event and the messages behind it, field by field."""
    parts = ["# Messages\n"]
    for model in (messages.CloudEvent, messages.RolloutEvent, messages.Check, messages.Fact, messages.Tick,
                  messages.Question, messages.Metric, messages.Evidence, messages.Verdict, messages.Notice,
                  messages.Nudge, messages.DeadLetter):  # fmt: skip
        text = " ".join((model.__doc__ or "").split())
        parts.append(f"## {model.__name__}\n\n{text}\n\n| field | type | meaning |\n|---|---|---|")
        for name, field in model.model_fields.items():
            kind = str(field.annotation).replace("<class '", "").replace("'>", "").replace("shared.wire.messages.", "")
            kind = kind.replace("|", "\\|").replace("datetime.datetime", "datetime")
            parts.append(f"| `{name}` | `{kind}` | {field.description or ''} |")
        parts.append("")
    return "\n".join(parts)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "rollout-states.md": rollout_states,
    "configuration.md": configuration,
    "metrics.md": metrics.document,
    "messages.md": wire,
}


def main() -> int:
    """Exit code 1 if --check finds a page that the code would write differently."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name what is out of date")
    check = parser.parse_args().check
    old = []
    for name, make in PAGES.items():
        text = _NOTE + make().strip() + "\n"
        path = DOCS / name
        if check:
            if not path.exists() or path.read_text() != text:
                old.append(name)
        else:
            path.write_text(text)
    if old:
        sys.stderr.write(f"out of date, run `make docs`: {', '.join(old)}\n")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
