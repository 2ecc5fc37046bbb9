"""The picture of both rollouts: weight, success rate and p99 over time, with what happened when."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

from sandbox.demo.record import Record, Sample

matplotlib.use("Agg")  # draws into files; there may be no display

from matplotlib import pyplot
from matplotlib.axes import Axes

_MARKED = {"revision-detected": "new revision", "promoted": "promoted", "rolling-back": "rolled back"}
_PANELS: Sequence[tuple[str, str, Callable[[Sample], float | None]]] = (
    ("canary weight, %", "tab:orange", lambda sample: sample.weight),
    ("success rate of the canary, %", "tab:green", lambda sample: sample.success),
    ("p99 of the canary, ms", "tab:blue", lambda sample: sample.p99),
)


def draw(record: Record, path: Path) -> Path:
    """Write the picture; answers where."""
    figure, axes = pyplot.subplots(len(_PANELS), 1, sharex=True, figsize=(11, 7.5), constrained_layout=True)
    for axis, (label, colour, value) in zip(axes, _PANELS, strict=True):
        _panel(axis, record, label, colour, value)
    axes[0].set_ylim(-4, 108)
    axes[1].set_ylim(-4, 108)
    axes[2].set_ylim(bottom=0)
    axes[-1].set_xlabel("seconds since the demo began")
    figure.suptitle("Serinus: the guide's canary, promoted, then a failing one, rolled back")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _panel(axis: Axes, record: Record, label: str, colour: str, value: Callable[[Sample], float | None]) -> None:
    points = [(sample.at, value(sample)) for sample in record.samples]
    times = [at for at, _ in points]
    # No value is a gap in the line, not a zero.
    numbers = [float("nan") if number is None else number for _, number in points]
    axis.plot(times, numbers, color=colour, linewidth=1.8, drawstyle="steps-post")
    axis.set_ylabel(label)
    axis.grid(alpha=0.25)
    for event in record.events:
        if event.type in _MARKED:
            axis.axvline(event.at, color="grey", linewidth=0.8, linestyle="--")
            if label.startswith("canary weight"):
                # One release ends where the next begins: an end is written to the left of its line, above it.
                begins = event.type == "revision-detected"
                axis.annotate(
                    _MARKED[event.type], (event.at, 1), xycoords=("data", "axes fraction"), textcoords="offset points",
                    xytext=(3 if begins else -3, 3), ha="left" if begins else "right", fontsize=8, color="dimgrey",
                )  # fmt: skip
