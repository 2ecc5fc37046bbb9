"""Every process's settings: SERINUS_* environment variables, read once at start.

Only this module looks at the environment. Each service's own `settings.py` adds a class of fields to the groups here;
each field's description holds its unit and the reason for its default. One ConfigMap serves all processes, so a
process accepts the others' variables too, but one that no process knows stops it: a misspelt setting must not be
silently ignored.
"""

import difflib
import importlib
import logging
import os
import pkgutil
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NoReturn, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

log = logging.getLogger(__name__)

PREFIX: Final = "SERINUS_"

TOOLING: Final = frozenset({"SERINUS_CACHE"})
"""Read by programs beside the processes, out of the same environment."""

_SERVICE_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
"""Kubernetes puts these into every pod of a namespace with a Service named `serinus…`; they're nobody's settings."""


class Settings(BaseSettings):
    """What every process has. An empty variable counts as not set."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    otel_exporter_otlp_endpoint: str = Field(
        default="",
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="Base URL of an OpenTelemetry collector (OTLP over HTTP). Empty: no traces.",
    )

    @classmethod
    def load(cls) -> Self:
        """The settings, or the end of the process with code 2 and one line that names the variables and the fixes."""
        unknown = complaints(os.environ, variables([*known(), cls]))  # noqa: TID251 - the one place
        try:
            settings = cls()
        except ValidationError as error:
            _refuse([*unknown, *_invalid(cls, error)])
        except SettingsError as error:
            _refuse([*unknown, str(error)])
        if unknown:
            _refuse(unknown)
        return settings


class BusSettings(Settings):
    """How to reach NATS. Each process has a user of its own, with either a password or an nkey."""

    nats_url: str = Field(
        default="nats://nats:4222", description="Address of NATS; several, separated by commas, for a cluster."
    )
    nats_user: str = Field(
        default="", description="NATS user. Empty: the service's name if there's a password, else nobody."
    )
    nats_password: SecretStr = Field(default=SecretStr(""), description="Password of the NATS user.")
    nats_nkey_seed_file: str = Field(
        default="", description="File with the nkey seed of the NATS user, instead of user and password."
    )
    nats_tls_ca_file: str = Field(
        default="",
        description="PEM file of the CA that signed NATS's certificate. Empty: the system's CAs, where the URL says tls.",
    )


class KubeSettings(Settings):
    """How to reach the Kubernetes API. All empty: the pod's service account, or else the user's kubeconfig."""

    kube_url: str = Field(default="", description="Address of the API server. Empty: in-cluster configuration.")
    kube_token_file: str = Field(
        default="", description="File with a bearer token for SERINUS_KUBE_URL; read again when it changes."
    )
    kube_ca_file: str = Field(
        default="", description="PEM file of the CA that signed the API server's certificate, for SERINUS_KUBE_URL."
    )
    kubeconfig: str = Field(default="", description="Path of a kubeconfig, for runs outside a cluster.")
    watch_namespace: str = Field(
        default="",
        description="Only Canaries of this namespace, or of these, separated by commas. Empty: all, as the cluster-wide "
        "RBAC allows.",
    )

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces to watch; none: all."""
        return tuple(filter(None, map(str.strip, self.watch_namespace.split(","))))


class HttpSettings(Settings):
    """Where the health and metrics server listens."""

    http_host: str = Field(
        default="0.0.0.0",
        description="Address to listen on. All by default, because the kubelet's probes come from outside the pod.",
    )
    http_port: int = Field(
        default=8080, ge=0, le=65535, description="TCP port of /livez, /readyz and /metrics. The default is Flagger's."
    )


class LogSettings(Settings):
    """What is logged."""

    log_level: Literal["debug", "info", "warn", "error"] = Field(
        default="info", description="Lowest level that is logged: info tells every transition, debug every message."
    )


class ServiceSettings(HttpSettings, LogSettings):
    """What `serve.main` needs of a process's settings."""


