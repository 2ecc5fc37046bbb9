"""The `flagger.app/v1beta1` objects as people write them, validated at the edge.

The API server checks the CRD's schema; here stands what it can't say: whole numbers where `number` admits fractions,
durations that parse, steps that rise. Every error names the field as a person would write it. Fields of other
providers are accepted and ignored. Source of defaults: Flagger's documented behaviour (interval 60 s and at least
10 s, threshold 1, maxWeight 100, thresholds 100 %, progressDeadlineSeconds 600).
"""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: str) -> float:
    """Seconds of a duration such as `30s`, `1m30s` or `2h`. Raises ValueError for anything else."""
    parts = DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"{value!r} is not a duration such as 30s or 1m30s")
    return sum(float(number) * _UNIT[unit] for number, unit in parts)


def _whole(value: object) -> object:
    """The CRD says `number`, so 10.0 arrives where 10 is meant; 10.5 never makes sense."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _duration(value: object) -> object:
    if isinstance(value, str) and value:
        seconds(value)
    return value


def _int_text(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdigit() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Percent = Annotated[int, BeforeValidator(_whole), Field(ge=0, le=100)]
Duration = Annotated[str, BeforeValidator(_duration)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
CookieName = Annotated[str, Field(pattern=r"^[^\s()<>@,;:\\\"/\[\]?={}]+$")]


class Model(BaseModel):
    """Lenient about what it doesn't know, strict about what it uses."""

    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel, populate_by_name=True)


class TargetRef(Model):
    api_version: str = "apps/v1"
    kind: str
    name: str


class ScalerReplicas(Model):
    min_replicas: Whole | None = None
    max_replicas: Whole | None = None


class AutoscalerRef(Model):
    api_version: str = ""
    kind: str
    name: str
    primary_scaler_replicas: ScalerReplicas | None = None


class Metadata(Model):
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class UnmanagedMetadata(Model):
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()


class CanaryService(Model):
    name: str = ""
    port: Annotated[int, BeforeValidator(_whole), Field(ge=1, le=65535)]
    port_name: str = "http"
    target_port: Annotated[int | str | None, BeforeValidator(_int_text)] = None
    port_discovery: bool = False
    app_protocol: str = ""
    traffic_distribution: str = ""
    headless: bool = False
    apex: Metadata | None = None
    primary: Metadata | None = None
    canary: Metadata | None = None
    unmanaged_metadata: UnmanagedMetadata | None = None


class ThresholdRange(Model):
    min: float | None = None
    max: float | None = None


class NamespacedRef(Model):
    name: str
    namespace: str = ""


class CanaryMetric(Model):
    name: str
    interval: Duration = ""
    threshold: float | None = None
    threshold_range: ThresholdRange | None = None
    query: str = ""
    template_ref: NamespacedRef | None = None
    template_variables: dict[str, str] = Field(default_factory=dict)
    no_data: Literal["fail", "hold", "ignore"] = "fail"
    latency: Literal["request", "upstream"] = "request"


class Compare(Model):
    """Ours: the canary against the primary. Floors are percentage points, alpha is the whole rollout's."""

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    floor: Annotated[float, Field(ge=0, le=100)] = 1.0
    latency_floor: Annotated[float, Field(ge=0, le=100)] = 5.0
    min_sample: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = 50
    warmup: Duration = "45s"


class FastAbort(Model):
    """Ours: looks at the canary between two checks, which can end the rollout and nothing else."""

    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.001
    floor: Annotated[float, Field(gt=0, lt=100)] = 10.0
    every: Duration = "5s"


class Webhook(Model):
    name: str
    url: str
    type: Literal[
        "", "confirm-rollout", "pre-rollout", "rollout", "confirm-promotion", "post-rollout", "event", "rollback",
        "confirm-traffic-increase",
    ] = ""  # fmt: skip
    mute_alert: bool = False
    timeout: Duration = ""
    retries: Annotated[int, BeforeValidator(_whole), Field(ge=0)] = 0
    disable_tls: Annotated[bool, Field(alias="disableTLS")] = False
    metadata: dict[str, str] = Field(default_factory=dict)


