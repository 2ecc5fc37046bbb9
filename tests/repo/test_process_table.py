"""The process table, the settings, the Deployments and compose.yaml tell the same story."""

import importlib
import re

import pytest

from sandbox.table import SERVICES, TABLE, Row, Source
from shared.bus import accounts
from shared.runtime import settings
from tests.repo.manifests import BASE, ROOT, Json, container, deployment, documents, kustomizations, settings_of

_KNOWN = settings.variables(settings.known())
_PROXIES = {"HTTP_PROXY", "NO_PROXY"}
_SECRETS = {Source.NATS_PASSWORD, Source.PUBLIC_PASSWORD}
rows = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


def _compose() -> dict[str, Json]:
    (found,) = documents(ROOT / "compose.yaml")
    services: dict[str, Json] = found["services"]
    return services


def _read_by(row: Row) -> frozenset[str]:
    """The variables that this process's own settings read."""
    name = "shared.bus.settings" if row.name == "bootstrap" else f"{row.module}.settings"
    module = importlib.import_module(name)
    classes = [
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, settings.Settings) and each.__module__ == name
    ]
    assert len(classes) == 1, f"{name} has one class of settings"
    return settings.variables(classes)


def test_every_service_folder_is_a_row_of_the_table() -> None:
    folders = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")}
    assert folders == {row.name for row in SERVICES}


@rows
def test_a_row_names_only_variables_that_its_process_reads(row: Row) -> None:
    assert row.environment.keys() - _PROXIES <= _read_by(row)


@rows
def test_the_default_port_is_the_tables(row: Row) -> None:
    assert settings.HttpSettings.model_fields["http_port"].default == row.port


@rows
def test_each_process_has_its_nats_user(row: Row) -> None:
    assert row.name in {user.name for user in accounts.USERS}


@rows
def test_a_deployment_runs_the_rows_command(row: Row) -> None:
    found = container(row.name)
    assert "command" not in found
    assert tuple(found["args"]) == row.command


@rows
def test_a_deployment_serves_the_rows_port_and_health(row: Row) -> None:
    found = container(row.name)
    (port,) = found["ports"]
    assert port["containerPort"] == row.port
    for probe, path in (("livenessProbe", row.alive), ("readinessProbe", row.ready)):
        assert found[probe]["httpGet"] == {"path": path, "port": port["name"]}


@rows
def test_a_deployment_takes_passwords_from_the_secret_of_the_nats_users(row: Row) -> None:
    wanted = {name for name, source in row.environment.items() if source in _SECRETS}
    given = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container(row.name)["env"]}
    assert given.keys() == wanted
    users = {Source.NATS_PASSWORD: row.name, Source.PUBLIC_PASSWORD: "public-bootstrap"}
    for name, reference in given.items():
        key = "NATS_PASSWORD_" + users[row.environment[name]].upper().replace("-", "_")
        assert reference == {"name": "serinus-nats", "key": key}


@rows
def test_only_who_asks_kubernetes_gets_a_token(row: Row) -> None:
    pod = deployment(row.name)["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == f"serinus-{row.name}"
    assert pod.get("automountServiceAccountToken", True) is row.asks_kubernetes


@rows
def test_all_read_the_one_config_map(row: Row) -> None:
    assert {"configMapRef": {"name": "serinus-settings"}} in container(row.name)["envFrom"]


def test_the_config_map_holds_the_addresses_that_the_table_asks_for() -> None:
    given = settings_of(BASE / "kustomization.yaml")
    wanted = {
        name
        for row in TABLE
        for name, source in row.environment.items()
        if source in {Source.NATS_URL, Source.METRICS_SERVER}
    }
    assert wanted <= given.keys()


@pytest.mark.parametrize("path", kustomizations(), ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_config_maps_hold_only_settings_that_somebody_reads(path: object) -> None:
    given = settings_of(path)  # type: ignore[arg-type]  # pytest knows no types of parameters
    assert settings.complaints(given, _KNOWN) == []
    assert given.keys() <= _KNOWN


def test_the_passwords_script_knows_every_nats_user() -> None:
    script = (ROOT / "k8s/nats/passwords.sh").read_text()
    listed = set(re.findall(r"for user in (.*); do", script)[0].split())
    assert listed == {user.name.upper().replace("-", "_") for user in accounts.USERS} | {"ROUTES"}


@rows
def test_compose_runs_the_rows_command(row: Row) -> None:
    found = _compose()[row.name]
    assert tuple(found["command"]) == row.command
    assert row.ready in " ".join(found["healthcheck"]["test"])


@rows
def test_compose_sets_what_the_row_needs_and_nothing_unknown(row: Row) -> None:
    given = _compose()[row.name]["environment"]
    defaulted = {Source.NATS_USER, Source.KUBE_TOKEN_FILE, Source.KUBE_CA_FILE}
    needed = {name for name, source in row.environment.items() if source not in defaulted}
    assert needed <= given.keys()
    assert given.keys() - _PROXIES <= _read_by(row)


@rows
def test_compose_asks_each_process_at_its_own_port(row: Row) -> None:
    """They share one loopback."""
    services = _compose()
    ports = {each.name: services[each.name]["environment"]["SERINUS_HTTP_PORT"] for each in TABLE}
    assert len(set(ports.values())) == len(TABLE)
    assert f"http://127.0.0.1:{ports[row.name]}{row.ready}" in services[row.name]["healthcheck"]["test"][-1]


def test_compose_has_nothing_but_the_table_and_the_world_around_it() -> None:
    world = {"nats", "prometheus", "sandbox", "guide"}
    assert _compose().keys() == {row.name for row in TABLE} | world
