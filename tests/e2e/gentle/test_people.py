"""What people do to a rollout and around it, on the real API server: gates and hooks at the load tester, requests by
annotation, changed configs, suspension, skipped analysis, deletion.
"""

import asyncio
import json
from typing import Any

import pytest

from sandbox.application import Behaviour
from tests.e2e.casting import BROKEN, FRAGILE
from tests.e2e.plays import Play, Programme, declared, play
from tests.e2e.rollouts import PATIENCE, Rollout
from tests.e2e.short import CHECK, GATE, HALT, NEW, applied, beginning, canary, deployment, hook, phase, told

TESTER = "http://flagger-loadtester.test"
SUSPENDED = "skipping canary run as object is suspended"
OLD, NEWER = "ghcr.io/stefanprodan/podinfo:6.0.0", "stefanprodan/podinfo:6.0.9"


@play
async def confirm_rollout(rollout: Rollout) -> None:
    """Nothing is scaled up before the gate opens; and post-rollout hooks hear how it ended."""
    report = {**hook("post-rollout", f"{TESTER}/gate/close"), "name": "report"}
    await _begun(rollout, canary(webhooks=[hook("confirm-rollout", CHECK), report]))
    await told(rollout, f"Halt {_name(rollout)} advancement waiting for approval hook")
    found = await phase(rollout, "Waiting")
    [condition] = found["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["message"]) == (
        "Promoted", "Unknown", "Waiting for approval.",
    )  # fmt: skip
    assert (await rollout.scene.stage.api.get(rollout.target))["spec"]["replicas"] == 0

    rollout.open_gate()
    await _succeeds(rollout)
    await told(rollout, "Confirm-rollout check hook passed", "Normal")
    await told(rollout, "Post-rollout check report passed", "Normal")
    closing = _payloads(rollout, "/gate/close")
    assert [each["phase"] for each in closing] == ["Succeeded"]


@play
async def confirm_promotion(rollout: Rollout) -> None:
    """Approved by annotation: at once, not at the next tick."""
    await _begun(rollout, canary(webhooks=[GATE]))
    await told(rollout, f"Halt {_name(rollout)} advancement waiting for promotion approval hook")
    await phase(rollout, "WaitingPromotion", weight=50)
    assert await rollout.weights() == [50, 50]

    await _ask(rollout, "approve")
    await _succeeds(rollout)
    assert rollout.texts().count(f"Halt {_name(rollout)} advancement waiting for promotion approval hook") == 1
    assert not beginning(rollout, "Confirm-promotion check"), "nobody opened the gate"


@play
async def confirm_traffic_increase(rollout: Rollout) -> None:
    await _begun(rollout, canary(webhooks=[hook("confirm-traffic-increase", CHECK)]))
    waiting = f"Halt {_name(rollout)} advancement waiting for traffic increase approval hook"
    await told(rollout, waiting)
    assert await rollout.weights() == [100, 0]
    assert not beginning(rollout, "Advance")

    rollout.open_gate()
    await _succeeds(rollout)
    passed, advanced = "Confirm-traffic-increase check hook passed", f"Advance {_name(rollout)} canary weight 50"
    assert [text for text in rollout.texts() if text in {waiting, passed, advanced}] == [waiting, passed, advanced]


@play
async def pre_rollout(rollout: Rollout) -> None:
    """Refuses once, which counts, and then agrees."""
    await _begun(rollout, canary(threshold=50, webhooks=[hook("pre-rollout", CHECK)]))
    halted = f"Halt {_name(rollout)} advancement pre-rollout check hook failed Forbidden"
    await told(rollout, halted)
    assert (await phase(rollout, "Progressing", weight=0))["status"]["failedChecks"] >= 1

    rollout.open_gate()
    await _succeeds(rollout)
    texts = rollout.texts()
    assert texts.index(halted) < texts.index("Pre-rollout check hook passed")
    assert texts.index("Pre-rollout check hook passed") < texts.index(f"Advance {_name(rollout)} canary weight 50")
    assert {each["phase"] for each in _payloads(rollout, "/gate/check")} == {"Progressing"}


