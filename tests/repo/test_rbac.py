"""Every right says which code needs it, and every way out of a pod is one that its process takes."""

import re
from pathlib import Path

import pytest

from sandbox.table import TABLE, Row, Source
from tests.repo.manifests import BASE, ROOT, Json, deployment, documents

_FILES = sorted((ROOT / "k8s/rbac").rglob("*.yaml"))
_RULES = [path for path in _FILES if path.name != "kustomization.yaml"]


@pytest.mark.parametrize("path", _RULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_rule_names_code_that_exists(path: Path) -> None:
    text = path.read_text()
    reasons = re.findall(r"^  # (.*)\n  - apiGroups:", text, re.M)
    assert len(reasons) == text.count("- apiGroups:")
    named = {name for reason in reasons for name in re.findall(r"\b(?:services|shared)/\S+\.py\b", reason)}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert all(re.search(r"services/\S+\.py|^[A-Z]", reason) for reason in reasons)


def test_no_right_is_a_wildcard() -> None:
    loose = [
        f"{path.relative_to(ROOT)}: {rule}"
        for path in _RULES
        for document in documents(path)
        for rule in document.get("rules", [])
        if "*" in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
    ]
    assert loose == []


@pytest.mark.parametrize("part", ["", "-configs", "-secrets"])
def test_rights_in_a_namespace_are_those_of_the_cluster(part: str) -> None:
    """But for what no namespace holds, which no Role can grant."""

    def rules(folder: str) -> dict[str, list[Json]]:
        return {
            path.name: [
                rule
                for document in documents(path)
                for rule in document.get("rules", [])
                if rule["resources"] not in (["customresourcedefinitions"], ["ingressclasses"])
            ]
            for path in (ROOT / "k8s/rbac" / folder).glob("*.yaml")
            if path.name != "kustomization.yaml"
        }

    assert rules(f"namespace{part}") == rules(f"cluster{part}")


def _selects(selector: Json, labels: Json) -> bool:
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    return exact and all(
        each["operator"] == "In" and labels.get(each["key"]) in each["values"]
        for each in selector.get("matchExpressions", [])
    )


def _ways_out(name: str) -> list[Json]:
    labels = deployment(name)["spec"]["template"]["metadata"]["labels"]
    return [
        way
        for policy in documents(BASE / "network.yaml")
        if _selects(policy["spec"]["podSelector"], labels)
        for way in policy["spec"].get("egress", [])
    ]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_pod_reaches_what_its_process_needs_and_no_more(row: Row) -> None:
    ways = _ways_out(row.name)
    ports = {port["port"] for way in ways for port in way.get("ports", [])}
    anywhere = {} in ways
    assert {53, 4222} <= ports
    assert anywhere is (Source.PROXY in row.environment.values())
    assert (443 in ports) is (row.asks_kubernetes and not anywhere)
