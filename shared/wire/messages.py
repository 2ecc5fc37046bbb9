"""One pydantic model per message, and nothing that decides.

Readers accept wire schema N and N−1 and keep fields they don't know, so that old and new replicas run side by side.
Ids: every message has its own `id` and its cause's `cause`; both reach logs, traces and the Canary's status.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA: Final = 1
"""The wire schema this code writes. It reads SCHEMA and SCHEMA − 1."""


class Model(BaseModel):
    """Frozen, and unknown fields survive a round trip."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Message(Model):
    """What every message on the bus carries."""

    id: str = Field(description="Unique and deterministic: also the Nats-Msg-Id, so a repeat is dropped by the bus.")
    cause: str = Field(default="", description="Id of the message or object version that caused this one.")
    wire: int = Field(default=SCHEMA, description="Wire schema version of the writer.")


class CanaryRef(Model):
    """One Canary object; the uid tells it from a predecessor of the same name."""

    namespace: str
    name: str
    uid: str


class ObjectRef(Model):
    """Which object a fact is about, and at which version."""

    kind: str
    namespace: str
    name: str
    resource_version: str = Field(description="Kubernetes resourceVersion; the version that vanished when `deleted`.")
    deleted: bool = False


class Fact(Message):
    """Something changed in the cluster that one canary depends on. Watcher → router."""

    kind: Literal["fact"] = "fact"
    canary: CanaryRef
    object: ObjectRef
    checksum: str | None = Field(
        default=None, description="Of a tracked ConfigMap or Secret: first 16 hex digits of the SHA-256 of its data."
    )


class Hook(Model):
    """One webhook to call. The URL stays on internal streams."""

    name: str
    type: str
    url: str
    timeout_seconds: float = 10.0
    retries: int = 0
    disable_tls: bool = False
    mute_alert: bool = False
    metadata: dict[str, str] = Field(default_factory=dict)


class HookPayload(Model):
    """The fields of Flagger's webhook body that are the same for all hooks of a tick."""

    name: str
    namespace: str
    phase: str
    checksum: str


class SecretRef(Model):
    """The *name* of a secret; its content never crosses the bus."""

    namespace: str
    name: str


class Provider(Model):
    """A Prometheus to ask. `secret` holds `token`, or `username` and `password`."""

    type: str = "prometheus"
    address: str
    headers: dict[str, list[str]] = Field(default_factory=dict)
    insecure_skip_verify: bool = False
    secret: SecretRef | None = None
    template: str = Field(
        default="", description="`<name>.<namespace>` of its MetricTemplate, for texts; empty: the metrics server."
    )


class MetricSource(StrEnum):
    """Where a metric's query comes from; it decides Flagger's event texts and the unit of its gauge."""

    SUCCESS_RATE = "success-rate"
    DURATION = "duration"
    QUERY = "query"
    TEMPLATE = "template"


class NoData(StrEnum):
    """What a metric without values means. `ignore` passes, as long as something else was judged."""

    FAIL = "fail"
    HOLD = "hold"
    IGNORE = "ignore"


class Metric(Model):
    """One metric check with everything needed to judge it."""

    name: str
    source: MetricSource
    query: str = Field(default="", description="Rendered PromQL.")
    fallback: str = Field(
        default="", description="Builtins: the same over the whole route, for gateways without a `node` label."
    )
    lower: float | None = Field(default=None, description="Fail below. Inclusive bound: equal passes.")
    upper: float | None = Field(default=None, description="Fail above. Inclusive bound: equal passes.")
    provider: Provider | None = None
    no_data: NoData | None = Field(
        default=None, description="What it means that there are no values; `fail` by default."
    )
    blame: str | None = Field(
        default=None,
        description="Asked when it failed: failed requests `by` the application and by the gateway itself.",
    )
    error: str = Field(
        default="",
        description="The router couldn't form the question (missing template, render error): Flagger's text.",
    )


class Shift(Model):
    """Has the gateway taken in the weight of this step? Judged by what each gateway counted of either side lately."""

    query: str = Field(description="Requests by `instance` and `node`.")
    canary: str = Field(description="Pattern of the canary's node labels.")
    primary: str = Field(description="Pattern of the primary's.")
    weight: int = Field(description="Percent, as written.")
    before: int = Field(description="The weight of the step before: what a gateway shows that doesn't follow.")
    slack: int = Field(default=1, description="Requests that the gateway's round robin may owe the canary.")
    overdue: bool = Field(default=False, description="It should have followed by now, and nobody was told yet.")


