"""The alert rules that we ship, played by promtool: each fires on its trouble, with its labels, and on nothing less."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import prometheus

pytestmark = pytest.mark.integration

RULES = Path(__file__).parents[2] / "k8s/alerts/serinus.rules.yaml"
Json = dict[str, Any]
SERVICES = ("watcher", "router", "analyzer", "notifier")


@dataclass(frozen=True, slots=True)
class Case:
    """Series as promtool writes them, a value a minute; `quiet` is trouble that is too small or too short."""

    firing: Mapping[str, str]
    quiet: Mapping[str, str]
    at: str = "20m"
    labels: Mapping[str, str] = field(default_factory=dict)


def _info(*services: str) -> dict[str, str]:
    return {f'serinus_info{{service="{each}"}}': "1x40" for each in services}


def _late(slow: int) -> dict[str, str]:
    """Of 100 ticks a minute, so many later than 5 s."""
    names = {"5.0": 100 - slow, "10.0": 100, "+Inf": 100}
    return {f'serinus_tick_lateness_seconds_bucket{{le="{le}"}}': f"0+{each}x40" for le, each in names.items()}


CASES: Mapping[str, Case] = {
    "SerinusServiceAbsent": Case(
        _info("watcher", "router", "notifier"), _info(*SERVICES), labels={"service": "analyzer", "severity": "critical"}
    ),
    "SerinusBusGone": Case(
        {'serinus_bus_gone{pod="a"}': "0x40", 'serinus_bus_gone{pod="b"}': "1x40"},
        {'serinus_bus_gone{pod="a"}': "0x19 1 0x20"},
        labels={"severity": "critical"},
    ),
    "SerinusMessagesPutBack": Case(
        {'serinus_messages_total{service="router",stream="INBOX",outcome="retry"}': "0+30x40"},
        {
            'serinus_messages_total{service="router",stream="INBOX",outcome="retry"}': "0+2x40",
            'serinus_messages_total{service="router",stream="INBOX",outcome="done"}': "0+600x40",
        },
        labels={"service": "router", "stream": "INBOX", "severity": "warning"},
    ),
    "SerinusPrometheusErrors": Case(
        {'serinus_prometheus_errors_total{reason="timeout"}': "0+6x40"},
        {'serinus_prometheus_errors_total{reason="timeout"}': "3x40"},
        labels={"reason": "timeout", "severity": "warning"},
    ),
    "SerinusWritesRefused": Case(
        {'serinus_kubernetes_writes_total{kind="Canary",verb="patch",outcome="later"}': "0+6x40"},
        {
            'serinus_kubernetes_writes_total{kind="Canary",verb="patch",outcome="ok"}': "0+600x40",
            'serinus_kubernetes_writes_total{kind="Canary",verb="patch",outcome="conflict"}': "0+6x40",
        },
        labels={"kind": "Canary", "outcome": "later", "severity": "warning"},
    ),
    "SerinusDeadLetters": Case(
        {'serinus_dead_letters_total{service="notifier",reason="exhausted"}': "_x15 1x20"},
        {'serinus_dead_letters_total{service="notifier",reason="exhausted"}': "1x40"},
        labels={"service": "notifier", "reason": "exhausted", "severity": "warning"},
    ),
    "SerinusTicksOverdue": Case(
        {"serinus_overdue_ticks_total": "0+1x40"}, {"serinus_overdue_ticks_total": "0x15 1x20"},
        labels={"severity": "warning"},
    ),
    "SerinusTicksLate": Case(_late(5), _late(0), at="30m", labels={"severity": "warning"}),
    "SerinusCrdIncompatible": Case(
        {"serinus_crd_incompatible": "1x40"}, {"serinus_crd_incompatible": "0x19 1 0x20"}, labels={"severity": "critical"}
    ),
    "SerinusCanaryHeld": Case({"serinus_holds": "1x40"}, {"serinus_holds": "0x10 1x30"}, labels={"severity": "warning"}),
    "SerinusAlertsUndelivered": Case(
        {'serinus_alerts_total{provider="slack",outcome="refused"}': "_x15 1x20"},
        {'serinus_alerts_total{provider="slack",outcome="delivered"}': "0+5x40"},
        labels={"provider": "slack", "outcome": "refused", "severity": "warning"},
    ),
}  # fmt: skip


def _alert(name: str) -> Json:
    found: Json = next(rule for rule in _rules() if rule["alert"] == name)
    return found


def _rules() -> list[Json]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def _play(name: str, series: Mapping[str, str], case: Case, *, fires: bool) -> Json:
    annotations = {
        key: _filled(text, case.labels) for key, text in _alert(name)["annotations"].items()
    }  # fmt: skip
    expected = [{"exp_labels": dict(case.labels), "exp_annotations": annotations}] if fires else []
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in series.items()],
        "alert_rule_test": [{"alertname": name, "eval_time": case.at, "exp_alerts": expected}],
    }


def _filled(text: str, labels: Mapping[str, str]) -> str:
    for key, value in labels.items():
        text = text.replace("{{ $labels." + key + " }}", value)
    return text


async def _promtool(*arguments: str) -> tuple[int, str]:
    beside = prometheus.locate().with_name("promtool")
    program = shutil.which("promtool") or str(beside)
    child = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await child.communicate()
    return child.returncode or 0, printed.decode()


async def test_each_alert_fires_on_its_trouble_and_on_nothing_less(tmp_path: Path) -> None:
    plays = [
        _play(name, series, case, fires=fires)
        for name, case in CASES.items()
        for series, fires in ((case.firing, True), (case.quiet, False))
    ]
    (tmp_path / "plays.yaml").write_text(json.dumps({"rule_files": [str(RULES)], "tests": plays}))
    code, printed = await _promtool("test", "rules", str(tmp_path / "plays.yaml"))
    assert code == 0, printed


async def test_a_play_that_goes_otherwise_is_noticed(tmp_path: Path) -> None:
    """promtool really compares."""
    name = "SerinusBusGone"
    play = _play(name, CASES[name].quiet, CASES[name], fires=True)
    (tmp_path / "plays.yaml").write_text(json.dumps({"rule_files": [str(RULES)], "tests": [play]}))
    code, printed = await _promtool("test", "rules", str(tmp_path / "plays.yaml"))
    assert (code, "FAILED" in printed) == (1, True)


def test_every_alert_is_played() -> None:
    assert [rule["alert"] for rule in _rules()] == list(CASES)
