"""What a webhook's reply means, for each of the types."""

import pytest

from services.analyzer import policy
from services.analyzer.policy import Reply
from shared.wire.messages import Hook, Outcome
from tests.unit.analyzer.asked import hook, question


@pytest.mark.parametrize(
    ("kind", "check_kind", "passed", "failed"),
    [
        ("rollout", "hook", "", "Halt podinfo-canary.test advancement external check h failed no"),
        ("", "hook", "", "Halt podinfo-canary.test advancement external check h failed no"),
        (
            "pre-rollout",
            "hook",
            "Pre-rollout check h passed",
            "Halt podinfo-canary.test advancement pre-rollout check h failed no",
        ),
        ("post-rollout", "hook", "Post-rollout check h passed", "Post-rollout hook h failed no"),
        (
            "confirm-rollout",
            "gate",
            "Confirm-rollout check h passed",
            "Halt podinfo-canary.test advancement waiting for approval h",
        ),
        (
            "confirm-traffic-increase",
            "gate",
            "Confirm-traffic-increase check h passed",
            "Halt podinfo-canary.test advancement waiting for traffic increase approval h",
        ),
        (
            "confirm-promotion",
            "gate",
            "Confirm-promotion check h passed",
            "Halt podinfo-canary.test advancement waiting for promotion approval h",
        ),
        ("rollback", "rollback", "Rollback check h passed", "Rollback hook h not signaling a rollback"),
    ],
)
def test_hooks(kind: str, check_kind: str, passed: str, failed: str) -> None:
    asked = hook(kind, "h")
    check = policy.judge_hook(question(), asked, Reply(accepted=True))
    assert (check.kind, check.outcome, check.message, check.reason) == (check_kind, Outcome.PASS, passed, "")
    check = policy.judge_hook(question(), asked, Reply(accepted=False, error="no"))
    assert (check.kind, check.outcome, check.message, check.reason) == (check_kind, Outcome.FAIL, failed, "no")


def test_a_repeated_call_says_so() -> None:
    check = policy.judge_hook(question(), hook(), Reply(accepted=True, repeated=True))
    assert check.reason == "asked again: the first call's outcome was lost with its process"
    check = policy.judge_hook(question(), hook(), Reply(accepted=False, error="no", repeated=True))
    assert check.reason.startswith("no; asked again")


def test_which_hooks_have_an_order() -> None:
    ordered = {kind for kind in ("confirm-rollout", "post-rollout", "pre-rollout", "rollout", "") if
               policy.in_order(hook(kind))}  # fmt: skip
    assert ordered == {"confirm-rollout", "post-rollout"}


def test_hooks_keep_their_type() -> None:
    assert policy.judge_hook(question(), Hook(name="h", type="", url="u"), Reply(accepted=True)).type == ""
