"""Notices of one canary, `podinfo` in `test`, whose target is a Deployment of the same name."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shared.wire.messages import (
    Alert,
    AlertRoute,
    CanaryRef,
    EventType,
    Hook,
    Notice,
    RolloutEvent,
    SecretRef,
    Severity,
)

AT = datetime(2026, 11, 24, 12, 0, 0, 500_000, tzinfo=UTC)
NOW = AT + timedelta(seconds=1)
CANARY = CanaryRef(namespace="test", name="podinfo", uid="u-1")
FIELDS = (("Target", "Deployment/podinfo.test"), ("Progress deadline", "600s"))


def event(message: str = "Advance podinfo.test canary weight 10", seq: int = 7, **parts: Any) -> RolloutEvent:
    given = {"canary": CANARY, "at": AT, "type": EventType.ADVANCED, "event_type": "Normal", "phase": "Progressing"}
    return RolloutEvent(**{**given, "message": message, "seq": seq, **parts})


def notice(told: RolloutEvent | None = None, **parts: Any) -> Notice:
    about = told or event()
    ident = f"notice/{about.canary.uid}:{about.seq}"
    return Notice(**{"id": ident, "event": about, "checksum": "85d557f47b", **parts})


def alert(severity: Severity = Severity.INFO, *routes: AlertRoute, **parts: Any) -> Alert:
    return Alert(**{"severity": severity, "message": "New revision detected.", "routes": routes, **parts})


def route(name: str = "slack", severity: str = "", namespace: str = "test") -> AlertRoute:
    return AlertRoute(provider=SecretRef(namespace=namespace, name=name), severity=severity)


def hook(name: str = "listener", url: str = "http://listener.test/t0ken", **parts: Any) -> Hook:
    return Hook(**{"name": name, "type": "event", "url": url, **parts})
