"""The door to Prometheus: the only module that imports its client library.

The library is synchronous, waits forever by default, and retries a failing query three times with pauses. So each
Prometheus gets one client with threads of its own, no retries, and a timeout inside (per socket operation) as well as
outside (in all). A slow Prometheus keeps only its own threads busy. Whatever happens becomes an Answer; its `error` is
Flagger's text, without addresses of memory and other accidents, so that equal errors read equal.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import RemoteDisconnected
from typing import Any, Final

import prometheus_api_client as library
import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util.retry import Retry

from services.analyzer import samples, versions
from services.analyzer.policy import Answer, Fault
from services.analyzer.ports import Credentials
from services.analyzer.sharing import Sharing
from services.analyzer.sources import Source, Unusable, source_of
from shared.errors import Never, RetryLater
from shared.wire.messages import Provider

TIMEOUT: Final = 5.0
"""Seconds for one query, as in Flagger."""

QUEUE: Final = 15.0
"""Seconds that a query waits for a free thread of its Prometheus before that counts as no answer."""

KEEP: Final = 1.0
"""Seconds for which an answer also serves others who ask the same."""

CLIENTS: Final = 128
"""Clients kept: one per Prometheus and credentials. A rotated secret makes a new one."""

Observe = Callable[[str, float], None]
"""(reason, seconds) of every query that was really sent; the reason is empty when there was an answer."""

Read = Callable[[object], Answer]
"""What is made of an instant query's result."""

_SPACE: Final = re.compile(r"[\t\n\f\r ]+")


