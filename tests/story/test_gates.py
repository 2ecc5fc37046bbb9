"""Gates and rollback hooks: who is asked, what people hear, and how they answer by annotation."""

from typing import Any

from shared.kube.json import Json
from shared.wire import messages as wire
from tests.story.theatre import Theatre, check, guide, initialized, progressing

GATE, HOOK, ROLLBACK = wire.CheckKind.GATE, wire.CheckKind.HOOK, wire.CheckKind.ROLLBACK
PASS, FAIL = wire.Outcome.PASS, wire.Outcome.FAIL
SHUT = [check("approve", GATE, FAIL)]


def hooked(kind: str, **changes: Any) -> Json:
    canary = guide("canary")
    canary["spec"]["analysis"]["webhooks"] = [
        {"name": "approve", "type": kind, "url": "http://flagger-loadtester.test/gate/check", **changes}
    ]
    return canary


async def _at_the_top(canary: Json) -> Theatre:
    return await progressing(canary, steps=4)


async def test_confirm_rollout_waits_and_is_approved_by_annotation() -> None:
    theatre = await initialized(hooked("confirm-rollout"))
    theatre.heard()
    theatre.release()
    await theatre.settle()
    assert (theatre.asks(), theatre.replicas) == ("confirm-rollout", 0)
    for _ in range(3):
        await theatre.tick(checks=SHUT)
    assert theatre.heard() == ["Halt podinfo.test advancement waiting for approval approve"]
    assert theatre.alerts()[-1] == ("warn", "Canary is waiting for approval.")
    assert (theatre.phase, theatre.replicas) == ("Waiting", 0)
    condition = theatre.canary["status"]["conditions"][0]
    assert (condition["status"], condition["message"]) == ("Unknown", "Waiting for approval.")
    theatre.ask("approve")
    await theatre.settle()
    assert theatre.heard()[0] == "New revision detected! Scaling up podinfo.test"
    assert theatre.weights() == (90, 10)


async def test_confirm_rollout_that_passes_says_so() -> None:
    theatre = await initialized(hooked("confirm-rollout"))
    theatre.heard()
    theatre.release()
    await theatre.settle()
    await theatre.tick(checks=[check("approve", GATE, PASS, "Confirm-rollout check approve passed")])
    assert theatre.heard()[:2] == [
        "Confirm-rollout check approve passed",
        "New revision detected! Scaling up podinfo.test",
    ]


async def test_confirm_promotion_waits_with_its_weight_and_is_approved() -> None:
    theatre = await _at_the_top(hooked("confirm-promotion"))
    for _ in range(3):
        await theatre.tick(checks=SHUT)
    assert theatre.heard() == ["Halt podinfo.test advancement waiting for promotion approval approve"]
    assert theatre.alerts()[-1] == ("warn", "Canary promotion is waiting for approval.")
    assert (theatre.phase, theatre.weights()) == ("WaitingPromotion", (50, 50))
    assert theatre.canary["status"]["canaryWeight"] == 50
    theatre.ask("approve:monday")
    await theatre.settle()
    assert theatre.heard()[0] == "Copying podinfo.test template spec to podinfo-primary.test"
    await theatre.tick()
    assert theatre.phase == "Succeeded"


async def test_the_analysis_goes_on_while_a_promotion_waits() -> None:
    theatre = await _at_the_top(hooked("confirm-promotion"))
    await theatre.tick(checks=SHUT)
    for _ in range(10):
        await theatre.tick(FAIL)
    assert (theatre.phase, theatre.weights()) == ("Failed", (100, 0))


async def test_confirm_traffic_increase_asks_before_the_first_step_and_alerts_once() -> None:
    theatre = await progressing(hooked("confirm-traffic-increase"), steps=0)
    assert (theatre.asks(), theatre.weights()) == ("pre-rollout", (100, 0))
    for _ in range(3):
        await theatre.tick(checks=SHUT)
    waiting = "Halt podinfo.test advancement waiting for traffic increase approval approve"
    assert theatre.heard() == [waiting]
    alert = ("warn", "Canary traffic increase is waiting for approval.")
    assert theatre.alerts().count(alert) == 1
    theatre.ask("approve")
    await theatre.fact()
    assert (theatre.phase, theatre.weights()) == ("Progressing", (90, 10))
    await theatre.tick(checks=[check("approve", GATE, PASS, "Confirm-traffic-increase check approve passed")])
    assert theatre.heard()[-2:] == [
        "Confirm-traffic-increase check approve passed",
        "Advance podinfo.test canary weight 20",
    ]