class Evidence(Model):
    """Did the canary's own nodes answer anything since this step's weight was applied?"""

    query: str = Field(description="Requests of the canary's nodes since then; > 0 is evidence.")
    nodes_query: str = Field(description="Series of this route that carry a node label; none means the label is off.")
    route_query: str = Field(description="The same count over the whole route, used where the label is off.")
    provider: Provider
    first_tick: bool = Field(description="True on the first tick of a step: no movement then is `hold`, later `fail`.")
    least: int | None = Field(
        default=None, description="Requests that are enough, 1 by default. Some, but fewer, are `hold`."
    )
    no_data: NoData | None = Field(default=None, description="What none at all means from the second tick on.")
    first_after: int | None = Field(
        default=None,
        description="Requests that the gateway's round robin may give to the primary before the canary's first.",
    )
    shift: Shift | None = Field(default=None, description="Where the public has a share in the canary.")


class Sides(Model):
    """Canary and primary, as the gateway counts them, and the moment from which on that is asked about."""

    provider: Provider
    route: str = Field(description="Pattern of the route label.")
    canary: str = Field(description="Pattern of the canary's node labels.")
    primary: str = Field(description="Pattern of the primary's.")
    since: datetime


class Comparison(Sides):
    """Canary against primary, by what the gateway counted of either since a moment. Floors are parts of 1."""

    alpha: float = Field(description="What this one question may risk.")
    floor: float = Field(description="By how much the canary may fail more (compared), or at all (glanced at).")
    latency_floor: float = Field(default=1.0, description="By how much more of its requests may be slow.")
    least: int = Field(default=1, description="Requests that both sides need.")


class Purpose(StrEnum):
    """What a tick asks. `timer` asks nothing: only the time has come."""

    CONFIRM_ROLLOUT = "confirm-rollout"
    PRE_ROLLOUT = "pre-rollout"
    ANALYSIS = "analysis"
    POST_ROLLOUT = "post-rollout"
    PROVIDERS = "providers"
    TIMER = "timer"


class Question(Model):
    """Everything the analyzer needs; it reads nothing else but the named secrets.

    Order: `rollback` hooks first (one success means a manual rollback), then `hooks` and `metrics` together, then
    `gates` only if all of those passed.
    """

    purpose: Purpose
    payload: HookPayload
    target: str = Field(description="targetRef.name, for Flagger's texts.")
    provider_name: str = Field(default="apisix", description="The word in `for apisix metric …`.")
    rollback: tuple[Hook, ...] = ()
    hooks: tuple[Hook, ...] = ()
    gates: tuple[Hook, ...] = ()
    metrics: tuple[Metric, ...] = ()
    evidence: Evidence | None = None
    comparison: Comparison | None = None
    providers: tuple[Provider, ...] = Field(default=(), description="Of purpose `providers`: who must answer.")
    drain: Sides | None = Field(
        default=None, description="Of a timer that ends a drain: told if the canary still has requests."
    )
    failed_before: int = Field(default=0, description="failedChecks when the question was asked; for texts only.")


class TickId(Model):
    """Names one tick. A verdict for another one than the status waits for changes nothing."""

    revision: str
    seq: int = Field(description="The transition of the status that armed this tick.")
    due: datetime


class Tick(Message):
    """The time has come. Router → (held by NATS until due) → analyzer."""

    kind: Literal["tick"] = "tick"
    canary: CanaryRef
    tick: TickId
    question: Question


class Glance(Message):
    """A look between two ticks, which can end a rollout, or a drain, and nothing else. Router → (held by NATS) →
    analyzer, which has NATS hold the next one, until the tick is due."""

    kind: Literal["glance"] = "glance"
    canary: CanaryRef
    tick: TickId = Field(description="The tick that is waited for: only while that is so a glance means anything.")
    comparison: Comparison
    every_seconds: float
    drain: bool | None = Field(
        default=None,
        description="True where the canary has lost its traffic: the timer is over when nothing reaches it.",
    )


class Outcome(StrEnum):
    """One check's or one verdict's outcome. Only `pass` ever advances anything."""

    PASS = "pass"
    FAIL = "fail"
    HOLD = "hold"
    ERROR = "error"


class Blame(Model):
    """Whose answers the failed requests got."""

    application: float
    gateway: float = Field(description="No upstream was reached, or the gateway gave up on it.")


class CheckKind(StrEnum):
    METRIC = "metric"
    HOOK = "hook"
    GATE = "gate"
    ROLLBACK = "rollback"
    EVIDENCE = "evidence"
    PROVIDER = "provider"


