"""The guide's canary cut short, for plays about something else than its steps: one step, nothing measured, nobody called."""

from typing import Any

from sandbox.controlplane.api import Json
from tests.e2e.rollouts import PATIENCE, Rollout, analysis, manifest

NEW = "stefanprodan/podinfo:6.0.1"
CHECK = "http://flagger-loadtester.test/gate/check"
HALT = "http://flagger-loadtester.test/gate/halt"
"""A gate that a test opens, and one that stays shut."""
SETTINGS = {"SERINUS_DRAIN_SECONDS": "2"}


def deployment(**template: Any) -> Json:
    """The guide's, available as soon as it's ready; `template` are further fields of its container."""
    found = manifest("deployment")
    found["spec"]["minReadySeconds"] = 0
    found["spec"]["template"]["spec"]["containers"][0].update(template)
    return found


def canary(*, spec: Json | None = None, **fields: Any) -> Json:
    """The guide's, straight to 50 %; `spec` and `fields` (of its analysis, without those that are None) go on top."""
    found = manifest("canary")
    wanted = {"stepWeight": 50, "threshold": 2, "metrics": [], "webhooks": []} | fields
    analysis(found, **{name: value for name, value in wanted.items() if value is not None})
    for name in (name for name, value in wanted.items() if value is None):
        del found["spec"]["analysis"][name]
    found["spec"].update(spec or {})
    return found


def hook(kind: str, url: str, **fields: Any) -> Json:
    """A webhook of a Canary."""
    return {"name": "hook", "type": kind, "url": url, **fields}


GATE = hook("confirm-promotion", CHECK)
"""Nothing is promoted before `Rollout.open_gate`."""


async def applied(rollout: Rollout, *documents: Json) -> None:
    """In a namespace of its own, with the guide's route and the short deployment."""
    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.apply("route", documents=(deployment(), *documents))


async def told(rollout: Rollout, text: str, kind: str = "Warning", *, timeout: float = PATIENCE) -> None:
    """Wait for the Kubernetes Event that says so of this Canary."""

    def says(found: Json) -> bool:
        return any(
            (each["type"], each["message"], each["involvedObject"]["name"]) == (kind, text, rollout.name)
            for each in found["items"]
        )

    await rollout.scene.stage.api.until(f"/api/v1/namespaces/{rollout.namespace}/events", says, timeout=timeout)


def beginning(rollout: Rollout, text: str) -> list[str]:
    """Everything that was said of this canary and begins so."""
    return [each for each in rollout.texts() if each.startswith(text)]


async def phase(rollout: Rollout, *wanted: str, weight: int | None = None, timeout: float = PATIENCE) -> Json:
    """Wait for one of these phases, and for the weight if any; answers the Canary."""

    def there(found: Json) -> bool:
        status = found.get("status", {})
        return status.get("phase") in wanted and weight in (None, status.get("canaryWeight"))

    return await rollout.scene.stage.api.until(rollout.canary, there, timeout=timeout)
