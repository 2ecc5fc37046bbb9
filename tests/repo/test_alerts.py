"""The alert rules speak of metrics that exist, with labels that they have, and each leads to a place that helps."""

import re
from typing import Final

import pytest
import yaml

from shared.kube.json import Json
from shared.runtime.metrics import CATALOGUE
from tests.repo.manifests import ROOT

RULES: Final[list[Json]] = [
    rule
    for group in yaml.safe_load((ROOT / "k8s/alerts/serinus.rules.yaml").read_text())["groups"]
    for rule in group["rules"]
]
PAGE: Final = (ROOT / "docs/operations.md").read_text()
LABELS: Final[dict[str, set[str]]] = {metric.name: {*metric.labels} for metric in CATALOGUE}
_HISTOGRAM: Final = re.compile(r"_(bucket|sum|count)$")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_asks_for_metrics_and_labels_that_exist(rule: Json) -> None:
    named = re.findall(r"(serinus_\w+|flagger_\w+)(?:\{([^}]*)\})?", rule["expr"])
    assert named
    for name, selector in named:
        labels = LABELS[_HISTOGRAM.sub("", name)]
        assert set(re.findall(r"(\w+)=", selector)) <= labels, name
    kept = {label for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in re.findall(r"\w+", group)}
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert shown <= kept | {"service"}


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_an_alert_leads_to_a_section_that_names_it(rule: Json) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    sections = {_anchor(text.partition("\n")[0]): text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
    assert page == "docs/operations.md"
    assert f"`{rule['alert']}`" in sections[anchor]


def test_the_page_names_no_alert_that_is_not_there() -> None:
    assert set(re.findall(r"`(Serinus[A-Z]\w+)`", PAGE)) == {rule["alert"] for rule in RULES}


def test_the_prometheus_that_we_ship_reads_them() -> None:
    """As a component adds the file to its ConfigMap, beside its configuration."""
    config = yaml.safe_load((ROOT / "k8s/prometheus/prometheus.yml").read_text())
    [pattern] = config["rule_files"]
    component = yaml.safe_load((ROOT / "k8s/alerts/kustomization.yaml").read_text())
    shipped = yaml.safe_load((ROOT / "k8s/prometheus/kustomization.yaml").read_text())
    [added], [beside] = component["configMapGenerator"], shipped["configMapGenerator"]
    assert (added["name"], added["behavior"]) == (beside["name"], "merge")
    assert [re.fullmatch(pattern.replace(".", r"\.").replace("*", ".*"), file) is None for file in added["files"]] == [
        False
    ]
