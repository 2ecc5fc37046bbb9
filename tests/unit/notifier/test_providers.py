"""AlertProviders and their secrets, read by name."""

from base64 import b64encode

import pytest

from services.notifier.messages import Messenger, Target
from services.notifier.providers import Providers
from shared.errors import Never, RetryLater
from shared.kube.errors import Forbidden
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.wire.messages import SecretRef

REF = SecretRef(namespace="ops", name="on-call")
ADDRESS = "https://hooks.slack.test/s3cret"


class Objects:
    def __init__(self, **found: Json | Exception) -> None:
        self.found = found
        self.asked: list[tuple[str, str, str]] = []

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        self.asked.append((kind.kind, namespace, name))
        found = self.found.get(kind.kind)
        if isinstance(found, Exception):
            raise found
        return found


def provider(**spec: object) -> Json:
    return {"spec": {"type": "slack", **spec}}


def secret(**data: str) -> Json:
    return {"data": {key: b64encode(value.encode()).decode() for key, value in data.items()}}


FROM_SECRET = provider(secretRef={"name": "url"})


async def test_defaults() -> None:
    objects = Objects(AlertProvider=provider(address=ADDRESS))
    assert await Providers(objects).read(REF) == Target(
        kind=Messenger.SLACK, url=ADDRESS, channel="general", username="flagger"
    )
    assert objects.asked == [("AlertProvider", "ops", "on-call")]


async def test_everything_set() -> None:
    spec = provider(
        type="rocket",
        channel="c",
        username="u",
        proxy="http://proxy:3128",
        secretRef={"name": "url"},
        address="ignored",
    )
    objects = Objects(AlertProvider=spec, Secret=secret(address=ADDRESS + "\n", token="xoxb"))
    assert await Providers(objects).read(REF) == Target(
        kind=Messenger.ROCKET, url=ADDRESS, channel="c", username="u", token="xoxb", proxy="http://proxy:3128"
    )
    assert objects.asked == [("AlertProvider", "ops", "on-call"), ("Secret", "ops", "url")]


NAME = "alert provider on-call.ops"


@pytest.mark.parametrize(
    ("objects", "text"),
    [
        (Objects(), f'{NAME} error: alertprovider.flagger.app "on-call" not found'),
        (Objects(AlertProvider=Forbidden("no rights")), f"{NAME} error: no rights"),
        (Objects(AlertProvider=FROM_SECRET), f'{NAME} secretRef error: secrets "url" not found'),
        (Objects(AlertProvider=FROM_SECRET, Secret=Forbidden("no rights")), f"{NAME} secretRef error: no rights"),
        (Objects(AlertProvider=FROM_SECRET, Secret=secret(token="x")), f"{NAME} secret does not contain an address"),
        (Objects(AlertProvider=FROM_SECRET, Secret={"data": {"address": "%%"}}),
         f"{NAME} secret does not contain an address"),
        (Objects(AlertProvider=FROM_SECRET, Secret={"data": {"address": "/w=="}}),
         f"{NAME} secret does not contain an address"),
        (Objects(AlertProvider=provider(type="pigeon", address=ADDRESS)), f"{NAME} error: provider pigeon not supported"),
        (Objects(AlertProvider=provider(address="")), f"{NAME} has no address"),
        (Objects(AlertProvider={}), f"{NAME} error: provider  not supported"),
        (Objects(AlertProvider=provider(address="s3cret")),
         f"{NAME} error: invalid slack hook URL: an address that is none"),
        (Objects(AlertProvider=provider(address=ADDRESS, proxy="socks5://u:s3cret@proxy:1080")),
         f"{NAME} error: the proxy is no http or https URL"),
        (Objects(AlertProvider=provider(address="ftp://a.test/s3cret")),
         f"{NAME} error: invalid slack hook URL: ftp://a.test"),
    ],
)  # fmt: skip
async def test_misconfigured(objects: Objects, text: str) -> None:
    with pytest.raises(Never) as raised:
        await Providers(objects).read(REF)
    assert str(raised.value) == text


async def test_an_absent_api_server_is_worth_another_try() -> None:
    with pytest.raises(RetryLater, match="away"):
        await Providers(Objects(AlertProvider=RetryLater("away"))).read(REF)