@play
async def rollback_hook(rollout: Rollout) -> None:
    promotion = {**hook("confirm-promotion", HALT), "name": "never"}
    await _begun(rollout, canary(webhooks=[hook("rollback", f"{TESTER}/rollback/check"), promotion]))
    await told(rollout, "Rollback hook hook not signaling a rollback", "Normal")
    await phase(rollout, "WaitingPromotion", weight=50)

    rollout.scene.stage.loadtester.gates[f"rollback.{_name(rollout)}"] = True
    assert (await rollout.over())["status"]["phase"] == "Failed"
    assert rollout.texts()[-3:] == [
        "Rollback check hook passed",
        f"Rolling back {_name(rollout)} manual webhook invoked",
        f"Canary failed! Scaling down {_name(rollout)}",
    ]
    assert await rollout.weights() == [100, 0]


@play
async def requests(rollout: Rollout) -> None:
    """Abort, once more, and promote without waiting for the steps: after the first the next one is far away."""
    await _begun(rollout, canary(stepWeight=1, interval="5m"))
    await phase(rollout, "Progressing", weight=1)
    await _ask(rollout, "abort")
    assert (await rollout.over())["status"]["phase"] == "Failed"
    assert f"Rolling back {_name(rollout)} abort requested" in rollout.texts()
    assert await rollout.weights() == [100, 0]

    await _ask(rollout, "retry")
    await phase(rollout, "Progressing", weight=1)
    await _ask(rollout, "promote")
    await _succeeds(rollout)
    assert set(beginning(rollout, "Advance")) == {f"Advance {_name(rollout)} canary weight 1"}


@play
async def changed_configs(rollout: Rollout) -> None:
    """A changed ConfigMap or Secret is a new revision, and the primary has copies of its own until that is promoted."""
    await rollout.scene.plane.kubectl("create", "ns", rollout.namespace)
    await rollout.kubectl("create", "configmap", "colours", "--from-literal=COLOUR=red")
    await rollout.kubectl("create", "secret", "generic", "login", "--from-literal=TOKEN=one")
    uses = deployment(envFrom=[{"configMapRef": {"name": "colours"}}, {"secretRef": {"name": "login"}}])
    await rollout.apply("route", documents=(uses, canary(webhooks=[GATE])))
    await rollout.initialized()
    primary = await rollout.scene.stage.api.get(f"{rollout.target}-primary")
    assert primary["spec"]["template"]["spec"]["containers"][0]["envFrom"] == [
        {"configMapRef": {"name": "colours-primary"}},
        {"secretRef": {"name": "login-primary"}},
    ]

    for kind, name, key, old, new in (
        ("configmap", "colours", "COLOUR", "red", "blue"),
        ("secret", "login", "TOKEN", "b25l", "dHdv"),
    ):
        await rollout.kubectl("patch", kind, name, "-p", json.dumps({"data": {key: new}}))
        await phase(rollout, "WaitingPromotion", weight=50)
        assert await _config(rollout, kind, f"{name}-primary") == {key: old}
        await _ask(rollout, f"approve:{kind}")
        await _succeeds(rollout, image=OLD)
        assert await _config(rollout, kind, f"{name}-primary") == {key: new}
    assert len(beginning(rollout, "New revision detected! Scaling up")) == 2


@play
async def suspended(rollout: Rollout) -> None:
    """In the middle of an analysis and at rest; what was released meanwhile begins when it goes on."""
    await _begun(rollout, canary(stepWeight=25, webhooks=[GATE]))
    await rollout.reached(25)
    await _patch(rollout, suspend=True)
    await _skipped(rollout, times=1)
    held = (await rollout.transition(), await rollout.weights())
    await asyncio.sleep(12)  # more than an interval: the time is what is looked at
    assert (await rollout.transition(), await rollout.weights()) == held
    assert rollout.texts()[-1] == SUSPENDED
    rollout.open_gate()
    await _patch(rollout, suspend=False)
    await _succeeds(rollout)

    await _patch(rollout, suspend=True)
    await _skipped(rollout, times=2)
    await rollout.kubectl("set", "image", "deployment/podinfo", f"podinfod={NEWER}")
    await _patch(rollout, suspend=False)
    await rollout.reached(25)
    await _succeeds(rollout, image=NEWER)


@play
async def superseded(rollout: Rollout) -> None:
    """A newer revision in the middle of an analysis starts over, and only that one is promoted."""
    await _begun(rollout, canary(webhooks=[GATE]))
    await phase(rollout, "Progressing", "WaitingPromotion", weight=50)
    await rollout.kubectl("set", "image", "deployment/podinfo", f"podinfod={NEWER}")
    await told(rollout, f"New revision detected! Restarting analysis for {_name(rollout)}", "Normal")
    rollout.open_gate()
    await _succeeds(rollout, image=NEWER)

    texts = rollout.texts()
    begun_again = texts.index(f"New revision detected! Restarting analysis for {_name(rollout)}")
    advanced = f"Advance {_name(rollout)} canary weight 50"
    assert (texts[:begun_again].count(advanced), texts[begun_again:].count(advanced)) == (1, 1)
    assert len(beginning(rollout, "Copying")) == 1


