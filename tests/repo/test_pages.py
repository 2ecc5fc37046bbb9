"""What the pages say exists: files, tests, headings, fields, metrics, streams, annotations, texts and numbers."""

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import yaml

from services.notifier import app as notifier
from services.router import policy
from services.router.found import Found
from services.router.parse import REQUEST
from services.router.rollout import texts
from services.router.rollout.inputs import Verb
from services.router.rollout.spec import Move, Spec
from services.router.rollout.texts import Draft
from shared.bus import streams
from shared.canary.resource import InvalidCanary, parse_spec
from shared.kube.json import Json
from shared.runtime.metrics import CATALOGUE
from shared.wire import subjects
from shared.wire.messages import EventType
from tests.guide.transcript import documented, unknown
from tests.repo.manifests import ROOT

PAGES: Final = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
BY_HAND: Final = tuple(page for page in PAGES if "Made by `make docs`" not in page.read_text())
_FOLDERS: Final = "services|shared|sandbox|tools|tests|k8s|docs|examples|requirements|bench"
_HISTOGRAM: Final = re.compile(r"_(bucket|sum|count)$")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_to_headings_lead_to_one() -> None:
    broken = [
        f"{source.name}: {path}#{anchor}"
        for source in PAGES
        for path, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", source.read_text())
        if anchor not in anchors((source.parent / path if path else source).read_text())
    ]
    assert broken == []


def test_files_that_pages_name_exist() -> None:
    named = {
        (source.name, name.rstrip("/"))
        for source in BY_HAND
        for name in re.findall(rf"[`(\s]((?:{_FOLDERS})/[\w./\-]+[\w/])", source.read_text())
    }
    assert len(named) > 40
    assert sorted(each for each in named if not (ROOT / each[1]).exists()) == []


def test_modules_of_the_router_that_the_architecture_names_exist() -> None:
    table = page("architecture.md").partition("| files | are about |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`((?:rollout/)?\w+\.py)`", table))
    there = {path.name for path in (ROOT / "services/router").rglob("*.py")}
    assert {Path(name).name for name in named} <= there
    untold = there - {Path(name).name for name in named} - {f"{word}.py" for word in re.findall(r"`(\w+)`", table)}
    assert untold == {
        "__init__.py", "__main__.py", "app.py", "settings.py", "ports.py", "handlers.py", "found.py", "revision.py",
        "patches.py", "context.py", "steps.py",
    }  # fmt: skip


def test_tests_that_pages_name_by_function_exist() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    named = {name for source in BY_HAND for name in re.findall(r"\b(test_\w+)\b(?!\.py)", source.read_text())}
    assert [name for name in named if f"def {name}(" not in sources] == []


def test_metrics_that_pages_name_exist() -> None:
    known = {metric.name for metric in CATALOGUE}
    named = {
        _HISTOGRAM.sub("", name)
        for source in PAGES
        for name in re.findall(r"`((?:flagger|serinus)_[a-z_]+)[`{]", source.read_text())
    }
    assert named - known == set()


def test_every_metric_of_the_catalogue_is_used() -> None:
    """A metric that nobody sets would show a zero for ever."""
    used = list(_constants(ROOT / "services", ROOT / "shared"))
    assert [metric.name for metric in CATALOGUE if used.count(metric.name) < 3] == []


