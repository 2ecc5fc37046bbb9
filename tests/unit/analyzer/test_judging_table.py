"""docs/judging.md is true: each row of its table is a test, from the question to what the rollout makes of the verdict."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from services.analyzer.policy import Answer, Fault, Reply
from services.router import inbound
from services.router.rollout.inputs import Judged, Outcome
from services.router.rollout.state import Phase
from shared.wire.messages import Purpose
from tests.unit.analyzer.asked import (
    EVIDENCE,
    FIRST,
    PROMETHEUS,
    duration,
    hook,
    question,
    success_rate,
    template,
    tick,
)
from tests.unit.analyzer.test_comparing import ASKED, BAD
from tests.unit.analyzer.test_shifting import BEFORE, SHIFT
from tests.unit.analyzer.world import World
from tests.unit.router.stage import UNREADY, Stage, initialized, progressing, spec

PAGE: Final = Path(__file__).parents[3] / "docs/judging.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    cause: str
    outcome: str
    counted: str
    text: str

    @property
    def once(self) -> bool:
        return ", once" in self.text

    @property
    def pattern(self) -> re.Pattern[str]:
        """The text between backquotes; an ellipsis stands for anything, or for nothing at all."""
        found = re.search("`(.+?)`", self.text)
        return re.compile(".*".join(map(re.escape, found[1].split("…"))) if found else ".+", re.DOTALL)


def rows() -> list[Row]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|")[:4])) for line in lines[2:]]


@dataclass(frozen=True, slots=True)
class Scene:
    """How a cause comes about: where the rollout stands, what is asked, and what the world answers."""

    stage: Callable[[], Stage] = progressing
    asked: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    replies: dict[str, Reply] = field(default_factory=dict)


def preparing() -> Stage:
    stage = initialized(hooks=frozenset({"pre-rollout"})).world(revision="r2")
    stage.heard()
    return stage


def over() -> Stage:
    """A rollout that failed, with its last hooks still to be called."""
    stage = progressing(hooks=frozenset({"post-rollout"}), threshold=1)
    stage.judge(Outcome.FAIL)
    while stage.state.tick and stage.state.tick.purpose.value != "post-rollout":
        stage.judge()
    stage.heard()
    return stage


def broken(fault: Fault) -> Answer:
    return Answer(error="it can't be said", fault=fault)


NO = Reply(accepted=False, error="no")
SCENES: Final[dict[str, Scene]] = {
    "a value out of bounds": Scene(asked={"metrics": (success_rate(),)}, answers={"rate": Answer(value=97.0)}),
    "no values for a metric": Scene(asked={"metrics": (duration(),)}, answers={"p99": Answer()}),
    "the canary itself answered no request": Scene(
        asked={"metrics": (duration(),), "evidence": EVIDENCE}, answers={"own": Answer(value=0.0)}
    ),
    "the first check of a step": Scene(
        asked={"metrics": (success_rate(),), "evidence": FIRST}, answers={"rate": Answer(), "own": Answer()}
    ),
    "Prometheus is down": Scene(asked={"metrics": (success_rate(),)}, answers={"rate": broken(Fault.QUERY)}),
    "the template, its secret": Scene(asked={"metrics": (template(),)}, answers={"templated": broken(Fault.SECRET)}),
    "the API server is away when": Scene(
        asked={"metrics": (template(),)}, answers={"templated": broken(Fault.CLUSTER)}
    ),
    "a `rollout` webhook": Scene(asked={"hooks": (hook(),)}, replies={"load-test": NO}),
    "a `pre-rollout` webhook": Scene(
        stage=preparing,
        asked={"purpose": Purpose.PRE_ROLLOUT, "hooks": (hook("pre-rollout"),)},
        replies={"load-test": NO},
    ),
    "a `rollback` webhook": Scene(asked={"rollback": (hook("rollback"),)}),
    "a `post-rollout` webhook": Scene(
        stage=over,
        asked={"purpose": Purpose.POST_ROLLOUT, "hooks": (hook("post-rollout"),)},
        replies={"load-test": NO},
    ),
    "a metrics provider doesn't answer": Scene(
        stage=lambda: Stage(spec()).look(),
        asked={"purpose": Purpose.PROVIDERS, "providers": (PROMETHEUS,)},
        answers={"vector(1)": broken(Fault.QUERY)},
    ),
    "a gate is shut": Scene(
        asked={"metrics": (success_rate(),), "gates": (hook("confirm-traffic-increase", "gate"),)},
        replies={"gate": NO},
    ),
    "canary or primary is not ready": Scene(stage=lambda: initialized().world(revision="r2", canary=UNREADY)),
    "the bus is gone": Scene(stage=lambda: progressing().world(cut_off=True)),
    "the canary itself answered fewer requests": Scene(
        asked={"metrics": (success_rate(),), "evidence": EVIDENCE.model_copy(update={"least": 200})},
        answers={"rate": Answer(value=100.0), "own": Answer(value=50.0)},
    ),
    "the gateway divides requests as": Scene(
        asked={"metrics": (success_rate(),), "evidence": EVIDENCE.model_copy(update={"shift": SHIFT})},
        answers={"shares": Answer(rows=BEFORE)},
    ),
    "no values for one with `noData: hold`": Scene(
        asked={"metrics": (success_rate(no_data="hold"),)}, answers={"rate": Answer()}
    ),
    "nothing but metrics with `noData: ignore`": Scene(
        asked={"metrics": (success_rate(no_data="ignore"),)}, answers={"rate": Answer()}
    ),
    "`compare`: the canary is worse": Scene(asked={"comparison": ASKED}, answers={"sum by ": BAD}),
    "`compare`: fewer requests": Scene(asked={"comparison": ASKED}, answers={"sum by ": Answer()}),
    "another controller writes": Scene(
        stage=lambda: progressing().world(hold="another controller (flagger) writes this Canary")
    ),
    "the installed CRD drops": Scene(
        stage=lambda: progressing().world(hold="the installed Canary CRD drops our status fields: stage")
    ),
    "source route, target": Scene(
        stage=lambda: progressing().world(problem="apisixroute x get query error: not found")
    ),
}
"""By the beginning of the cause."""


def scene(row: Row) -> Scene:
    (found,) = [scene for cause, scene in SCENES.items() if row.cause.startswith(cause)]
    return found


async def judged(found: Scene, stage: Stage) -> str:
    """One tick from the question to the rollout; answers the verdict's outcome."""
    if stage.state.tick is None:
        return "pass"  # nobody is asked
    world = World(answers=found.answers, replies=found.replies)
    purpose = Purpose(stage.state.tick.purpose)
    asked = question(**({"purpose": purpose} | found.asked))
    asked = asked.model_copy(update={"payload": asked.payload.model_copy(update={"name": "podinfo"})})
    await world.analyzer.on_tick(tick(asked))
    heard = inbound.message(world.verdict)
    assert isinstance(heard, Judged)
    assert heard.purpose == stage.state.tick.purpose, "the scene asks what the rollout doesn't wait for"
    stage.judge(heard.outcome, *heard.checks)
    return world.outcome


