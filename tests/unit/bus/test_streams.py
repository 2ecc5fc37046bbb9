"""What may be changed about a stream or consumer that exists: only what loses nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus import streams
from shared.bus.streams import Config
from shared.wire import subjects
from tests.repo.manifests import ROOT

DAY = 24 * 3600 * 10**9
NOTICE: Config = next(each for each in streams.streams(1) if each["name"] == subjects.NOTICE_STREAM)


@pytest.mark.parametrize(
    "config", [*streams.streams(1), *streams.public_streams(3)], ids=lambda each: str(each["name"])
)
def test_what_is_as_wanted_isnt_touched_even_with_fields_that_we_dont_know(config: Config) -> None:
    merged = streams.merge_stream({**config, "of_the_future": {"x": 1}}, config)
    assert (merged.changed, merged.different) == ((), ())
    assert merged.config["of_the_future"] == {"x": 1}


@pytest.mark.parametrize(
    ("field", "there", "becomes"),
    [
        ("max_age", 60 * DAY, 60 * DAY),
        ("max_age", 0, 0),  # for ever
        ("max_age", DAY, 7 * DAY),
        ("max_bytes", -1, -1),
        ("max_bytes", 10, NOTICE["max_bytes"]),
        ("num_replicas", 3, 3),
        ("num_replicas", 1, 1),
        ("subjects", ["mine.>"], ["mine.>", subjects.NOTICES]),
        ("subjects", None, [subjects.NOTICES]),
        ("description", "another", NOTICE["description"]),
        ("discard", "new", "old"),
    ],
)
def test_limits_are_raised_and_never_lowered(field: str, there: object, becomes: object) -> None:
    merged = streams.merge_stream({**NOTICE, field: there}, NOTICE)  # type: ignore[dict-item] # any JSON
    assert merged.config[field] == becomes
    assert bool(merged.changed) == (becomes != there)


@pytest.mark.parametrize(("field", "there"), [("storage", "memory"), ("retention", "interest")])
def test_what_would_lose_messages_is_left_and_said(field: str, there: str) -> None:
    merged = streams.merge_stream({**NOTICE, field: there}, NOTICE)
    assert (merged.config[field], merged.changed) == (there, ())
    assert merged.different == (f"{field} is {there}, not {NOTICE[field]}",)


def test_what_an_operator_added_stays() -> None:
    own: Config = {**NOTICE, "placement": {"tags": ["ssd"]}, "max_msgs": 5}
    assert streams.merge_stream(own, NOTICE).config == own


def test_raised_replicas_are_kept_by_a_bootstrap_that_wants_one() -> None:
    wanted = next(each for each in streams.streams(3) if each["name"] == subjects.NOTICE_STREAM)
    assert streams.merge_stream(NOTICE, wanted).changed == ("num_replicas: 1 → 3",)
    assert streams.merge_stream(wanted, NOTICE).changed == ()


@given(st.integers(min_value=-1), st.integers(min_value=-1))
def test_merging_settles_at_once(max_bytes: int, max_age: int) -> None:
    once = streams.merge_stream({**NOTICE, "max_bytes": max_bytes, "max_age": abs(max_age)}, NOTICE)
    again = streams.merge_stream(once.config, NOTICE)
    assert (again.config, again.changed) == (once.config, ())


def test_the_order_of_a_canarys_messages_is_insisted_on() -> None:
    durable = streams.durable(subjects.INBOX_STREAM, "router-8-0")
    assert durable is not None
    config = durable.config()
    merged = streams.merge_durable({**config, "max_ack_pending": 1000}, config)
    assert merged.config["max_ack_pending"] == 1


def test_a_consumers_throughput_may_be_raised_by_an_operator() -> None:
    durable = streams.durable(subjects.TICK_STREAM, subjects.ANALYZER_DURABLE)
    assert durable is not None
    own: Config = {**durable.config(), "max_ack_pending": 9999, "ack_wait": 10**12}
    assert streams.merge_durable(own, durable.config()).config == own


def test_every_partition_has_a_consumer_of_its_own_and_one_message_at_a_time() -> None:
    inbox = [each for each in streams.durables() if each.stream == subjects.INBOX_STREAM]
    assert {each.filter_subject for each in inbox} == {f"serinus.inbox.8.{n}.>" for n in range(8)}
    assert {each.max_ack_pending for each in inbox} == {1}


def test_waiting_ticks_never_expire() -> None:
    tick = next(each for each in streams.streams(1) if each["name"] == subjects.TICK_STREAM)
    assert (tick["max_age"], tick["allow_msg_schedules"], tick["max_msgs_per_subject"]) == (0, True, 1)


ALL = (*streams.streams(1), *streams.public_streams(1))


@pytest.mark.parametrize("config", ALL, ids=lambda each: str(each["name"]))
def test_every_stream_has_an_end_and_a_word_for_what_happens_there(config: Config) -> None:
    assert isinstance(config["max_bytes"], int)
    assert config["max_bytes"] > 0
    assert config["discard"] == ("new" if config["name"] == subjects.INBOX_STREAM else "old")


def test_what_the_streams_reserve_is_what_the_page_says_and_fits_the_disk_of_k8s() -> None:
    reserved = sum(int(str(each["max_bytes"])) for each in ALL)
    told = re.search(r"The streams reserve ([\d.]+) GiB", (ROOT / "docs/install.md").read_text())
    assert told
    assert reserved <= float(told[1]) * 2**30 < reserved * 1.1
    store = re.search(r"max_file_store: (\d+)MB", (ROOT / "k8s/nats/nats.conf").read_text())
    assert store
    assert reserved < int(store[1]) * 10**6


def test_a_limit_doesnt_come_upon_a_stream_that_had_none() -> None:
    """An installation from before the ticks had one: full already, perhaps."""
    tick = next(each for each in ALL if each["name"] == subjects.TICK_STREAM)
    merged = streams.merge_stream({**tick, "max_bytes": -1}, tick)
    assert (merged.config["max_bytes"], merged.changed, merged.different) == (-1, (), ())
