"""Each event counts once, whatever is delivered twice, late, by two replicas at once, or without an answer."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import RetryLater
from shared.kube.errors import Forbidden
from shared.kube.events import KEEP, Events
from shared.wire.messages import RolloutEvent
from tests.unit.notifier.api import FakeEvents
from tests.unit.notifier.told import event

TEXTS = ("Halt advancement", "Advance weight 10", "Canary failed!")


async def test_a_first_telling_is_one_request_and_so_is_a_repetition() -> None:
    api = FakeEvents()
    events = Events(api)
    for seq in (1, 2, 3):
        await events.tell(event(seq=seq))
    assert api.requests == ["create", "patch", "patch"]
    assert list(api.counts.values()) == [3]


async def test_a_redelivery_changes_nothing_and_costs_nothing() -> None:
    api = FakeEvents()
    events = Events(api)
    await events.tell(event(seq=1))
    await events.tell(event(seq=1))
    assert (api.requests, list(api.counts.values())) == (["create"], [1])


async def test_another_life_finds_what_is_counted() -> None:
    api = FakeEvents()
    await Events(api).tell(event(seq=1))
    another = Events(api)
    await another.tell(event(seq=1))
    assert api.requests == ["create", "create", "look"]
    await another.tell(event(seq=2))
    assert (api.requests[3:], list(api.counts.values())) == (["patch"], [2])


async def test_an_expired_event_is_created_again() -> None:
    api = FakeEvents()
    events = Events(api)
    await events.tell(event(seq=1))
    api.objects.clear()
    await events.tell(event(seq=2))
    assert (api.requests, list(api.counts.values())) == (["create", "patch", "create"], [1])


async def test_one_that_expires_between_the_look_and_the_patch() -> None:
    api = FakeEvents()
    mine, theirs = Events(api), Events(api)
    await mine.tell(event(seq=1))
    await theirs.tell(event(seq=2))
    api.objects.clear()
    await mine.tell(event(seq=3))
    await theirs.tell(event(seq=4))
    assert list(api.counts.values()) == [2]


@pytest.mark.parametrize("state", ["gone", "terminating"])
async def test_in_a_namespace_that_goes_nobody_listens(state: str) -> None:
    api = FakeEvents()
    getattr(api, state).add("test")
    await Events(api).tell(event())
    assert (api.requests, api.objects) == (["create"], {})


async def test_missing_rights_may_still_be_granted() -> None:
    api = FakeEvents()
    api.forbidden = True
    with pytest.raises(Forbidden):
        await Events(api).tell(event())


async def test_endless_races_send_the_notice_back() -> None:
    class Rivalry(FakeEvents):
        def __init__(self) -> None:
            super().__init__()
            self.seq = 1000

        async def _asked(self, verb: str, *rest: object) -> None:
            self.requests.append(verb)
            if verb == "patch":
                self.seq += 1
                for key, found in list(self.objects.items()):
                    self._stored(key, found)

    api = Rivalry()
    events = Events(api)
    await events.tell(event(seq=1))
    with pytest.raises(RetryLater, match="lost races"):
        await events.tell(event(seq=2))
    assert list(api.counts.values()) == [1]


async def test_memory_is_bounded() -> None:
    api = FakeEvents()
    events = Events(api)
    for number in range(KEEP + 1):
        await events.tell(event(f"text {number}", seq=number))
    api.requests.clear()
    await events.tell(event(f"text {KEEP}", seq=5000))
    await events.tell(event("text 0", seq=5001))
    assert api.requests == ["patch", "create", "look", "patch"]


@settings(max_examples=150, deadline=None)
@given(
    deliveries=st.lists(st.integers(1, 12), min_size=1, max_size=30),
    replicas=st.lists(st.integers(0, 2), min_size=30, max_size=30),
    turns=st.lists(st.integers(0, 3), max_size=60),
    lost=st.lists(st.booleans(), max_size=10),
    together=st.integers(1, 8),
)
def test_every_event_counts_exactly_once(
    deliveries: list[int], replicas: list[int], turns: list[int], lost: list[bool], together: int
) -> None:
    told = {seq: event(TEXTS[seq % len(TEXTS)], seq=seq) for seq in deliveries}
    api = FakeEvents(turns, lost)
    asyncio.run(_deliver(api, [told[seq] for seq in deliveries], replicas, together))
    expected: dict[str, int] = {}
    for each in told.values():
        expected[each.message] = expected.get(each.message, 0) + 1
    assert api.counts == expected


async def _deliver(api: FakeEvents, told: list[RolloutEvent], replicas: list[int], together: int) -> None:
    """In groups that run side by side; what raises is delivered again, as the bus does."""
    lives = [Events(api) for _ in range(3)]
    pending = list(zip(told, replicas, strict=False))
    while pending:
        now, pending = pending[:together], pending[together:]
        ended = await asyncio.gather(*(lives[life].tell(each) for each, life in now), return_exceptions=True)
        for delivery, failure in zip(now, ended, strict=True):
            if isinstance(failure, RetryLater):
                pending.append(delivery)
            elif failure is not None:
                raise failure