def known() -> list[type[Settings]]:
    """The settings of all our processes.

    Found by name at run time: this package must not import a service, and services must not import one another.
    """
    importlib.import_module("shared.bus.settings")
    for info in pkgutil.iter_modules(importlib.import_module("services").__path__):
        name = f"services.{info.name}.settings"
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # one without settings is no error, one with broken imports is
                raise
    ours = ("services.", "shared.bus.")
    return sorted(
        (cls for cls in _descendants(Settings) if cls.__module__.startswith(ours)), key=lambda cls: cls.__name__
    )


def variables(classes: Iterable[type[Settings]]) -> frozenset[str]:
    """The names of all variables that these classes read."""
    return frozenset(variable(name, field) for cls in classes for name, field in cls.model_fields.items())


def variable(name: str, field: FieldInfo) -> str:
    """The name of the variable that a field is read from."""
    return str(field.validation_alias or PREFIX + name.upper())


def complaints(environment: Mapping[str, str], names: frozenset[str]) -> list[str]:
    """One sentence for each SERINUS_* variable that nobody reads, with the name that was probably meant."""
    found = []
    for name in sorted(environment):
        if not name.upper().startswith(PREFIX) or name.upper() in names | TOOLING or _service_link(name, environment):
            continue
        near = difflib.get_close_matches(name.upper(), names, n=1)
        found.append(f"{name} is not a setting" + (f", did you mean {near[0]}?" if near else "; remove it"))
    return found


def _service_link(name: str, environment: Mapping[str, str]) -> bool:
    value = environment[name]
    return bool(_SERVICE_LINK.search(name)) or (name.endswith("_PORT") and value.startswith(("tcp://", "udp://")))


def _invalid(cls: type[Settings], error: ValidationError) -> list[str]:
    """What is wrong with which variable. Values are left out: one may be a secret in the wrong place."""
    by_name = {name: (variable(name, field), field) for name, field in cls.model_fields.items()}
    by_name |= {each[0]: each for each in by_name.values()}
    found = []
    for each in error.errors(include_input=False, include_url=False, include_context=False):
        name, field = by_name.get(str(each["loc"][0]) if each["loc"] else "", ("", None))
        meaning = f" ({field.description})" if field and field.description else ""
        found.append(f"{name}: {each['msg']}{meaning}" if name else each["msg"])
    return found


def _refuse(problems: Sequence[str]) -> NoReturn:
    log.error("bad settings: %s", "; ".join(problems))
    sys.exit(2)


def _descendants(cls: type[Settings]) -> set[type[Settings]]:
    return {each for child in cls.__subclasses__() for each in (child, *_descendants(child))}


def document(classes: Sequence[type[Settings]]) -> str:
    """docs/configuration.md: a table of all variables of these processes."""
    rows: dict[str, tuple[FieldInfo, list[str]]] = {}
    for cls in classes:
        process = _process(cls)
        for name, field in cls.model_fields.items():
            rows.setdefault(variable(name, field), (field, []))[1].append(process)
    everybody = {_process(cls) for cls in classes}
    lines = [
        "# Configuration",
        "",
        "Made by `python -m shared.runtime.settings`; don't edit. All processes may share one ConfigMap: each accepts the",
        "others' variables, and a `SERINUS_` variable that none of them knows stops it. An empty one counts as not set.",
        "",
        "| Variable | Default | Meaning | Read by |",
        "| --- | --- | --- | --- |",
    ]
    for name, (field, processes) in sorted(rows.items()):
        readers = "all" if set(processes) == everybody else ", ".join(sorted(processes))
        lines.append(f"| `{name}` | {_default(field)} | {_cell(field.description or '')} | {readers} |")
    return "\n".join(lines) + "\n"


def _process(cls: type[Settings]) -> str:
    package, _, rest = cls.__module__.partition(".")
    return rest.split(".")[0] if package == "services" else cls.__name__.removesuffix("Settings").lower()


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    text = {True: "true", False: "false"}[default] if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


if __name__ == "__main__":
    ourselves = importlib.import_module("shared.runtime.settings")  # as __main__ the classes would exist twice
    sys.stdout.write(ourselves.document(ourselves.known()))
