"""The router's settings; shared groups come from shared.runtime.settings."""

from typing import Literal

from pydantic import Field

from shared.runtime.settings import BusSettings, KubeSettings, ServiceSettings


class RouterSettings(BusSettings, KubeSettings, ServiceSettings):
    """What only the router decides by."""

    mesh_provider: str = Field(
        default="apisix", description="Provider of Canaries without spec.provider; they are ours only if it is apisix."
    )
    metrics_server: str = Field(
        default="http://prometheus:9090",
        description="Prometheus for builtin checks and inline queries of Canaries without spec.metricsServer.",
    )
    selector_labels: str = Field(
        default="app,name,app.kubernetes.io/name",
        description="Labels, separated by commas, of which a target's selector must have one; the first found tells "
        "primary and canary apart. Flagger's default.",
    )
    include_label_prefix: str = Field(
        default="", description="Prefixes, separated by commas, of labels that generated objects take over; * for all."
    )
    cluster_domain: str = Field(
        default="cluster.local",
        description="The cluster's domain, for the canary's address where requests are mirrored.",
    )
    apisix_before_3: bool = Field(
        default=False,
        description="The gateway is APISIX 2.x, which can't add a header to an answer: the cookies of sessionAffinity "
        "replace those that the application sets in the same answer.",
    )
    settle_seconds: float = Field(
        default=10.0,
        ge=0,
        description="Seconds from a new generated route to its first request on ingress controller 2.x, which goes on setting "
        "it up after it has accepted it.",
    )
    enable_config_tracking: bool = Field(
        default=True,
        description="Follow ConfigMaps and Secrets of targets as part of their revision, as Flagger's "
        "`-enable-config-tracking`. False needs no rights on them.",
    )
    gateway_workers: int = Field(
        default=1,
        ge=1,
        description="nginx worker processes of APISIX, over all its replicas. Each deals its own requests out in turn, so many "
        "workers and a small weight can leave a canary without any; a warning says when that is so.",
    )
    drain_seconds: float = Field(
        default=10.0,
        ge=0,
        description="Seconds that a side keeps its replicas after its weight went to zero, at most; gateways lag behind. 10 s "
        "is the shortest pause that Flagger leaves. From 35 s on the gateway's numbers may end it earlier.",
    )
    sweep_seconds: float = Field(
        default=5.0,
        gt=0,
        description="Seconds between looks through the caches for overdue ticks and lost facts; costs no request.",
    )
    bus_lost_policy: Literal["hold", "rollback"] = Field(
        default="hold",
        description="What becomes of a canary with traffic while NATS is gone: it keeps the traffic that it has, or goes "
        "back to the primary after a while. The Kubernetes API suffices for both.",
    )
    bus_lost_after: float = Field(
        default=300.0,
        ge=0,
        description="Seconds that `rollback` holds a canary for want of NATS before it rolls back; `hold` has no such time.",
    )
