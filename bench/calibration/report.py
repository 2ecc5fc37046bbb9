"""`make calibrate`: plays all scenarios, writes the figures into docs/calibration.md and draws docs/calibration.png."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from scipy import stats

from bench.calibration.rules import ALPHAS, RULES, Moments, moments
from bench.calibration.traffic import Scenario, scenarios

ROOT: Final = Path(__file__).parent.parent.parent
PAGE: Final = ROOT / "docs/calibration.md"
PICTURE: Final = ROOT / "docs/calibration.png"
MARKED: Final = re.compile(r"(?<=<!-- figures -->\n).*?(?=<!-- end of figures -->)", re.DOTALL)

SEED: Final = 20261125
ROLLOUTS: Final = 4000
INJECTED: Final = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
DETECTED: Final = 500
"""Rollouts for each injected share of errors."""


def false_alarms(scenario: Scenario, rollouts: int = ROLLOUTS) -> dict[str, int]:
    """How many of so many rollouts each rule rolled back, though the canary was as good as the primary."""
    return {rule: int(np.isfinite(found).sum()) for rule, found in moments(scenario, rollouts, SEED).items()}


def delays(share: float, rollouts: int = DETECTED) -> dict[str, Moments]:
    """When each rule noticed a canary that fails this share of its requests."""
    return moments(scenarios()[0].breaking(share), rollouts, SEED)


def interval(count: int, of: int) -> tuple[float, float]:
    """The exact 95 % interval of a rate (Clopper and Pearson)."""
    found = stats.binomtest(count, of).proportion_ci(confidence_level=0.95)
    return float(found.low), float(found.high)


def write(*, tell: bool = True) -> None:
    """All of it: some minutes of one core."""
    alarms = {}
    for scenario in scenarios():
        alarms[scenario.name] = false_alarms(scenario)
        if tell:
            print(f"{scenario.name}: {alarms[scenario.name]}", flush=True)
    noticed = {share: delays(share) for share in INJECTED}
    text = f"{_alarm_table(alarms)}\n{_delay_table(noticed)}\n## Where alpha is not kept\n\n{_broken(alarms)}\n"
    PAGE.write_text(MARKED.sub(lambda _: text, PAGE.read_text()))
    _draw(alarms, noticed)


def published() -> dict[str, dict[str, tuple[int, int]]]:
    """What the page says: scenario → rule → (rolled back, of)."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        counts = [re.match(r"(\d+) of (\d+)", cell) for cell in cells[1:]]
        if len(counts) == len(RULES) and all(counts):
            found[cells[0]] = {
                rule: (int(each[1]), int(each[2])) for rule, each in zip(RULES, counts, strict=True) if each
            }
    return found


def _alarm_table(alarms: Mapping[str, Mapping[str, int]]) -> str:
    lines = [_row(("traffic", *RULES)), _row(["---"] * (len(RULES) + 1))]
    for name, counts in alarms.items():
        lines.append(_row((name, *(_rate(counts[rule], ROLLOUTS) for rule in RULES))))
    return "\n".join(lines) + "\n"


def _broken(alarms: Mapping[str, Mapping[str, int]]) -> str:
    """The rows whose whole interval lies above the alpha that was asked for."""
    found = [
        f"* {rule}: {name}"
        for rule, alpha in ALPHAS.items()
        for name, counts in alarms.items()
        if interval(counts[rule], ROLLOUTS)[0] > alpha
    ]
    return "\n".join(found or ["In no row of this table."]) + "\n"


def _rate(count: int, of: int) -> str:
    low, high = interval(count, of)
    return f"{count} of {of} ({100 * low:.2f}–{100 * high:.2f} %)"


def _delay_table(noticed: Mapping[float, Mapping[str, Moments]]) -> str:
    lines = [_row(("the canary fails", *RULES)), _row(["---"] * (len(RULES) + 1))]
    for share, found in noticed.items():
        lines.append(_row((f"{share:.0%}", *(_delay(found[rule]) for rule in RULES))))
    return "\n".join(lines) + "\n"


def _delay(found: Moments) -> str:
    """Median and nine in ten, where so many were noticed at all."""
    seen = np.isfinite(found).mean()
    if seen == 0:
        return "never"
    middle, late = (f"{each:.0f} s" if np.isfinite(each) else "–" for each in _quantiles(found))
    return f"{middle} / {late}" + (f", in {seen:.0%}" if seen < 1 else "")


def _quantiles(found: Moments) -> tuple[float, float]:
    ordered = np.sort(found)
    return float(ordered[len(ordered) // 2]), float(ordered[len(ordered) * 9 // 10])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _draw(alarms: Mapping[str, Mapping[str, int]], noticed: Mapping[float, Mapping[str, Moments]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 6))
    places = np.arange(len(alarms))[::-1]
    for number, rule in enumerate(RULES):
        rates = np.array([counts[rule] for counts in alarms.values()]) / ROLLOUTS * 100
        bounds = 100 * np.array([interval(counts[rule], ROLLOUTS) for counts in alarms.values()])
        left.errorbar(
            rates, places + 0.16 * (2 - number), fmt="o", markersize=4, capsize=2, label=rule.replace("`", ""),
            xerr=np.maximum(np.stack([rates - bounds[:, 0], bounds[:, 1] - rates]), 0),
        )  # fmt: skip
        middle = [_quantiles(found[rule])[0] for found in noticed.values()]
        right.plot([100 * share for share in noticed], middle, marker="o", markersize=4, label=rule.replace("`", ""))
    left.axvline(5, linestyle=":", color="grey")
    left.set_xscale("symlog", linthresh=0.1)
    left.set_xlim(-0.02, 150)
    left.set_yticks(places, list(alarms))
    left.set_xlabel("good canaries rolled back, % (95 % interval; dotted: alpha of compare)")
    right.set_xscale("log")
    right.set_xlabel("requests that the canary fails, %")
    right.set_ylabel("median seconds until it is noticed")
    right.legend()
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)
