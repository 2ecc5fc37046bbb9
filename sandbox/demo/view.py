"""The live view: a small screen on a terminal, plain lines elsewhere. Both say the same."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sandbox.demo.record import Record, Sample, Told

_SHOWN = 12


class View(Protocol):
    """What the story reports to."""

    def say(self, text: str) -> None:
        """A sentence about the demo itself."""

    def told(self, event: Told) -> None:
        """One rollout event."""

    def seen(self, sample: Sample) -> None:
        """One look at the canary."""


class Lines:
    """For logs and CI: a line per event, and one per change of phase or weight."""

    def __init__(self) -> None:
        self._last: tuple[str, int] = ("", -1)

    def say(self, text: str) -> None:
        print(f"--- {text}", flush=True)

    def told(self, event: Told) -> None:
        print(f"{event.at:6.1f} s  {'!' if event.warning else ' '} {event.message}", flush=True)

    def seen(self, sample: Sample) -> None:
        if (sample.phase, sample.weight) != self._last:
            self._last = (sample.phase, sample.weight)
            success = "-" if sample.success is None else f"{sample.success:.1f} %"
            print(
                f"{sample.at:6.1f} s    {sample.phase or 'new':<12} weight {sample.weight:>3}  canary success {success}",
                flush=True,
            )


class Screen:
    """For people: weights, phase, checks and the last events, redrawn in place."""

    def __init__(self, record: Record, live: Live) -> None:
        self._record = record
        self._live = live
        self._sample: Sample | None = None
        self._sentence = ""

    def say(self, text: str) -> None:
        self._sentence = text
        self._draw()

    def told(self, event: Told) -> None:
        self._draw()

    def seen(self, sample: Sample) -> None:
        self._sample = sample
        self._draw()

    def _draw(self) -> None:
        self._live.update(Group(Text(self._sentence, style="bold"), self._canary(), self._checks(), self._events()))

    def _canary(self) -> Panel:
        grid = Table.grid(padding=(0, 2))
        sample = self._sample
        if sample:
            grid.add_row("phase", sample.phase or "new", f"{sample.at:.0f} s")
            for name, weight in (("primary", 100 - sample.weight), ("canary", sample.weight)):
                grid.add_row(name, ProgressBar(total=100, completed=weight, width=40), f"{weight} %")
            grid.add_row("failed checks", str(sample.failed_checks), "")
        return Panel(grid, title="canary podinfo.test", title_align="left")

    def _checks(self) -> Panel:
        table = Table(box=None, pad_edge=False)
        for column in ("check", "outcome", "value", "bounds"):
            table.add_column(column)
        for check in self._record.last_checks():
            value = check.get("value")
            bounds = _bounds(check.get("lower"), check.get("upper"))
            style = "green" if check["outcome"] == "pass" else "red"
            shown = "" if value is None else f"{value:.1f}"
            table.add_row(str(check["name"]), Text(str(check["outcome"]), style=style), shown, bounds)
        return Panel(table, title="last verdict", title_align="left")

    def _events(self) -> Panel:
        lines = [
            Text(f"{event.at:5.0f} s  {event.message}", style="yellow" if event.warning else "")
            for event in self._record.events[-_SHOWN:]
        ]
        return Panel(Group(*lines), title="events", title_align="left")


def _bounds(lower: object, upper: object) -> str:
    """Most checks have one; webhooks and the evidence have none."""
    told = (f"{sign} {value:g}" for sign, value in (("≥", lower), ("≤", upper)) if isinstance(value, int | float))
    return " and ".join(told)


@contextmanager
def opened(record: Record) -> Iterator[View]:
    """The view that fits where we print to."""
    console = Console()
    if not (console.is_terminal and sys.stdout.isatty()):
        yield Lines()
        return
    with Live(console=console, refresh_per_second=8) as live:
        yield Screen(record, live)
