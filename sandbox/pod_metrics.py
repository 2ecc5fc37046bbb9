"""What the application's pods export about themselves, as a Prometheus in their cluster would see it.

One page for all of them, with the labels that a Prometheus puts on from the pod's name and namespace.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from aiohttp import web

from sandbox.controlplane.api import Json
from sandbox.listener import Listener

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NAME: Final = "http_request_duration_seconds"


class Measured:
    """The histogram of one pod, by status and path."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[int, str]] = Counter()
        self._within: Counter[tuple[int, str, float]] = Counter()

    def count(self, status: int, path: str, seconds: float) -> None:
        """One request more."""
        self._counts[status, path] += 1
        for bound in _BUCKETS:
            self._within[status, path, bound] += seconds <= bound

    def lines(self, namespace: str, pod: str) -> Iterator[str]:
        """In the text format."""
        for (status, path), count in self._counts.items():
            labels = f'kubernetes_namespace="{namespace}",kubernetes_pod_name="{pod}",path="{path}",status="{status}"'
            for bound in _BUCKETS:
                yield f'{_NAME}_bucket{{{labels},le="{bound}"}} {self._within[status, path, bound]}'
            yield f'{_NAME}_bucket{{{labels},le="+Inf"}} {count}'
            yield f"{_NAME}_count{{{labels}}} {count}"


class Pod(Protocol):
    """One of the application's pods."""

    @property
    def manifest(self) -> Json: ...
    @property
    def measured(self) -> Measured: ...


def listener(pods: Callable[[], Iterable[Pod]]) -> Listener:
    """Serves the page of those that run."""

    async def page(_: web.BaseRequest) -> web.StreamResponse:
        lines = [f"# TYPE {_NAME} histogram"]
        for pod in pods():
            metadata = pod.manifest["metadata"]
            lines += pod.measured.lines(metadata["namespace"], metadata["name"])
        return web.Response(text="\n".join(lines) + "\n")

    return Listener(page)
