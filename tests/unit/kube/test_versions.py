"""What is said about an API server that is too old or doesn't serve what we follow, and that it's waited for."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from shared.errors import Never, RetryLater
from shared.kube import kinds, versions
from shared.kube.errors import Forbidden, Gone
from shared.kube.json import Json

FOLLOWED = (kinds.CANARY, kinds.APISIX_ROUTE, kinds.AUTOSCALER, kinds.SERVICE)
NO_ROUTES = "apisixroutes of apisix.apache.org/v2 aren't served: install the CRDs of APISIX's ingress controller, 1.5.1 or newer"
NO_CANARIES = "canaries of flagger.app/v1beta1 aren't served: apply k8s/crds"


class Server:
    """Discovery of an API server that serves these kinds."""

    def __init__(self, *served: kinds.Kind, version: str = "v1.36.3") -> None:
        self.version = version
        self.served = list(served)
        self.failure: Exception | None = None
        self.asked: list[str] = []

    async def read(self, path: str) -> Json:
        self.asked.append(path)
        if self.failure:
            raise self.failure
        if path == "/version":
            return {"gitVersion": self.version}
        found = [{"name": kind.plural} for kind in self.served if path == f"/apis/{kind.api_version}"]
        if not found:
            raise Gone(path)
        return {"resources": found}


class Health:
    def __init__(self) -> None:
        self.told: list[str] = []

    def __call__(self, ok: bool, reason: str) -> None:
        assert ok == (not reason)
        self.told.append(reason)


def then(*steps: Callable[[], object]) -> Callable[[float], Awaitable[None]]:
    """A pause in which the world moves on by one step; one pause too many fails."""
    left = list(steps)

    async def sleep(seconds: float) -> None:
        assert seconds == versions.PAUSE
        left.pop(0)()

    return sleep


@pytest.mark.parametrize("version", ["v1.28.0", "v1.29.4-eks-036c24b", "v1.30.1-gke.1329003", "v2.0.0", "", "weird"])
async def test_a_server_that_is_new_enough_or_wont_say_is_fine(version: str) -> None:
    assert await versions.missing(Server(*FOLLOWED, version=version), FOLLOWED) == []


@pytest.mark.parametrize("version", ["v1.27.16", "v1.9.0"])
async def test_one_that_is_too_old_is_one_sentence(version: str) -> None:
    told = await versions.missing(Server(*FOLLOWED, version=version), FOLLOWED)
    assert told == [f"the API server is {version}: Serinus needs Kubernetes 1.28 or newer"]


@pytest.mark.parametrize(
    ("without", "sentence"),
    [
        (kinds.CANARY, NO_CANARIES),
        (kinds.APISIX_ROUTE, NO_ROUTES),
        (
            kinds.AUTOSCALER,
            "horizontalpodautoscalers of autoscaling/v2 aren't served: Serinus needs Kubernetes 1.28 or newer",
        ),
    ],
)
async def test_a_kind_that_isnt_served_is_named_with_what_to_do(without: kinds.Kind, sentence: str) -> None:
    server = Server(*(kind for kind in FOLLOWED if kind != without))
    assert await versions.missing(server, FOLLOWED) == [sentence]


async def test_a_group_without_the_kind_is_missing_it_too() -> None:
    older = kinds.Kind("ApisixTls", kinds.APISIX_ROUTE.group, kinds.APISIX_ROUTE.version, "apisixtlses")
    assert await versions.missing(Server(older), [kinds.APISIX_ROUTE]) == [NO_ROUTES]


async def test_definitions_that_come_later_are_waited_for_and_each_text_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, health = Server(kinds.AUTOSCALER), Health()
    appear: Mapping[str, Callable[[], None]] = {
        "route": lambda: server.served.append(kinds.APISIX_ROUTE),
        "canary": lambda: server.served.append(kinds.CANARY),
    }
    await versions.wait(server, FOLLOWED, health, then(lambda: None, appear["route"], lambda: None, appear["canary"]))
    assert health.told == [f"{NO_ROUTES}; {NO_CANARIES}"] * 2 + [NO_CANARIES] * 2 + [""]
    assert [record.message for record in caplog.records] == [
        f"waiting: {NO_ROUTES}; {NO_CANARIES}", f"waiting: {NO_CANARIES}",
    ]  # fmt: skip


async def test_a_server_that_doesnt_answer_is_waited_for() -> None:
    server, health = Server(*FOLLOWED), Health()
    server.failure = RetryLater("no route")

    def back() -> None:
        server.failure = None

    await versions.wait(server, FOLLOWED, health, then(back))
    assert health.told == ["the API server doesn't answer: no route", ""]


@pytest.mark.parametrize("failure", [Forbidden("discovery is closed"), Never("what?")])
async def test_where_discovery_is_closed_nothing_waits(failure: Exception, caplog: pytest.LogCaptureFixture) -> None:
    server, health = Server(), Health()
    server.failure = failure
    with caplog.at_level("INFO"):
        await versions.wait(server, FOLLOWED, health, then())
    assert health.told == [""]
    assert f"versions aren't checked: {failure}" in caplog.text


async def test_a_server_as_it_should_be_is_asked_once() -> None:
    server = Server(*FOLLOWED)
    await versions.wait(server, FOLLOWED, Health(), then())
    assert len(server.asked) == len(set(server.asked)) == 4