async def test_a_muted_gate_alerts_nobody() -> None:
    theatre = await initialized(hooked("confirm-rollout", muteAlert=True))
    before = len(theatre.alerts())
    theatre.release()
    await theatre.settle()
    await theatre.tick(checks=SHUT)
    assert theatre.messages()[-1] == "Halt podinfo.test advancement waiting for approval approve"
    assert len(theatre.alerts()) == before


async def test_a_rollback_hook_rolls_back_by_hand() -> None:
    theatre = await progressing(hooked("rollback"))
    await theatre.tick(checks=[check("approve", ROLLBACK, FAIL, "Rollback hook approve not signaling a rollback")])
    assert theatre.weights() == (70, 30)
    await theatre.tick(checks=[check("approve", ROLLBACK, PASS, "Rollback check approve passed")])
    assert theatre.heard() == [
        "Rollback hook approve not signaling a rollback",
        "Advance podinfo.test canary weight 30",
        "Rollback check approve passed",
        "Rolling back podinfo.test manual webhook invoked",
        "Canary failed! Scaling down podinfo.test",
    ]
    assert theatre.alerts()[-1] == ("warn", "Rolling back manual webhook invoked")
    assert theatre.weights() == (100, 0)


async def test_a_rollback_hook_is_asked_while_a_rollout_waits_for_approval() -> None:
    """W-G16."""
    canary = hooked("confirm-rollout")
    canary["spec"]["analysis"]["webhooks"].append(
        {"name": "undo", "type": "rollback", "url": "http://flagger-loadtester.test/rollback/check"}
    )
    theatre = await initialized(canary)
    theatre.release()
    await theatre.settle()
    await theatre.tick(checks=[check("undo", ROLLBACK, FAIL, "Rollback hook undo not signaling a rollback"), *SHUT])
    assert theatre.phase == "Waiting"
    theatre.heard()
    await theatre.tick(wire.Outcome.HOLD, [check("undo", ROLLBACK, PASS, "Rollback check undo passed")])
    assert theatre.heard() == [
        "Rollback check undo passed",
        "Rolling back podinfo.test manual webhook invoked",
        "Canary failed! Scaling down podinfo.test",
    ]
    await theatre.settle()
    assert (theatre.phase, theatre.replicas, theatre.weights()) == ("Failed", 0, (100, 0)), "and nothing starts again"


async def test_post_rollout_hooks_hear_how_it_ended() -> None:
    for outcome, phase in ((PASS, "Succeeded"), (FAIL, "Failed")):
        theatre = await progressing(hooked("post-rollout"), steps=4)
        for _ in range(10):
            if theatre.asks() == "analysis":
                await theatre.tick(outcome)
        await theatre.settle()
        await theatre.tick()
        assert (theatre.asks(), theatre.phase) == ("post-rollout", phase)
        tick = await theatre.tick(checks=[check("approve", HOOK, PASS, "Post-rollout check approve passed")])
        assert tick.question.payload.phase == phase
        assert theatre.messages()[-1] == "Post-rollout check approve passed"
        assert (theatre.asks(), theatre.replicas) == ("", 0)


async def test_alerts_of_a_promotion() -> None:
    theatre = await _at_the_top(guide("canary"))
    await theatre.tick()
    await theatre.settle()
    await theatre.tick()
    assert theatre.alerts() == [
        ("info", "New Deployment detected, initialization completed."),
        ("info", "New revision detected, progressing canary analysis."),
        ("info", "Canary analysis completed successfully, promotion finished."),
    ]
    fields = [dict(each.alert.fields) for each in theatre.bus.notices() if each.alert]
    assert fields[0] == {
        "Target": "Deployment/podinfo.test", "Failed checks threshold": "10", "Progress deadline": "60s",
        "Traffic routing": "Weight step: 10 max: 50",
    }  # fmt: skip
    assert fields[2] == {}


async def test_alerts_of_a_rollback() -> None:
    theatre = await progressing()
    for _ in range(10):
        await theatre.tick(FAIL)
    assert theatre.alerts()[-1] == ("error", "Failed checks threshold reached 10")