class CanaryAlert(Model):
    name: str
    severity: Literal["", "info", "warn", "error"] = ""
    provider_ref: NamespacedRef


class StringMatch(Model):
    """One comparison with one value. A regular expression is held against the whole of it, as Istio does."""

    exact: str | None = None
    prefix: str | None = None
    suffix: str | None = None
    regex: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(each is not None for each in (self.exact, self.prefix, self.suffix, self.regex)) != 1:
            raise ValueError("needs exactly one of exact, prefix, suffix and regex")
        try:
            re.compile(self.regex or "")
        except re.error as error:
            raise ValueError(f"{self.regex!r} is no regular expression: {error}") from error
        return self


class Match(Model):
    """Requests that are testers': all conditions of one entry must hold."""

    headers: dict[HeaderName, StringMatch] = Field(default_factory=dict)
    query_params: dict[str, StringMatch] = Field(default_factory=dict)
    cookies: dict[str, StringMatch] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if foreign := ", ".join(sorted(self.model_extra or {})):
            raise ValueError(f"{foreign} is not supported: use headers, queryParams or cookies")
        if not (self.headers or self.query_params or self.cookies):
            raise ValueError("has no condition: set headers, queryParams or cookies")
        return self


class SessionAffinity(Model):
    cookie_name: CookieName
    primary_cookie_name: CookieName | Literal[""] = ""
    max_age: Whole = 0
    domain: str = ""
    path: str = ""
    same_site: Literal["", "Strict", "Lax", "None"] = ""
    secure: bool = False
    http_only: bool = False
    partitioned: bool = False

    @model_validator(mode="after")
    def _apart(self) -> Self:
        """Flagger's words."""
        if self.cookie_name == self.primary_cookie_name:
            raise ValueError(
                "can't use the same cookie name for both primary and cookie name; please update them to be different"
            )
        return self


class Analysis(Model):
    interval: Duration = ""
    threshold: Whole = 1
    max_weight: Whole = 0
    step_weight: Percent = 0
    step_weights: tuple[Percent, ...] = ()
    step_weight_promotion: Percent = 0
    iterations: Whole = 0
    mirror: bool = False
    mirror_weight: Percent = 0
    match: tuple[Match, ...] = ()
    primary_ready_threshold: Percent = 100
    canary_ready_threshold: Percent = 100
    metrics: tuple[CanaryMetric, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    alerts: tuple[CanaryAlert, ...] = ()
    session_affinity: SessionAffinity | None = None
    min_requests: Annotated[int | None, BeforeValidator(_whole), Field(ge=1)] = None
    compare: Compare | None = None
    fast_abort: FastAbort | None = None


class CanarySpec(Model):
    provider: str = ""
    metrics_server: str = ""
    progress_deadline_seconds: Annotated[int, BeforeValidator(_whole), Field(ge=1)] = 600
    target_ref: TargetRef
    autoscaler_ref: AutoscalerRef | None = None
    ingress_ref: TargetRef | None = None
    route_ref: TargetRef | None = None
    route_refs: tuple[TargetRef, ...] = ()
    service: CanaryService | None = None
    analysis: Analysis | None = None
    skip_analysis: bool = False
    revert_on_deletion: bool = False
    suspend: bool = False


class ProviderSpec(Model):
    type: str
    address: str = ""
    headers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    secret_ref: NamespacedRef | None = None
    insecure_skip_verify: bool = False


class MetricTemplateSpec(Model):
    provider: ProviderSpec
    query: str


class InvalidCanary(ValueError):
    """A Canary that the API server admits and nobody can run; the message names field and fix."""


def parse_spec(document: object) -> CanarySpec:
    """The spec of a Canary object. Raises InvalidCanary naming every wrong field."""
    try:
        return CanarySpec.model_validate(document)
    except ValidationError as error:
        found = "; ".join(
            f"spec.{'.'.join(str(part) for part in each['loc'])}: {each['msg'].removeprefix('Value error, ')}"
            for each in error.errors(include_url=False)
        )
        raise InvalidCanary(f"invalid canary spec: {found}") from error
