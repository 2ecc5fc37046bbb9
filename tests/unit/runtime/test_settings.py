"""Settings are read once, from variables that somebody knows, and never shown when they may be secret."""

import logging
import os

import pytest
from pydantic import Field, SecretStr

from shared.runtime import settings
from shared.runtime.settings import BusSettings, KubeSettings, ServiceSettings


class Sample(ServiceSettings, BusSettings, KubeSettings):
    width: int = Field(default=16, ge=1, description="How many at once.")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("SERINUS_") or name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def test_variables_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERINUS_WIDTH", "3")
    monkeypatch.setenv("SERINUS_NATS_PASSWORD", "s3cret")
    monkeypatch.setenv("SERINUS_LOG_LEVEL", "")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")
    found = Sample.load()
    assert (found.width, found.log_level, found.http_port) == (3, "info", 8080)
    assert found.otel_exporter_otlp_endpoint == "http://collector:4318"
    assert found.nats_password == SecretStr("s3cret")
    assert "s3cret" not in repr(found)
    with pytest.raises(ValueError, match="frozen"):
        setattr(found, "width", 4)  # noqa: B010 - the type checker knows that it's frozen, too


@pytest.mark.parametrize(
    ("text", "namespaces"), [("", ()), ("test", ("test",)), (" a, b ,,c", ("a", "b", "c")), (" , ", ())]
)
def test_namespaces(monkeypatch: pytest.MonkeyPatch, text: str, namespaces: tuple[str, ...]) -> None:
    monkeypatch.setenv("SERINUS_WATCH_NAMESPACE", text)
    assert Sample.load().namespaces == namespaces


def test_a_refusal_names_the_variable_and_never_its_value(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SERINUS_WIDTH", "s3cret")
    with pytest.raises(SystemExit) as ended, caplog.at_level(logging.ERROR):
        Sample.load()
    assert ended.value.code == 2
    assert "SERINUS_WIDTH" in caplog.text
    assert "How many at once." in caplog.text
    assert "s3cret" not in caplog.text


def test_another_services_variables_are_no_mistake() -> None:
    names = settings.variables(settings.known())
    assert settings.complaints({"SERINUS_ANALYZER_CONCURRENCY": "3", "PATH": "/bin", "SERINUS_CACHE": "x"}, names) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERINUS_ROUTER_SERVICE_HOST", "10.0.0.1"),
        ("SERINUS_ROUTER_SERVICE_PORT_HTTP", "8080"),
        ("SERINUS_ROUTER_PORT", "tcp://10.0.0.1:8080"),
        ("SERINUS_ROUTER_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_kubernetes_puts_into_every_pod_is_nobodys_setting(name: str, value: str) -> None:
    assert settings.complaints({name: value}, frozenset({"SERINUS_HTTP_PORT"})) == []


def test_every_setting_of_every_process_is_described() -> None:
    for cls in settings.known():
        for name, field in cls.model_fields.items():
            assert field.description, f"{cls.__module__}.{name}"
            assert field.description.endswith("."), f"{cls.__module__}.{name}"


def test_the_page_has_every_variable_once() -> None:
    page = settings.document(settings.known())
    for name in settings.variables(settings.known()):
        assert page.count(f"| `{name}` |") == 1