JUDGED: Final = [row for row in rows() if not row.text.startswith("none")]


@pytest.mark.parametrize("row", JUDGED, ids=lambda row: row.cause[:40])
async def test_each_row_is_so(row: Row) -> None:
    found = scene(row)
    stage = found.stage()
    failed = stage.state.failed_checks
    told = stage.heard() if not found.asked else []
    outcome = await judged(found, stage)
    assert outcome == ("pass" if row.outcome == "–" else row.outcome)
    counted = stage.state.failed_checks - failed
    if row.counted == "–":
        assert stage.state.phase is Phase.FAILED
    else:
        assert counted == (1 if row.counted == "yes" else 0)
    told += stage.heard()
    assert any(row.pattern.fullmatch(text) for text in told), f"{row.pattern.pattern} is none of {told}"
    if row.once and stage.state.tick:
        await judged(found, stage)
        assert not [text for text in stage.heard() if row.pattern.fullmatch(text)]


def test_only_a_pass_has_ever_advanced_anything() -> None:
    assert {row.outcome for row in JUDGED} == {"fail", "error", "hold", "–"}
    assert {row.counted for row in JUDGED if row.outcome in ("hold", "–")} <= {"no", "–"}


def test_every_scene_belongs_to_a_row() -> None:
    assert len(JUDGED) == len(SCENES)
    assert [row.counted for row in rows() if row not in JUDGED] == ["no"]
