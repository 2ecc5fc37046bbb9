"""Messages as the services would send them, for the tests of the bus."""

from datetime import UTC, datetime

from shared.wire.messages import (
    CanaryRef,
    CloudEvent,
    EventType,
    Fact,
    HookPayload,
    Nudge,
    ObjectRef,
    Purpose,
    Question,
    RolloutEvent,
    Tick,
    TickId,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def ref(name: str = "web", namespace: str = "shop") -> CanaryRef:
    return CanaryRef(namespace=namespace, name=name, uid=f"uid-{namespace}-{name}")


def fact(number: int = 1, name: str = "web") -> Fact:
    changed = ObjectRef(kind="Deployment", namespace="shop", name=name, resource_version=str(number))
    return Fact(id=f"fact/{name}/{number}", canary=ref(name), object=changed)


def nudge(number: int = 1, name: str = "web") -> Nudge:
    return Nudge(id=f"nudge/{name}/{number}", canary=ref(name), reason="pending")


def tick(seq: int, due: datetime = NOON, name: str = "web") -> Tick:
    payload = HookPayload(name=name, namespace="shop", phase="Progressing", checksum="1")
    return Tick(
        id=f"tick/{name}/{seq}",
        canary=ref(name),
        tick=TickId(revision="r1", seq=seq, due=due),
        question=Question(purpose=Purpose.TIMER, payload=payload, target=name),
    )


def event(seq: int, name: str = "web", kind: EventType = EventType.ADVANCED) -> CloudEvent:
    data = RolloutEvent(
        canary=ref(name),
        seq=seq,
        at=NOON,
        type=kind,
        event_type="Normal",
        message=f"Advance {name}.shop canary weight {10 * seq}",
        phase="Progressing",
        weight=10 * seq,
    )
    return CloudEvent(
        id=f"{data.canary.uid}:{seq}",
        source="/serinus/namespaces/shop/canaries/web",
        type=f"dev.serinus.rollout.v1.{kind}",
        subject=f"shop/{name}",
        time=NOON,
        data=data,
    )