@play
async def weights(rollout: Rollout) -> None:
    """Listed steps up, and steps back to the promoted primary."""
    await _begun(rollout, canary(stepWeight=None, stepWeights=[1, 60], maxWeight=60, stepWeightPromotion=50))
    await _succeeds(rollout)

    assert beginning(rollout, "Advance") == [
        f"Advance {_name(rollout)} canary weight 1",
        f"Advance {_name(rollout)} canary weight 60",
        f"Advance {_name(rollout)} primary weight 90",
        f"Advance {_name(rollout)} primary weight 100",
    ]


@play
async def never_ready(rollout: Rollout) -> None:
    """A canary whose pods never serve ends at its deadline, without having had any traffic.

    Kubernetes doesn't help here: the guide's Deployment may be wholly unavailable, and one that took up its new
    template at no replicas counts as complete, whatever becomes of it when it is scaled up.
    """
    await applied(rollout, canary(spec={"progressDeadlineSeconds": 10}))
    await rollout.initialized()
    await _patch(rollout, suspend=True)
    await told(rollout, SUSPENDED, "Normal")
    await rollout.kubectl("set", "image", "deployment/podinfo", f"podinfod={BROKEN}")
    await rollout.kubectl("rollout", "status", "deployment/podinfo", "--timeout=120s")
    await _patch(rollout, suspend=False)
    found = await phase(rollout, "Failed")

    assert found["status"]["canaryWeight"] == 0
    await rollout.scene.listener.until(f"Canary failed! Scaling down {_name(rollout)}", rollout.namespace)
    assert beginning(rollout, f"Rolling back {_name(rollout)} progress deadline exceeded canary deployment")
    assert not beginning(rollout, "Advance")
    assert await rollout.image() == OLD


@play
async def failed_promotion(rollout: Rollout) -> None:
    """The copy doesn't come up: the canary, which does, serves everybody until a fix is promoted."""
    gate = hook("confirm-promotion", HALT)
    await applied(rollout, canary(webhooks=[gate], spec={"progressDeadlineSeconds": 20}))
    await _bounded(rollout)
    await rollout.initialized()
    await rollout.kubectl("set", "image", "deployment/podinfo", f"podinfod={FRAGILE}")
    await phase(rollout, "WaitingPromotion", weight=50)
    rollout.scene.stage.options.behaviours[FRAGILE] = Behaviour(ready=False)
    await _ask(rollout, "approve:fragile")
    await phase(rollout, "Failed")
    failed = 'failed, primary not ready: deployment "podinfo-primary" exceeded its progress deadline'
    await told(rollout, f"Promotion of {_name(rollout)} {failed}")
    assert await rollout.weights() == [0, 100]

    await rollout.kubectl("set", "image", "deployment/podinfo", f"podinfod={NEW}")
    await phase(rollout, "WaitingPromotion")
    await _ask(rollout, "approve:fix")
    await _succeeds(rollout)


@play
async def skipped(rollout: Rollout) -> None:
    """Nobody judges, nobody is asked, and the route keeps its weights."""
    halt = hook("rollout", HALT)
    await _begun(rollout, canary(webhooks=[halt], spec={"skipAnalysis": True}))
    await _succeeds(rollout)

    assert f"Promotion completed! Canary analysis was skipped for {_name(rollout)}" in rollout.texts()
    assert not beginning(rollout, "Advance")
    assert {event["weight"] for event in rollout.scene.listener.of(rollout.namespace)} == {0}


