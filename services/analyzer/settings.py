"""What can be set about the analyzer; read once, at start."""

from pydantic import Field

from shared.runtime.settings import BusSettings, KubeSettings, ServiceSettings


class AnalyzerSettings(ServiceSettings, BusSettings, KubeSettings):
    """Bus, Kubernetes API and how much at once."""

    analyzer_concurrency: int = Field(
        default=8,
        ge=1,
        le=256,
        description="Ticks that a replica judges at the same time, nearly all of it waiting for Prometheus and webhooks: with "
        "answers after 1 s a replica judges about as many ticks a second. More replicas are more at once; each Prometheus "
        "gets at most four times as many queries at once from each.",
    )
