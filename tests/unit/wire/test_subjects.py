"""Names of Kubernetes as tokens of NATS: no two canaries ever share a subject, and no name breaks out of its token."""

import re
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.wire import subjects

NAMESPACES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,9}[a-z0-9])?){0,2}", fullmatch=True)
PER_CANARY = [subjects.inbox, subjects.tick, subjects.schedule, subjects.notice]


def matches(pattern: str, subject: str) -> bool:
    """NATS's rule: `*` is one token, `>` is one or more at the end."""
    expression = re.escape(pattern).replace(r"\*", "[^.]+").replace(">", ".+")
    return re.fullmatch(expression, subject) is not None


@pytest.mark.parametrize("subject", PER_CANARY, ids=lambda function: function.__name__)
@given(namespace=NAMESPACES, name=NAMES, other=NAMES)
def test_each_canary_has_its_own(subject: Callable[[str, str], str], namespace: str, name: str, other: str) -> None:
    assume(name != other)
    assert subject(namespace, name) != subject(namespace, other)


@given(namespace=NAMESPACES, name=NAMES)
def test_every_subject_lies_in_its_streams(namespace: str, name: str) -> None:
    assert matches(subjects.INBOX_PUBLISHED, subjects.inbox(namespace, name))
    assert matches(subjects.TICKS, subjects.tick(namespace, name))
    assert matches(subjects.SCHEDULES, subjects.schedule(namespace, name))
    assert matches(subjects.NOTICES, subjects.notice(namespace, name))
    assert matches(subjects.ROLLOUTS, subjects.rollout(namespace, name, "advanced"))
    assert matches(subjects.DEAD, subjects.dead("router"))


def test_a_dot_in_a_name_is_no_new_token() -> None:
    assert subjects.rollout("test", "podinfo.v2", "advanced") == "serinus.rollout.v1.test.podinfo_v2.advanced"
    assert subjects.inbox("test", "podinfo.v2") == "serinus.inbox.test.podinfo_v2"


def test_the_durables_of_the_inbox() -> None:
    assert [subjects.router_durable(number) for number in range(2)] == ["router-0", "router-1"]
    assert matches(subjects.inbox_partition(3), "serinus.inbox.3.test.podinfo")
    assert not matches(subjects.inbox_partition(3), "serinus.inbox.30.test.podinfo")
