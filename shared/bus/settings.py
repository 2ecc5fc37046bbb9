"""Settings of the bootstrap."""

from pydantic import Field, SecretStr

from shared.runtime.settings import BusSettings, ServiceSettings


class BootstrapSettings(BusSettings, ServiceSettings):
    """Creates streams and consumers, in both accounts."""

    nats_public_user: str = Field(
        default="public-bootstrap", description="NATS user of the bootstrap in the account that outsiders read from."
    )
    nats_public_password: SecretStr = Field(
        default=SecretStr(""),
        description="Its password. With neither this nor a seed there is no public stream, as on a NATS without accounts.",
    )
    nats_public_nkey_seed_file: str = Field(default="", description="File with its nkey seed, instead of a password.")
    nats_replicas: int = Field(
        default=1,
        ge=1,
        le=5,
        description="Copies of each stream. 3 needs a NATS cluster of at least three; existing ones are raised.",
    )
    inbox_partitions: int = Field(
        default=0,
        ge=0,
        le=256,
        description="Partitions of the inbox when it is made; 0: 8. Of one that exists nothing but `bootstrap repartition` "
        "changes the number, and another one here is refused.",
    )
    bootstrap_interval: float = Field(
        default=5.0,
        gt=0,
        description="Seconds between two looks with --watch; bounds how long a lost disk goes unnoticed.",
    )
