"""What can be set about the notifier; read once, at start.

The variables without our prefix are Flagger's, whose deployments go on working. Addresses and proxies are secrets:
messengers put their credentials into the path, and a proxy's password stands in its URL.
"""

from pydantic import Field, SecretStr, field_validator

from services.notifier.messages import is_address
from shared.runtime.settings import BusSettings, KubeSettings, ServiceSettings

_NONE = SecretStr("")


class NotifierSettings(ServiceSettings, BusSettings, KubeSettings):
    """Bus, Kubernetes API, and whom to tell where a Canary names nobody itself."""

    slack_url: SecretStr = Field(
        default=_NONE,
        validation_alias="SLACK_URL",
        description="Slack webhook for alerts of Canaries without `analysis.alerts`. Empty: no such alerts.",
    )
    slack_token: SecretStr = Field(
        default=_NONE,
        validation_alias="SLACK_TOKEN",
        description="Slack bot token; SLACK_URL is then the address of Slack's API, `https://slack.com/api/chat.postMessage`.",
    )
    slack_proxy_url: SecretStr = Field(
        default=_NONE,
        validation_alias="SLACK_PROXY_URL",
        description="HTTP proxy to Slack. Empty: HTTP_PROXY and NO_PROXY decide.",
    )
    slack_user: str = Field(default="flagger", description="Sender's name in Slack, as Flagger's `-slack-user`.")
    slack_channel: str = Field(
        default="general", description="Channel in Slack, as Flagger's `-slack-channel`; the default is its chart's."
    )
    msteams_url: SecretStr = Field(
        default=_NONE,
        validation_alias="MSTEAMS_URL",
        description="MS Teams webhook for those alerts, instead of Slack: a connector's, or a Power Automate workflow's.",
    )
    msteams_proxy_url: SecretStr = Field(
        default=_NONE,
        validation_alias="MSTEAMS_PROXY_URL",
        description="HTTP proxy to MS Teams. Empty: HTTP_PROXY and NO_PROXY decide.",
    )
    event_webhook_url: SecretStr = Field(
        default=_NONE,
        validation_alias="EVENT_WEBHOOK_URL",
        description="Webhook for events of Canaries without a webhook of type `event`. Empty: none.",
    )
    cluster_name: str = Field(
        default="", description="Shown as the first field of every alert. Empty: no such field, as with one cluster."
    )
    notifier_concurrency: int = Field(
        default=4,
        ge=1,
        le=64,
        description="Notices that a replica handles at the same time, of each kind: Events, alerts, webhooks. Nearly all of "
        "that time is waiting for others.",
    )

    @field_validator(
        "slack_url", "slack_proxy_url", "msteams_url", "msteams_proxy_url", "event_webhook_url", mode="after"
    )
    @classmethod
    def _address(cls, value: SecretStr) -> SecretStr:
        """Found at the start, not at the first alert, which may be the one about an outage."""
        if value.get_secret_value() and not is_address(value.get_secret_value()):
            raise ValueError("this is no http or https URL")
        return value
