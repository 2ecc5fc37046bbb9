"""Who plays what on the shared scene: images that behave badly, and names of its network. One image has one behaviour."""

from sandbox.application import Behaviour

MISSING_SOME, MISSING_ALL = "stefanprodan/podinfo:6.1.0", "stefanprodan/podinfo:6.1.1"
SLOW = "stefanprodan/podinfo:6.2.0"
EIGHTEEN_PERCENT = "stefanprodan/podinfo:6.3.0"
FAILING_ALL = "stefanprodan/podinfo:6.4.0"
BROKEN, FRAGILE = "stefanprodan/podinfo:6.8.0", "stefanprodan/podinfo:6.8.1"
"""The fragile one breaks in the course of its play."""
HELD, HELD_NEXT = "stefanprodan/podinfo:6.7.0", "stefanprodan/podinfo:6.7.1"
"""Not ready before their play says so."""

BEHAVIOURS = {
    MISSING_SOME: Behaviour(not_found_ratio=0.1),
    MISSING_ALL: Behaviour(not_found_ratio=1.0),
    SLOW: Behaviour(latency_seconds=0.8),
    EIGHTEEN_PERCENT: Behaviour(fail_ratio=0.18),
    FAILING_ALL: Behaviour(fail_ratio=1.0),
    **dict.fromkeys((BROKEN, HELD, HELD_NEXT), Behaviour(ready=False)),
}

CACHING = "apisix-gateway.caching"
LATE = "apisix-gateway.late"
LATEST = 5.0
"""Seconds after which everything has reached the late gateway."""
WORKFLOW = "prod-07.westeurope.logic.azure.com"