class Prometheus:
    """Asks any number of Prometheus servers."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        threads: int,
        monotonic: Callable[[], float],
        observe: Observe,
        timeout: float = TIMEOUT,
        queue: float = QUEUE,
        clients: int = CLIENTS,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """`tell` gets a sentence about each Prometheus that is too old; without it none is asked for its version."""
        self._credentials = credentials
        self._threads = threads
        self._monotonic = monotonic
        self._observe = observe
        self._timeout = timeout
        self._queue = queue
        self._most = clients
        self._tell = tell
        self._known: set[str] = set()
        self._clients: dict[Source, _Client] = {}
        self._sharing: Sharing[Answer] = Sharing(KEEP, monotonic)

    async def ask(self, provider: Provider, query: str) -> Answer:
        """What this Prometheus says to this query; never raises for anything that one can do."""
        return await self._answer(provider, query, _one)

    async def rows(self, provider: Provider, query: str) -> Answer:
        """The same for a query whose answer has several series."""
        return await self._answer(provider, query, _several)

    async def _answer(self, provider: Provider, query: str, read: Read) -> Answer:
        try:
            secret = await self._credentials.read(provider.secret) if provider.secret else None
            source = source_of(provider, secret)
        except Unusable as error:
            return Answer(error=str(error), fault=Fault.PROVIDER)
        except Never as error:
            return Answer(error=str(error), fault=Fault.SECRET)
        except RetryLater as error:
            return Answer(error=str(error), fault=Fault.CLUSTER)
        text = _SPACE.sub(" ", query)
        return await self._sharing.get((source, text, read), lambda: self._send(source, text, read))

    async def close(self) -> None:
        await self._sharing.close()
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    async def _send(self, source: Source, query: str, read: Read) -> Answer:
        begun = self._monotonic()
        client = self._client(source)
        answer = await client.ask(query, read)
        if self._tell and not answer.fault and source.url not in self._known:
            self._known.add(source.url)
            client.look(self._tell)
        self._observe(samples.reason_of(answer.error) if answer.fault else "", self._monotonic() - begun)
        return answer

    def _client(self, source: Source) -> "_Client":
        """The client for this source; the one used longest ago makes room when there are too many."""
        client = self._clients.pop(source, None) or _Client(source, self._threads, self._timeout, self._queue)
        self._clients[source] = client
        if len(self._clients) > self._most:
            idle = next((key for key, each in self._clients.items() if not each.busy and each is not client), None)
            if idle:
                self._clients.pop(idle).close()
        return client


class _Client:
    """One client of the library, its threads, and the places in them."""

    def __init__(self, source: Source, threads: int, timeout: float, queue: float) -> None:
        self.busy = 0
        self._timeout = timeout
        self._queue = queue
        self._seen = threading.local()
        self._places = asyncio.Semaphore(threads)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="prometheus")
        self._session = _session(source, self._remember)
        self._library = library.PrometheusConnect(
            url=source.url,
            headers={name: value.encode() for name, value in source.headers},
            auth=_Identity(source.authorization),
            session=self._session,
            retry=Retry(total=0),
            timeout=timeout,
        )
        # after the library's own adapter, which has ten connections and drops those beyond
        adapter = HTTPAdapter(pool_connections=2, pool_maxsize=threads, pool_block=True, max_retries=0)
        self._session.mount(source.url, adapter)

    async def ask(self, query: str, read: Read) -> Answer:
        self.busy += 1
        try:
            async with asyncio.timeout(self._queue):
                await self._places.acquire()
        except TimeoutError:
            self.busy -= 1
            return _fault("request failed: too many queries wait for this Prometheus")
        thread = asyncio.get_running_loop().run_in_executor(self._threads, self._run, query, read)
        thread.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.shield(thread)
        except TimeoutError:
            return _fault(f"request failed: {samples.TOO_LATE}")

    def _ended(self, _: object) -> None:
        """A thread can't be interrupted, so its place is free when it really ends, and not when nobody waits."""
        self._places.release()
        self.busy -= 1

    def look(self, tell: Callable[[str], None]) -> None:
        """Asks for the version, in a thread; nobody waits for it."""
        self._threads.submit(self._look, tell)

    def _look(self, tell: Callable[[str], None]) -> None:
        client, url = self._library, self._library.url
        with contextlib.suppress(requests.RequestException, ValueError):  # it was asked something, and may be another
            answer = self._session.get(
                url + versions.PATH, headers=client.headers, auth=client.auth, timeout=self._timeout
            )
            if answer.ok and (text := versions.complaint(url, answer.json())):
                tell(text)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._session.close()

    def _run(self, query: str, read: Read) -> Answer:
        """In a thread. A connection that the other side closed just as it was reused is worth a second one."""
        answer = self._try(query, read)
        return self._try(query, read) or _fault("request failed: EOF") if answer is None else answer

    def _try(self, query: str, read: Read) -> Answer | None:
        """None: the connection had been closed."""
        self._seen.response = None
        try:
            result = self._library.custom_query(query, params={"timeout": f"{self._timeout:g}s"})
            return read(result)
        except samples.Unsuitable as error:
            return _fault(str(error))
        except library.PrometheusApiClientException:
            seen = self._seen.response
            return _fault(samples.refused(seen.status_code, seen.reason, seen.content))
        except (KeyError, TypeError, ValueError, RecursionError, requests.RequestException) as error:
            if isinstance(error, requests.RequestException) and not isinstance(error, requests.JSONDecodeError):
                gone = isinstance(samples.root(error), RemoteDisconnected)
                return None if gone else _fault(f"request failed: {samples.cause(error)}")
            seen = self._seen.response
            return _fault(samples.garbled(error, seen.content if seen is not None else b""))

    def _remember(self, response: requests.Response, **_: Any) -> None:
        """The library's errors hold neither status nor body; this sees every response, in its own thread."""
        self._seen.response = response


def _one(result: object) -> Answer:
    return Answer(value=samples.value_of(result))


def _several(result: object) -> Answer:
    return Answer(rows=samples.rows_of(result))


def _fault(error: str) -> Answer:
    return Answer(error=error, fault=Fault.QUERY)


class _Identity(AuthBase):
    """Sets exactly what the source says. Without it, requests would look for a password in ~/.netrc."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._authorization:
            request.headers["Authorization"] = self._authorization
        return request


def _session(source: Source, seen: Callable[..., None]) -> requests.Session:
    session = requests.Session()
    session.verify = not source.insecure
    session.hooks["response"].append(seen)
    if source.insecure:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    return session