@play
async def reverted(rollout: Rollout) -> None:
    """Deleted with revertOnDeletion, in the middle of a rollout: the target serves again, under the Service that was
    there before Serinus."""
    own = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "podinfo"},
        "spec": {"selector": {"app": "podinfo"}, "ports": [{"name": "http", "port": 80, "targetPort": 9898}]},
    }  # fmt: skip
    await _begun(rollout, own, canary(webhooks=[GATE], spec={"revertOnDeletion": True}))
    assert await _selected(rollout) == "podinfo-primary"
    await phase(rollout, "Progressing", "WaitingPromotion", weight=50)
    await rollout.kubectl("delete", "canary", "podinfo", "--timeout=120s")

    target = await rollout.scene.stage.api.get(rollout.target)
    assert (target["spec"]["replicas"], target["status"]["readyReplicas"]) == (1, 1)
    await _until_left(rollout, "deployment.apps/podinfo", "service/podinfo", "apisixroute.apisix.apache.org/podinfo")
    assert await _selected(rollout) == "podinfo"
    await rollout.scene.listener.until(f"Terminated canary {_name(rollout)}", rollout.namespace)
    restoring = f"Restoring {_name(rollout)} to the template of podinfo-primary.{rollout.namespace}: what it shows was not promoted"
    assert rollout.texts()[-3:] == [
        f"Terminating canary {_name(rollout)}", restoring, f"Terminated canary {_name(rollout)}",
    ]  # fmt: skip
    assert await rollout.image("") == OLD


@play
async def deleted(rollout: Rollout) -> None:
    """Without it, too; all else that was generated goes with the Canary, and a new one of the same name begins anew."""
    await _begun(rollout, canary(webhooks=[GATE]))
    await phase(rollout, "Progressing", "WaitingPromotion", weight=50)
    await rollout.kubectl("delete", "canary", "podinfo", "--timeout=120s")
    await _until_left(rollout, "deployment.apps/podinfo", "service/podinfo", "apisixroute.apisix.apache.org/podinfo")
    assert await _selected(rollout) == "podinfo"

    await rollout.apply(documents=(canary(),))
    await rollout.initialized()
    assert await rollout.image() == OLD
    assert rollout.texts().count(f"Initialization done! {_name(rollout)}") == 2


@pytest.mark.parametrize("play", declared(globals()), ids=str)
async def test_people_are_obeyed(programme: Programme, play: Play[None]) -> None:
    await programme.of(play)


def _name(rollout: Rollout) -> str:
    return f"{rollout.name}.{rollout.namespace}"


async def _begun(rollout: Rollout, *documents: dict[str, Any]) -> None:
    """Initialized, and a new image set."""
    await applied(rollout, *documents)
    await rollout.initialized()
    await rollout.kubectl("set", "image", "deployment/podinfo", f"podinfod={NEW}")


async def _succeeds(rollout: Rollout, image: str = NEW) -> None:
    await rollout.scene.stage.api.until(
        rollout.canary,
        lambda found: found["status"]["phase"] == "Succeeded" and not found["status"]["serinus"].get("tick"),
        timeout=PATIENCE,
    )
    await rollout.over()
    assert (await rollout.image(), await rollout.weights()) == (image, [100, 0])


async def _skipped(rollout: Rollout, *, times: int) -> None:
    """Wait until it was said so often that the Canary is suspended."""
    async with asyncio.timeout(PATIENCE):
        while rollout.texts().count(SUSPENDED) < times:
            await asyncio.sleep(0.05)


def _payloads(rollout: Rollout, path: str) -> list[Any]:
    """What the load tester was sent there about this canary."""
    told = rollout.scene.stage.loadtester.payloads
    return [payload for where, payload in told if where == path and payload["namespace"] == rollout.namespace]


async def _selected(rollout: Rollout) -> str:
    """Whose pods clients reach under the application's name."""
    return await rollout.kubectl("get", "svc", "podinfo", "-o", "jsonpath={.spec.selector.app}")


async def _bounded(rollout: Rollout) -> None:
    """Kubernetes gives up on the Deployment, and on its copies, after twenty seconds."""
    await rollout.kubectl("patch", "deployment", "podinfo", "-p", '{"spec": {"progressDeadlineSeconds": 20}}')


async def _ask(rollout: Rollout, verb: str) -> None:
    await rollout.kubectl("annotate", "--overwrite", "canary/podinfo", f"serinus.dev/request={verb}")


async def _patch(rollout: Rollout, **spec: Any) -> None:
    await rollout.kubectl("patch", "canary", "podinfo", "--type=merge", "-p", json.dumps({"spec": spec}))


async def _config(rollout: Rollout, kind: str, name: str) -> Any:
    return json.loads(await rollout.kubectl("get", kind, name, "-o", "jsonpath={.data}"))


async def _until_left(rollout: Rollout, *names: str) -> None:
    """Wait until nothing else of its kinds is in the namespace.

    For long: the garbage collector asks for new kinds, such as Canaries, every half minute.
    """
    async with asyncio.timeout(100):
        while set((await rollout.kubectl("get", "deploy,svc,apisixroute", "-o", "name")).split()) != set(names):
            await asyncio.sleep(0.2)
