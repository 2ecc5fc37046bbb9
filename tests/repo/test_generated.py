"""What is made of code is up to date, and what is said about commands is true."""

import re

from shared.runtime import metrics, settings
from shared.runtime.metrics import CATALOGUE
from tests.repo.manifests import ROOT
from tools import docs


def test_what_is_made_of_code_is_current() -> None:
    assert docs.outdated() == [], "run `make docs`"


def test_every_metric_is_in_the_docs() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    assert [metric.name for metric in CATALOGUE if f"`{metric.name}`" not in page] == []
    assert metrics.document().strip() in page


def test_every_setting_is_in_the_docs() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert [name for name in settings.variables(settings.known()) if f"`{name}`" not in page] == []


def test_pages_name_only_settings_that_exist() -> None:
    known = settings.variables(settings.known()) | settings.TOOLING
    unknown = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for name in re.findall(r"\b(?:SERINUS|SLACK|MSTEAMS|EVENT_WEBHOOK|OTEL)_[A-Z_]+\b", page.read_text())
        if name not in known and name != "SERINUS_"
    ]
    assert unknown == []


def test_every_make_command_that_the_pages_name_exists() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / ".ci/run",
        *(ROOT / ".github/workflows").iterdir(),
    ]
    named = {
        (str(page.relative_to(ROOT)), word)
        for page in pages
        for line in re.findall(r"(?:`|^\s*(?:- run: |\$ |time )?)make ((?:[a-z-]+ ?)+)", page.read_text(), re.M)
        for word in line.split()
        if "=" not in word and not word.startswith("-")
    }
    assert {word for _, word in named} >= {"check", "test", "test-cluster", "demo"}
    assert sorted(each for each in named if each[1] not in targets) == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_nobody_can_install_our_top_level_names() -> None:
    assert "[build-system]" not in (ROOT / "pyproject.toml").read_text()


def test_nats_finds_every_variable_that_its_configuration_names() -> None:
    named = set(re.findall(r"\$([A-Z][A-Z0-9_]+)\b", "".join(
        (ROOT / "k8s/nats" / name).read_text() for name in ("nats.conf", "cluster.conf", "accounts.conf")
    )))  # fmt: skip
    named = {name for name in named if name.startswith(("NATS_PASSWORD_", "ROUTE_", "POD_"))}
    manifest = (ROOT / "k8s/nats/statefulset.yaml").read_text()
    script = re.findall(r"for user in (.*); do", (ROOT / "k8s/nats/passwords.sh").read_text())[0].split()
    given = set(re.findall(r"- name: ([A-Z][A-Z0-9_]+)$", manifest, re.M)) | {
        f"NATS_PASSWORD_{user}" for user in script
    }
    assert named <= given
