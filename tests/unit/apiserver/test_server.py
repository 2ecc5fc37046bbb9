"""What the emulator has beside Kubernetes' behaviour: its log of requests, restarts, forgetting, refusals; and our manifests."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from sandbox.apiserver.server import ApiServer
from sandbox.apiserver.store import Store
from sandbox.controlplane.api import APPLY, Api, ApiError, Json

ROOT = Path(__file__).parents[3]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with ApiServer() as running:
        yield running


@pytest.fixture
async def api(server: ApiServer) -> AsyncIterator[Api]:
    async with server.api() as client:
        yield client


async def test_every_request_is_logged_with_who_asked(server: ApiServer, api: Api) -> None:
    await api.create(MAPS, {"metadata": {"name": "one"}})
    token = (await api.create("/api/v1/namespaces/default/serviceaccounts/default/token", {}))["status"]["token"]
    async with server.api(token) as account:
        with pytest.raises(ApiError):
            await account.get(f"{MAPS}/absent")
        async with aclosing(account.watch(MAPS, "0")) as events:  # type: ignore[type-var] # an async generator
            await anext(events)
    async with Api(server.url, "unheard") as nobody:
        await nobody.get("/version")

    seen = [(each.user, each.verb, each.method, each.path, each.status) for each in server.requests]
    assert seen == [
        ("admin", "create", "POST", MAPS, 201),
        ("admin", "create", "POST", "/api/v1/namespaces/default/serviceaccounts/default/token", 201),
        ("system:serviceaccount:default:default", "get", "GET", f"{MAPS}/absent", 404),
        ("system:serviceaccount:default:default", "watch", "GET", MAPS, 200),
        ("system:anonymous", "", "GET", "/version", 200),
    ]
    assert server.requests[0].agent.startswith("Python/")


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("GET", "/apis/unheard/v1/things", "application/json", 404),
        ("POST", "/api/v1/configmaps", "application/json", 405),
        ("PUT", MAPS, "application/json", 405),
        ("OPTIONS", MAPS, "application/json", 405),
        ("POST", MAPS, "text/plain", 415),
        ("PATCH", f"{MAPS}/one", "application/json", 415),
        ("PATCH", f"{MAPS}/one", "application/apply-patch+yaml", 400),
        ("POST", f"{MAPS}/one/unheard", "application/json", 404),
        ("PATCH", f"{MAPS}/one/status", "application/merge-patch+json", 404),
        ("GET", f"{MAPS}?limit=x", "application/json", 400),
        ("GET", f"{MAPS}?continue=x", "application/json", 400),
        ("GET", f"{MAPS}?resourceVersion=999999", "application/json", 504),
        ("GET", f"{MAPS}?watch=1&resourceVersion=999999", "application/json", 504),
        ("POST", f"{MAPS}?dryRun=All", "application/json", 400),
    ],
)
async def test_what_cannot_be_done_is_refused_in_kubernetes_words(
    api: Api, method: str, path: str, content: str, status: int
) -> None:
    await api.create(MAPS, {"metadata": {"name": "one"}})

    with pytest.raises(ApiError) as refused:
        await api.request(method, path, body={} if method != "GET" else None, content_type=content)

    assert refused.value.status == status
    assert refused.value.reason


async def test_an_object_too_large_is_refused(server: ApiServer) -> None:
    async with aiohttp.ClientSession() as session:
        answer = await session.post(server.url + MAPS, data=io.BytesIO(b" " * 2**22))

        assert answer.status == 413
        assert (await answer.json())["reason"] == "RequestEntityTooLarge"


async def test_a_body_that_is_no_object_is_refused(api: Api, server: ApiServer) -> None:
    bodies: list[Any] = [[], "text", 1]
    for body in bodies:
        with pytest.raises(ApiError) as refused:
            await api.request("POST", MAPS, body=body)

        assert refused.value.status == 400


async def test_objects_outlive_a_restart_and_watches_do_not(api: Api, server: ApiServer) -> None:
    made = await api.create(MAPS, {"metadata": {"name": "one"}})
    watching = asyncio.create_task(_drain(api, made["metadata"]["resourceVersion"]))
    async with asyncio.timeout(5):
        while not any(each.verb == "watch" for each in server.requests):
            await asyncio.sleep(0.01)

    await server.stop()
    await asyncio.wait([watching], timeout=5)
    await server.start()

    assert watching.done()
    assert watching.exception() is None or isinstance(watching.exception(), aiohttp.ClientError)
    async with server.api() as again:
        assert (await again.get(f"{MAPS}/one"))["metadata"]["uid"] == made["metadata"]["uid"]
        await again.create("/api/v1/namespaces", {"metadata": {"name": "later"}})  # and the controllers work
        await again.until("/api/v1/namespaces/later/serviceaccounts/default", lambda _: True, timeout=5)


async def _drain(api: Api, version: str) -> None:
    async for _ in api.watch(MAPS, version):
        pass


async def test_a_list_that_was_begun_before_the_past_was_forgotten_is_expired(api: Api, server: ApiServer) -> None:
    for number in range(3):
        await api.create(MAPS, {"metadata": {"name": f"map-{number}"}})
    page = await api.get(MAPS, limit="1")

    server.forget()

    with pytest.raises(ApiError) as gone:
        await api.get(MAPS, limit="1", **{"continue": page["metadata"]["continue"]})
    assert (gone.value.status, gone.value.reason) == (410, "Expired")


def test_the_past_has_an_end() -> None:
    store = Store(history=3)
    versions = [store.put("things", _thing(number)).version for number in range(5)]

    with pytest.raises(Exception, match="too old resource version"):
        store.subscribe("things", versions[0])
    assert [each.stored.version for each in store.subscribe("things", versions[1]).events] == versions[2:]


def _thing(number: int) -> Json:
    metadata = {"name": f"thing-{number}", "namespace": "test", "uid": str(number)}
    return {"apiVersion": "v1", "kind": "Thing", "metadata": metadata}


async def test_an_object_of_an_absent_owner_goes(api: Api) -> None:
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "absent", "uid": "absent"}
    await api.create(MAPS, {"metadata": {"name": "orphan", "ownerReferences": [owner]}})

    await api.until(MAPS, lambda found: found["items"] == [], timeout=5)


async def test_a_controller_that_fails_is_noticed() -> None:
    def broken() -> datetime:
        raise RuntimeError("no clock")

    server = ApiServer(now=broken)
    await server.start()
    async with server.api() as api:
        template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
        spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
        await api.create("/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "a"}, "spec": spec})

    with pytest.raises(RuntimeError, match="no clock"):
        await server.stop()


async def test_it_starts_in_a_moment() -> None:
    """Nothing in it waits: two servers can start, serve and end within the time that one real one needs for etcd."""
    begin = datetime.now(UTC)
    for _ in range(2):
        async with ApiServer() as server, server.api() as api:
            await api.get("/api/v1/namespaces/default")

    assert (datetime.now(UTC) - begin).total_seconds() < 5  # generous: it's 0.05 s on a quiet machine


async def test_our_definitions_and_the_guides_manifests_are_taken(api: Api) -> None:
    for path in [*sorted((ROOT / "k8s" / "crds").glob("*s.yaml")), ROOT / "sandbox" / "crds" / "apisix.yaml"]:
        for crd in yaml.safe_load_all(path.read_text()):
            await api.request("POST", CRDS, body=crd, query={"fieldValidation": "Strict"})
    await api.create("/api/v1/namespaces", {"metadata": {"name": "test"}})
    groups = {each["name"] for each in (await api.get("/apis"))["groups"]}
    plurals = {"Canary": "canaries", "Deployment": "deployments", "HorizontalPodAutoscaler": "horizontalpodautoscalers"}
    plurals |= {"MetricTemplate": "metrictemplates", "ApisixRoute": "apisixroutes"}

    for path in sorted((ROOT / "tests" / "guide").glob("*.yaml")):
        manifest = yaml.safe_load(path.read_text())
        collection = f"/apis/{manifest['apiVersion']}/namespaces/test/{plurals[manifest['kind']]}"
        path_of_it = f"{collection}/{manifest['metadata']['name']}"
        options = {"fieldManager": "guide", "force": "true", "fieldValidation": "Strict"}
        made = await api.patch(path_of_it, manifest, APPLY, **options)
        assert made["spec"].keys() >= manifest["spec"].keys()

    assert groups >= {"flagger.app", "apisix.apache.org", "apps"}


def test_a_kubeconfig_leads_to_it(tmp_path: Path) -> None:
    server = ApiServer()

    written = yaml.safe_load(server.kubeconfig(tmp_path / "config", "token", "test").read_text())

    assert written["clusters"][0]["cluster"] == {"server": server.url}
    assert written["users"][0]["user"] == {"token": "token"}
    assert written["contexts"][0]["context"]["namespace"] == "test"
