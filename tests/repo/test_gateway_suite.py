"""The gateway suite, its page and its workflow speak of the same tests and versions."""

import re
from typing import Final

import yaml

from tests.repo.manifests import ROOT

PAGE: Final = (ROOT / "docs/gateway.md").read_text()
SUITE: Final = ROOT / "tests/gateway"


def test_each_test_that_a_real_gateway_is_asked_is_a_fact_of_the_page() -> None:
    both = PAGE.partition("## Asked of both")[2].partition("\n## ")[0]
    asked = {name for path in SUITE.glob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert set(re.findall(r"`(test_\w+)`", both)) == asked


def test_the_workflow_pulls_the_versions_of_the_suite() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yaml").read_text())
    matrix = workflow["jobs"]["gateway"]["strategy"]["matrix"]["apisix"]
    [told] = re.findall(r"^VERSIONS = \((.+)\)$", (SUITE / "conftest.py").read_text(), re.M)
    assert matrix == re.findall(r'"([\d.]+)"', told)
