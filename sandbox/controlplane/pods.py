"""What the fake kubelet says of a pod: pure functions from what is seen to the status that a real kubelet would write."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.controlplane.api import Json

# Tests put these on pod templates to steer single workloads.
NEVER_READY = "sandbox.serinus/never-ready"  # "true": runs, but its Ready condition stays False
READY_AFTER = "sandbox.serinus/ready-after"  # seconds from Running to Ready
ENDS_AFTER = "sandbox.serinus/ends-after"  # seconds that the pod keeps serving after its deletion began


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerState:
    """What is seen of one container. `exit_code` is set while no process of it runs."""

    ready: bool
    restarts: int = 0
    exit_code: int | None = None
    finished: bool = False  # ended, and by the pod's restart policy for good


Seen = Mapping[str, ContainerState]


class PodAddresses:
    """Hands out pod IPs. One that was given back isn't reused for long: tests look at what a gone pod's address serves.

    Not loopback addresses, which the API server refuses in endpoints.
    """

    def __init__(self, network: str = "10.128.0.0/16") -> None:
        self._free = dict.fromkeys(map(str, ipaddress.ip_network(network).hosts()))  # a set with an order

    def take(self) -> str:
        """The address that has been free for longest."""
        address = next(iter(self._free))
        del self._free[address]
        return address

    def hold(self, address: str) -> None:
        """Mark an address as taken, for a pod that an earlier kubelet started."""
        self._free.pop(address, None)

    def give_back(self, address: str) -> None:
        """The pod is gone."""
        self._free[address] = None


def seconds(pod: Json, annotation: str, default: float) -> float:
    """A pod's own value of a knob, or the kubelet's."""
    return float(pod["metadata"].get("annotations", {}).get(annotation, default))


def never_ready(pod: Json) -> bool:
    """True if the pod template asks for pods that run and never become ready."""
    return bool(pod["metadata"].get("annotations", {}).get(NEVER_READY) == "true")


def all_containers(pod: Json, *, ready: bool) -> Seen:
    """The same for each container, where no process stands behind the pod."""
    return {container["name"]: ContainerState(ready=ready) for container in pod["spec"]["containers"]}


def is_ready(seen: Seen) -> bool:
    """A pod is ready when all its containers are."""
    return all(state.ready for state in seen.values())


def timestamp(now: datetime | None = None) -> str:
    """Now as Kubernetes writes it."""
    return (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def status(pod: Json, ip: str, seen: Seen, *, started: str, turned: str) -> Json:
    """The body of the status patch: the pod runs (or ended), and these containers are ready.

    `started` is when the pod started, `turned` when its readiness last changed: minReadySeconds counts from there.
    """
    ready = is_ready(seen)
    conditions = [
        _condition("PodScheduled", True, started),
        _condition("Initialized", True, started),
        _condition("ContainersReady", ready, turned),
        _condition("Ready", ready, turned),
    ]
    return {
        "status": {
            "phase": _phase(seen),
            "hostIP": "10.127.0.1",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "startTime": started,
            "conditions": conditions,
            "containerStatuses": [_container(c, seen[c["name"]], pod, started) for c in pod["spec"]["containers"]],
        }
    }


def _phase(seen: Seen) -> str:
    if not all(state.finished for state in seen.values()):
        return "Running"
    return "Succeeded" if all(state.exit_code == 0 for state in seen.values()) else "Failed"


def _condition(kind: str, holds: bool, since: str) -> Json:
    condition: Json = {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": since}
    if not holds:
        condition |= {"reason": "ContainersNotReady", "message": "containers with unready status"}
    return condition


def _container(container: Json, seen: ContainerState, pod: Json, started: str) -> Json:
    state: Json = {"running": {"startedAt": started}}
    if seen.finished:
        word = "Error" if seen.exit_code else "Completed"
        state = {"terminated": {"exitCode": seen.exit_code, "reason": word, "startedAt": started}}
    elif seen.exit_code is not None:
        state = {"waiting": {"reason": "CrashLoopBackOff", "message": f"exit code {seen.exit_code}"}}
    name, uid = container["name"], pod["metadata"]["uid"]
    return {
        "name": name,
        "image": container["image"],
        "imageID": f"sandbox://{container['image']}",
        "containerID": f"sandbox://{uid}/{name}/{seen.restarts}",
        "ready": seen.ready,
        "started": seen.exit_code is None,
        "restartCount": seen.restarts,
        "state": state,
    }
