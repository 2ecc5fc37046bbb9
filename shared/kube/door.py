"""The door to the Kubernetes API: the only module that imports its client library.

The library does configuration, TLS, authentication and token refresh. Objects stay unstructured JSON, and its watch,
retries and models are left alone: each of them loses something (an event, a field, a deadline). Every request has a
timeout and every failure is one of shared.errors or shared.kube.errors, with the original chained.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client import rest
from kubernetes.aio.config import incluster_config

from shared.errors import Conflict, Never, RetryLater
from shared.kube import answers, json, kinds, requests
from shared.kube.errors import Gone
from shared.kube.json import Json
from shared.kube.kinds import Kind
from shared.kube.requests import Request
from shared.kube.token import TokenFile

PAGE: Final = 500
"""Objects per page of a list: bounds the memory that a list takes at once."""

Page = tuple[list[Json], str]
"""Objects, and the resourceVersion of which they are a picture."""

_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_MERGE: Final = "application/merge-patch+json"

Observe = Callable[[str, str, str, float], None]
"""(verb, kind, outcome, seconds) of every request; the outcome is `ok` or a word for the failure."""


class KubeSettings(Protocol):
    """Where the API server is; shared.runtime.settings describes each field."""

    @property
    def kube_url(self) -> str: ...
    @property
    def kube_token_file(self) -> str: ...
    @property
    def kube_ca_file(self) -> str: ...
    @property
    def kubeconfig(self) -> str: ...


class Cluster:
    """Requests to one API server; all its writes are recorded under one field manager."""

    def __init__(self, api: Any, *, field_manager: str, timeout: float = 10.0, observe: Observe | None = None) -> None:
        self._api = api
        self._manager = {"fieldManager": field_manager}
        self._timeout = timeout
        self._observe = observe
        self._refresh: asyncio.Task[None] | None = None

    def keep_fresh(self, refresh: asyncio.Task[None]) -> None:
        """Ties the task that renews a kubeconfig's token to the life of this door."""
        self._refresh = refresh

    async def close(self) -> None:
        if self._refresh:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)
        await self._api.close()

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The object, or None when there is none."""
        try:
            return await self._ask(Request(verb="get", kind=kind, path=kind.path(namespace, name)))
        except Gone:
            return None

    async def read(self, path: str) -> Json:
        """A document that is no object, such as `/version`. Raises Gone when there is none."""
        return await self._ask(Request(verb="get", kind=kinds.DISCOVERY, path=path))

    async def list(
        self, kind: Kind, namespace: str | None = None, label_selector: str = "", metadata_only: bool = False
    ) -> Page:
        """All objects, and the resourceVersion of which they are a picture. Reads what is stored, not a cache."""
        pages = [page async for page in self.pages(kind, namespace, label_selector, metadata_only)]
        return [obj for objects, _ in pages for obj in objects], pages[-1][1]

    async def pages(
        self,
        kind: Kind,
        namespace: str | None = None,
        label_selector: str = "",
        metadata_only: bool = False,
        limit: int = PAGE,
    ) -> AsyncIterator[Page]:
        """The same in pages. Raises Expired when the picture is too old to be continued; `limit` 0 asks for all."""
        query = ({"limit": str(limit)} if limit else {}) | ({"labelSelector": label_selector} if label_selector else {})
        accept = _METADATA_LIST if metadata_only else "application/json"
        while True:
            page = await self._ask(
                Request(verb="list", kind=kind, path=kind.path(namespace), query=query, accept=accept)
            )
            if not json.version(page):  # an empty object would otherwise read as "everything was deleted"
                raise RetryLater(f"list {kind.plural}: the answer is no list")
            objects = json.items(page, "items")
            for obj in objects:  # the items of built-in kinds don't say what they are
                obj.update(apiVersion=kind.api_version, kind=kind.kind)
            yield objects, json.version(page)
            query = query | {"continue": json.text(page, "metadata", "continue")}
            if not query["continue"]:
                return

    async def create(self, kind: Kind, body: Json) -> Json:
        path = kind.path(json.namespace(body))
        return await self._ask(Request(verb="create", kind=kind, path=path, query=self._manager, body=body))

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        """A JSON merge patch: null removes, a list replaces. With a resourceVersion in it, a lost race is Conflict."""
        path = requests.below(kind.path(namespace, name), subresource)
        return await self._ask(
            Request(verb="patch", kind=kind, path=path, query=self._manager, body=patch, content=_MERGE)
        )

    async def replace(self, kind: Kind, namespace: str, name: str, body: Json, *, subresource: str = "") -> Json:
        path = requests.below(kind.path(namespace, name), subresource)
        return await self._ask(Request(verb="update", kind=kind, path=path, query=self._manager, body=body))

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
        """With `uid`, only that very object. That it's gone already is fine."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._ask(Request(verb="delete", kind=kind, path=kind.path(namespace, name), body=options))
        except Gone:
            return
        except Conflict:
            if not uid:
                raise

    async def watch(
        self, kind: Kind, namespace: str | None, version: str, seconds: int, *, metadata_only: bool = False
    ) -> AsyncGenerator[Json, None]:
        """First an empty dict once the stream stands, then every event as `{"type", "object"}`, bookmarks too.

        Ends when the server ends it in order, after about `seconds`. Raises Expired when only a list can help.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(seconds),
        }
        accept = _METADATA if metadata_only else "application/json"
        request = Request(verb="watch", kind=kind, path=kind.path(namespace), query=query, accept=accept)
        response = await self._open(request, seconds)
        lines = answers.Lines()
        try:
            yield {}
            with _translated(request.what):
                async for chunk in response.content.iter_any():
                    for line in lines.feed(chunk):
                        yield answers.watch_event(request.what, line)
        finally:
            response.close()

    async def _open(self, request: Request, seconds: int) -> aiohttp.ClientResponse:
        """The answer to a watch, once its headers are there; those have the timeout of every other request."""
        limits = aiohttp.ClientTimeout(total=seconds + self._timeout)
        with self._measured(request), _translated(request.what):
            async with asyncio.timeout(self._timeout):
                response = await self._send(request, limits)
                if response.status != 200:
                    body = await response.read()
                    raise answers.failure(request.what, response.status, response.headers, body)
        return response

    async def _ask(self, request: Request) -> Json:
        limits = aiohttp.ClientTimeout(total=self._timeout)
        with self._measured(request), _translated(request.what):
            response = await self._send(request, limits)
            body = await response.read()
            if not 200 <= response.status < 300:
                raise answers.failure(request.what, response.status, response.headers, body)
            return answers.decoded(body)

    async def _send(self, request: Request, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        target = quote(request.path) + ("?" + urlencode(request.query) if request.query else "")
        method, url, headers, _, _ = await self._api.param_serialize(
            request.method,
            target,
            header_params={"Accept": request.accept, "Content-Type": request.content},
            auth_settings=["BearerToken"],
        )
        answer = await self._api.call_api(method, url, headers, request.body, _request_timeout=limits)
        response: aiohttp.ClientResponse = answer.response
        return response

    @contextlib.contextmanager
    def _measured(self, request: Request) -> Iterator[None]:
        begin = time.perf_counter()
        outcome = "cancelled"
        try:
            yield
            outcome = "ok"
        except (RetryLater, Never) as error:
            outcome = requests.outcome(error)
            raise
        finally:
            if self._observe:
                self._observe(request.verb, request.kind.kind, outcome, time.perf_counter() - begin)


async def connect(
    settings: KubeSettings, *, field_manager: str, timeout: float = 10.0, observe: Observe | None = None
) -> Cluster:
    """Opens the door. Raises Never when the configuration is unusable; sends no request."""
    options = client.Configuration()
    options.connection_pool_maxsize = 0  # a watch holds a connection, and nothing may wait behind the watches
    loader = None
    try:
        if settings.kube_url:
            _explicit(options, settings)
        elif settings.kubeconfig or not _in_cluster(options):
            loader = await config.load_kube_config(settings.kubeconfig or None, client_configuration=options)
        api = client.ApiClient(options)
        api.rest_client = _Rest(options)
        api.user_agent = field_manager
    except (config.ConfigException, OSError, ValueError) as error:
        raise Never(f"no way to the Kubernetes API: {error}") from error
    cluster = Cluster(api, field_manager=field_manager, timeout=timeout, observe=observe)
    if loader is not None:
        cluster.keep_fresh(asyncio.create_task(config.refresh_token(loader, options)))
    return cluster


def _explicit(options: Any, settings: KubeSettings) -> None:
    options.host = settings.kube_url.rstrip("/")
    options.ssl_ca_cert = settings.kube_ca_file or None
    _directly(options, settings.kube_token_file)


def _in_cluster(options: Any) -> bool:
    """The pod's own account. The library's loader doesn't strip the token, and rereads it only once a minute."""
    try:
        config.load_incluster_config(client_configuration=options)
    except config.ConfigException:
        return False
    _directly(options, incluster_config.SERVICE_TOKEN_FILENAME)
    return True


def _directly(options: Any, token_file: str) -> None:
    """No HTTP_PROXY and no ~/.netrc between us and the API server: those are for webhooks and for people."""
    options.client_session_kwargs = {"trust_env": False}
    if not token_file:
        return
    token = TokenFile(token_file)

    def renew(current: Any) -> None:
        current.api_key["BearerToken"] = token.header()

    options.api_key["BearerToken"] = ""  # without an entry the library doesn't ask the hook
    options.refresh_api_key_hook = renew


class _Rest(rest.RESTClientObject):  # type: ignore[misc]  # the library ships no type information
    """The library's own way to other connections: ones that notice within half a minute that the peer is gone."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, socket_factory=_socket)


def _socket(address: Any) -> socket.socket:
    """TCP keepalive: 15 s of silence, then three probes 5 s apart. A watch on a dead path looks idle otherwise."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family=family, type=kind, proto=protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return made


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Failures below HTTP: the connection, its TLS, its end before time, our own timeout."""
    try:
        yield
    except (aiohttp.ClientError, client.ApiException, TimeoutError, OSError) as error:
        raise RetryLater(f"{what}: {type(error).__name__}: {error}") from error
