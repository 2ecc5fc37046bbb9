"""The watcher's settings."""

from pydantic import Field

from shared.runtime.settings import BusSettings, KubeSettings, ServiceSettings


class Settings(ServiceSettings, BusSettings, KubeSettings):
    """What the watcher has beyond what every process has."""

    mesh_provider: str = Field(
        default="apisix",
        description="Provider of Canaries that name none, as Flagger's `-mesh-provider`. With anything but `apisix`, only Canaries that name `apisix` are ours.",
    )
    enable_config_tracking: bool = Field(
        default=True,
        description="Follow ConfigMaps and Secrets (metadata only), as Flagger's `-enable-config-tracking`. False needs no rights on them.",
    )