class Check(Model):
    """One check with its value, bounds, query and reason."""

    name: str
    kind: CheckKind
    outcome: Outcome
    type: str = Field(default="", description="Webhook type, or metric source.")
    value: float | None = Field(default=None, description="Percent for success-rate, milliseconds for duration.")
    lower: float | None = None
    upper: float | None = None
    query: str = ""
    message: str = Field(default="", description="Flagger's event text for this check; empty when it has none.")
    reason: str = Field(
        default="", description="For people, beyond the text: cause of an error, a warning, a fallback."
    )
    no_data: bool | None = Field(default=None, description="True where there were no values.")
    note: str | None = Field(default=None, description="A warning told as an event of its own, once.")
    blame: Blame | None = None


class Verdict(Message):
    """The answer to one tick, with every check. Analyzer → router.

    `outcome` is the worst of all checks but gates: fail and error count as failed checks, hold counts nothing. The
    Nats-Msg-Id of a verdict on a tick ends with that tick's place in its stream: one that was armed again gets another verdict.
    """

    kind: Literal["verdict"] = "verdict"
    canary: CanaryRef
    tick: TickId
    purpose: Purpose
    outcome: Outcome
    checks: tuple[Check, ...] = ()
    abort: str | None = Field(default=None, description="Why the rollout must end at once: of a glance only.")
    judged_by: str = Field(default="", description="Analyzer replica (host name and process id), for people.")


class Nudge(Message):
    """Look at this canary again: its tick is overdue, or the caches say that a fact was lost. Router → itself."""

    kind: Literal["nudge"] = "nudge"
    canary: CanaryRef
    reason: str = ""


Inbound = Annotated[Fact | Verdict | Nudge, Field(discriminator="kind")]
"""What the router's inbox holds."""


class EventType(StrEnum):
    """Types of public rollout events: the last token of their subject, documented in docs/events.md."""

    INITIALIZED = "initialized"
    REVISION = "revision-detected"
    RESTARTED = "restarted"
    STARTED = "started"
    ADVANCED = "advanced"
    HALTED = "halted"
    WAITING = "waiting"
    GATE = "gate"
    COPYING = "copying"
    ROUTED = "routed"
    PROMOTED = "promoted"
    ROLLING_BACK = "rolling-back"
    FAILED = "failed"
    PENDING = "pending"
    HOLD = "hold"
    HOOK = "hook"
    SUSPENDED = "suspended"
    REFUSED = "refused"
    WARNING = "warning"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


class Severity(StrEnum):
    """Of an alert, as in `analysis.alerts[].severity`."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class RolloutEvent(Model):
    """The `data` of a public CloudEvent: one thing that happened in one rollout."""

    canary: CanaryRef
    seq: int = Field(description="Counts the events of this Canary object from 1 without gaps.")
    at: datetime
    type: EventType
    event_type: Literal["Normal", "Warning"]
    message: str = Field(description="The Kubernetes Event's text.")
    phase: str
    revision: str = ""
    weight: int = Field(default=0, description="Canary weight in percent after this event.")
    failed_checks: int = 0
    iterations: int = Field(
        default=0, description="Of an analysis without weights: how many are done after this event."
    )
    cause: str = ""
    checks: tuple[Check, ...] = Field(
        default=(), description="Of the verdict behind this event; without queries' auth."
    )


class CloudEvent(Model):
    """CloudEvents 1.0, structured JSON mode; extra attributes are lower case by that spec."""

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: Literal["application/json"] = "application/json"
    data: RolloutEvent


class AlertRoute(Model):
    """One entry of `analysis.alerts`."""

    provider: SecretRef = Field(description="Namespace and name of the AlertProvider.")
    severity: str = Field(default="", description="info, warn, error; empty means info (documented default).")


class Alert(Model):
    """A message to people about one event."""

    severity: Severity
    message: str
    fields: tuple[tuple[str, str], ...] = ()
    routes: tuple[AlertRoute, ...] = Field(default=(), description="Empty: the global notifier, all severities.")


class Notice(Message):
    """What the notifier has to do about one event. Router → notifier, internal: webhook URLs stay off public streams."""

    kind: Literal["notice"] = "notice"
    event: RolloutEvent
    checksum: str = Field(default="", description="Flagger's webhook checksum of the Canary at this event.")
    kubernetes_event: bool = True
    alert: Alert | None = None
    hooks: tuple[Hook, ...] = Field(
        default=(), description="Webhooks of type `event`; empty: the global event webhook."
    )


class DeadLetter(Model):
    """A message that can't be handled, with the reason and everything needed to look at it."""

    service: str
    reason: str
    subject: str
    stream: str = ""
    stream_seq: int = 0
    deliveries: int = 1
    headers: dict[str, str] = Field(default_factory=dict)
    body: str = Field(description="The payload, undecodable bytes replaced.")
