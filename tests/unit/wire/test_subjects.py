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
    assert [subjects.router_durable(8, number) for number in range(2)] == ["router-8-0", "router-8-1"]
    assert matches(subjects.inbox_partition(8, 3), "serinus.inbox.8.3.test.podinfo")
    assert not matches(subjects.inbox_partition(8, 3), "serinus.inbox.8.30.test.podinfo")
    assert not matches(subjects.inbox_partition(16, 3), "serinus.inbox.8.3.test.podinfo")


@given(count=st.integers(1, 300), number=st.integers(0, 300))
def test_the_count_is_read_back_from_names_and_transforms(count: int, number: int) -> None:
    assert subjects.partition_of(subjects.router_durable(count, number)) == (count, number)
    assert subjects.partitions(subjects.partitioning(count)) == count


@pytest.mark.parametrize("foreign", ["router-3", "router-0-1", "router-8-x", "analyzer", ""])
def test_a_durable_of_somebody_else_is_no_partition(foreign: str) -> None:
    assert subjects.partition_of(foreign) is None


@pytest.mark.parametrize(
    "foreign", ["", "x.{{partition(8,1,2)}}", "serinus.inbox.8.{{partition(16,1,2)}}.{{wildcard(1)}}"]
)
def test_a_transform_of_somebody_else_has_no_count(foreign: str) -> None:
    assert subjects.partitions(foreign) == 0
