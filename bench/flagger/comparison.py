"""`python -m bench flagger`: Flagger and Serinus on one API server in one run; prints the table of docs/comparison.md."""

import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.flagger import measures, sides, verdicts
from bench.flagger.measures import Rest, Rollout
from sandbox.flagger.binary import VERSION
from sandbox.stage import Options

_ROUNDS = ("stefanprodan/podinfo:6.0.1", "stefanprodan/podinfo:6.0.2")
_STAGGER = 2.3
"""Seconds between two releases: no divisor of Flagger's interval, so that they come at any moment of it."""
_AT_REST = 120.0


async def compare(canaries: int) -> None:
    """About fifteen minutes, with ten canaries a side."""
    options = Options(behaviours=dict(verdicts.BEHAVIOURS))
    with tempfile.TemporaryDirectory(prefix="serinus-compare-") as folder:
        async with sides.opened(Path(folder), options) as arena:
            steps = await measures.step(arena)
            names = [f"app-{number:02}" for number in range(canaries)]
            for side in arena.sides:
                await measures.created(side, names)
            at_rest = await measures.rest(arena, canaries + 1, _AT_REST)
            _progress(f"{canaries + 1} canaries a side were at rest for {_AT_REST:.0f} s")
            rounds = [await measures.rollouts(arena, names, image, _STAGGER) for image in _ROUNDS]
            _progress(f"{len(rounds)} rounds of {canaries} rollouts a side are over")
            came = await verdicts.judged(arena)
    rollouts = {name: [each for found in rounds for each in found[name]] for name in at_rest}
    print(f"Flagger {VERSION}")
    for line in table(steps, at_rest, rollouts, came):
        print(line)


def table(
    steps: "dict[str, Counter[str]]",
    at_rest: dict[str, Rest],
    rollouts: dict[str, list[Rollout]],
    came: dict[str, dict[str, str]],
) -> Iterable[str]:
    """Markdown."""
    count = len(rollouts["Flagger"])
    yield "| | Flagger | Serinus | Flagger : Serinus |"
    yield "|---|---|---|---|"
    yield _spread(f"new image → canary scaled up, s, n {count}", _each(rollouts, "seen"))
    yield _spread(f"new image → promoted and scaled down, s, n {count}", _each(rollouts, "over"))
    yield _ratio("API requests for a canary at rest, a minute", [each.requests for each in at_rest.values()])
    yield _ratio("API requests for a step of the analysis", [measures.a_step(each) for each in steps.values()])
    yield _ratio("memory of all processes at rest, MB", [each.memory for each in at_rest.values()])
    yield _ratio("processor at rest, seconds a second", [each.cpu for each in at_rest.values()], "{:.3f}")
    yield "| processes | 1 | 5, and NATS | |"
    for name, (_, text) in verdicts.SCENARIOS.items():
        yield f"| {text} | {came[name]['Flagger']} | {came[name]['Serinus']} | |"
    yield ""
    for side, requests in steps.items():
        yield f"Three steps of {side}: " + ", ".join(f"{count} {what}" for what, count in requests.most_common())


def _each(rollouts: dict[str, list[Rollout]], field: str) -> tuple[Sequence[float], Sequence[float]]:
    flagger, serinus = ([getattr(each, field) for each in rollouts[name]] for name in ("Flagger", "Serinus"))
    return flagger, serinus


def _spread(name: str, values: tuple[Sequence[float], Sequence[float]]) -> str:
    cells = [f"median {statistics.median(each):.2f}, {min(each):.2f} to {max(each):.2f}" for each in values]
    ratio = statistics.median(values[0]) / statistics.median(values[1])
    return f"| {name} | {cells[0]} | {cells[1]} | {ratio:.1f} |"


def _ratio(name: str, values: Sequence[float], form: str = "{:.1f}") -> str:
    flagger, serinus = values
    ratio = f"{flagger / serinus:.2f}" if serinus else "∞"
    return f"| {name} | {form.format(flagger)} | {form.format(serinus)} | {ratio} |"


def _progress(text: str) -> None:
    print(text, flush=True)
