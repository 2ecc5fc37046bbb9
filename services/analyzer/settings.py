"""What can be set about the analyzer; read once, at start."""

from pydantic import Field

from shared.runtime.settings import BusSettings, KubeSettings, ServiceSettings


class AnalyzerSettings(ServiceSettings, BusSettings, KubeSettings):
    """Bus, Kubernetes API and how much at once."""

    analyzer_concurrency: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Ticks that a replica judges at the same time. Most of that time is waiting for Prometheus and webhooks; "
        "each Prometheus gets twice as many threads.",
    )