def test_fields_of_the_status_that_pages_name_exist() -> None:
    crd = yaml.safe_load((ROOT / "k8s/crds/canaries.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]
    own = schema["serinus"]["properties"]
    for source in BY_HAND:
        text = source.read_text()
        assert set(re.findall(r"status\.serinus\.(\w+)", text)) <= own.keys(), source
        assert set(re.findall(r"\bstatus\.(?!serinus|phase|py)(\w+)", text)) <= schema.keys(), source


def test_streams_are_those_of_the_bootstrap() -> None:
    rows = re.findall(r"^\| (\w[\w-]+) \| `.+?\| (.+?) \| .+ \| .+ \|$", page("architecture.md"), re.MULTILINE)
    kept = {name: re.search(r"(\d+) day", kind) for name, kind in rows}
    rows = re.findall(r"^\| (PUBLIC_ROLLOUTS) \| the same.+?\| kept (\d+) days", page("architecture.md"), re.MULTILINE)
    told = {name: int(found[1]) if found else 0 for name, found in kept.items()} | {name: int(d) for name, d in rows}
    made = {str(each["name"]): each["max_age"] for each in (*streams.streams(1), *streams.public_streams(1))}
    day = 24 * 60 * 60 * 10**9
    assert told == {name: age // day for name, age in made.items() if isinstance(age, int)}


def test_event_types_are_those_of_the_wire() -> None:
    sentence = page("events.md").partition("the last token is one of:")[2].partition(".\n")[0]
    assert re.findall(r"`([a-z-]+)`", sentence) == [str(each) for each in EventType]


def test_attempts_are_those_of_the_notifier() -> None:
    told = re.findall(
        r"^- An? (Kubernetes Event|alert|event webhook) is tried (\d+) times", page("events.md"), re.MULTILINE
    )
    assert {kind: int(times) + 1 for kind, times in told} == {
        "Kubernetes Event": notifier.EVENTS_DELIVER,
        "alert": notifier.ALERTS_DELIVER,
        "event webhook": notifier.WEBHOOKS_DELIVER,
    }  # fmt: skip


def test_partitions_and_waits_are_those_of_the_bus() -> None:
    told = page("decisions/0004-partitions-and-waits.md").splitlines()[0]
    waits = {each.stream: each.ack_wait for each in streams.durables()}
    assert (streams.PARTITIONS, waits[subjects.INBOX_STREAM], waits[subjects.TICK_STREAM]) == (8, 5, 15)
    assert told == "# 4. Eight partitions with 5 s, ticks with 15 s"


def test_requests_are_those_of_the_router() -> None:
    text = page("guide.md")
    assert f"| `{REQUEST}` |" in text
    table = text.partition(f"| `{REQUEST}` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [str(verb) for verb in (
        Verb.APPROVE, Verb.PROMOTE, Verb.ABORT, Verb.RETRY,
    )]  # fmt: skip
    assert len(Verb) == 4


def test_decisions_are_numbered() -> None:
    files = sorted((ROOT / "docs/decisions").glob("*.md"))
    for number, path in enumerate(files, 1):
        assert path.name.startswith(f"{number:04}-")
        assert path.read_text().startswith(f"# {number}. ")


def test_every_fault_that_tests_name_is_a_difference_that_people_can_read_about() -> None:
    sources = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    named = {fault for path in sources for fault in re.findall(r"\bW-[AG]\d+\b", path.read_text())}
    assert len(named) >= 20
    assert named - set(re.findall(r"\bW-[AG]\d+\b", page("migration.md"))) == set()


def test_every_fault_on_apisix_is_played_through_the_whole_router() -> None:
    """Not only asked of one of its functions."""
    plays = [path for folder in ("story", "e2e") for path in (ROOT / "tests" / folder).rglob("*.py")]
    named = {fault for path in plays for fault in re.findall(r"\bW-A\d+\b", path.read_text())}
    assert set(re.findall(r"\bW-A\d+\b", page("migration.md"))) - named == set()


# --- texts: what the page lists can be said, and what can be said is Flagger's or listed -----------------------


def _constants(*folders: Path) -> Iterator[str]:
    """Every literal piece of text in the code."""
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.mark.parametrize("text", documented())
def test_a_listed_text_is_in_the_code(text: str) -> None:
    parts = re.split(r"<[^>]*>|…|\b(?:T-primary|[NTH])\b(?:\.NS)?", text)
    longest = max(parts, key=len).strip()
    assert len(longest) > 6
    assert any(longest in constant for constant in _constants(ROOT / "services", ROOT / "shared"))


SPEC: Final = Spec(namespace="test", name="podinfo", uid="u", target="podinfo")


def _drafts() -> Iterator[Draft]:
    """What every function of rollout/texts.py says, whatever it is given."""
    given: Mapping[str, object] = {"weight": 10, "failed": 3, "cause": "why", "hook": "gate", "reason": "of this"}
    for name, function in vars(texts).items():
        if inspect.isfunction(function) and function.__module__ == texts.__name__ and name not in {"normal", "warning"}:
            for spec in (SPEC, replace(SPEC, skip_analysis=True), replace(SPEC, mirror=True)):
                for move in (Move(10), Move(0, 2), Move(100, 3, switch=True)):
                    yield from _said(function, {"spec": spec, "move": move, **given})


def _said(function: Callable[..., object], given: Mapping[str, object]) -> Iterator[Draft]:
    wanted = inspect.signature(function).parameters
    made = function(**{name: given.get(name, "a text") for name in wanted})
    if isinstance(made, Draft):
        yield made


def test_whatever_the_machine_says_is_flaggers_or_listed() -> None:
    said = [draft.message for draft in _drafts()]
    assert len(said) > 30
    assert unknown(said) == []


_TARGET: Final[Json] = {"kind": "Deployment", "name": "podinfo"}
_WHOLE: Final[Json] = {"targetRef": _TARGET, "service": {"port": 80}}


_REFUSED: Final[Mapping[str, Json]] = {
    "target": {**_WHOLE, "targetRef": {**_TARGET, "kind": "DaemonSet"}},
    "autoscaler": {**_WHOLE, "autoscalerRef": {"kind": "ScaledObject", "name": "podinfo"}},
    "no service": {"targetRef": _TARGET},
    "mirror": {**_WHOLE, "analysis": {"iterations": 3, "mirror": True, "match": [{"headers": {"x": {"exact": "y"}}}]}},
    "sessionAffinity": {**_WHOLE, "analysis": {"iterations": 3, "sessionAffinity": {"cookieName": "c"}}},
    "falling steps": {**_WHOLE, "analysis": {"stepWeights": [20, 10]}},
    "no steps": {**_WHOLE, "analysis": {}},
}


@pytest.mark.parametrize("spec", _REFUSED.values(), ids=_REFUSED)
def test_each_refusal_is_listed(spec: Json) -> None:
    said = policy.refusals(parse_spec(spec), Found())
    assert len(said) == 1
    assert unknown(said) == []


def test_the_other_refusals_are_listed() -> None:
    rival = policy.refusals(parse_spec({**_WHOLE, "analysis": {"stepWeight": 10}}), Found(rival="older.test"))
    with pytest.raises(InvalidCanary) as invalid:
        parse_spec({**_WHOLE, "analysis": {"threshold": 1.5}})
    assert len(rival) == 1
    assert unknown([*rival, str(invalid.value)]) == []
