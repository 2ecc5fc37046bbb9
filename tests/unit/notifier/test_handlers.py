"""What is told, what is told again and to whom; on written fakes."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from services.notifier.handlers import PATIENCE, Notifier
from services.notifier.messages import Messenger, Target
from shared.bus.markers import State
from shared.errors import Never, RetryLater
from shared.http.posting import Attempt
from shared.http.webhooks import Called
from shared.kube.events import Events
from shared.kube.json import Json
from shared.runtime.metrics import CounterName
from shared.wire.messages import AlertRoute, Hook, HookPayload, Notice, SecretRef, Severity
from tests.unit.notifier.api import FakeEvents
from tests.unit.notifier.told import AT, NOW, alert, event, hook, notice, route

OK = Attempt(status=200)
BUSY = Attempt(status=503)
REFUSED = Attempt(status=404, body="no_service")
CUT = Attempt(cause="EOF", unsure=True)
UNREACHED = Attempt(cause="connection refused")


class Death(BaseException):
    """The process dies here."""


@dataclass
class World:
    """Everything around a notifier; it plays all ports, and `told` is what arrived where."""

    answers: dict[str, list[Attempt]] = field(default_factory=dict)
    broken: dict[str, Exception] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    counted: list[tuple[str, str, str]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    mute: int = 0
    dies: bool = False
    time: datetime = NOW
    everybody: Target | None = None
    listener: Hook | None = None
    api: FakeEvents = field(default_factory=FakeEvents)

    async def read(self, ref: SecretRef) -> Target:
        if ref.name in self.broken:
            raise self.broken[ref.name]
        return Target(kind=Messenger.SLACK, url=f"https://{ref.name}.test/s3cret")

    async def post(self, url: str, body: Json, headers: Mapping[str, str], *, proxy: str) -> Attempt:
        text = body["attachments"][0]["text"]
        assert text.endswith("(repeated)") == (headers.get("Serinus-Repeated") == "true")
        return await self._arrives(
            url.removeprefix("https://").removesuffix("/s3cret"), text, headers["Serinus-Event-Id"]
        )

    async def call(self, hook: Hook, payload: HookPayload, *, event_id: str, repeated: bool) -> Called:
        assert (hook.metadata.get("repeated") == "true") == repeated
        text = hook.metadata["eventMessage"] + (" (repeated)" if repeated else "")
        last = await self._arrives(hook.name, text, event_id)
        return Called(last=last, attempts=1, unsure=last.unsure)

    async def _arrives(self, place: str, text: str, event_id: str) -> Attempt:
        await asyncio.sleep(0)
        planned = self.answers.get(place) or [OK]
        attempt = planned.pop(0)
        if attempt is not UNREACHED:
            self.told.append((place, text))
            self.ids.add(event_id)
        if self.dies:
            raise Death
        return attempt

    async def begin(self, key: str) -> tuple[State, str]:
        note = self.notes.get(key, "")
        if note.startswith("done"):
            return State.DONE, note
        self.notes[key] = "begun"
        return (State.UNSURE if note == "begun" else State.NEW), ""

    async def done(self, key: str, note: str = "") -> None:
        if self.mute:
            self.mute -= 1
            raise RetryLater("no bus")
        self.notes[key] = f"done {note}"

    async def forget(self, key: str) -> None:
        self.notes[key] = "forgotten"

    def inc(self, name: CounterName, amount: float = 1.0, /, **labels: str) -> None:
        self.counted.append((name, labels.get("provider", ""), labels["outcome"]))

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    @property
    def notifier(self) -> Notifier:
        return Notifier(
            events=Events(self.api), providers=self, messengers=self, hooks=self, markers=self, meter=self, clock=self,
            sleep=self.sleep, global_target=self.everybody, global_hook=self.listener,
        )  # fmt: skip


@pytest.fixture
def world() -> Iterator[World]:
    found = World()
    yield found
    assert found.ids <= {"u-1:7"}


SAID = "New revision detected."
EVENT = event().message


def about(*routes: AlertRoute, severity: Severity = Severity.INFO) -> Notice:
    return notice(alert=alert(severity, *routes))


async def test_a_kubernetes_event_if_the_notice_asks_for_one(world: World) -> None:
    await world.notifier.on_event(notice(kubernetes_event=False))
    assert world.api.counts == {}
    await world.notifier.on_event(notice())
    assert world.api.counts == {EVENT: 1}
    assert world.told == []


async def test_no_alert_in_the_notice_none_is_sent(world: World) -> None:
    world.everybody = Target(kind=Messenger.SLACK, url="https://all.test/s3cret")
    await world.notifier.on_alert(notice())
    assert (world.told, world.notes) == ([], {})


async def test_each_provider_that_wants_it_is_told_once(world: World) -> None:
    asked = about(route("a"), route("b", "warn"), route("c", "info"), route("a"))
    for _ in range(2):
        await world.notifier.on_alert(asked)
    assert world.told == [("a.test", SAID), ("c.test", SAID)]
    assert world.counted == [("serinus_alerts_total", "slack", "delivered")] * 2


async def test_without_providers_everybody_is_told_if_there_is_a_way(world: World) -> None:
    await world.notifier.on_alert(about())
    assert (world.told, world.notes) == ([], {})
    world.everybody = Target(kind=Messenger.SLACK, url="https://all.test/s3cret")
    await world.notifier.on_alert(about())
    await world.notifier.on_alert(about(route("a")))
    assert world.told == [("all.test", SAID), ("a.test", SAID)]


async def test_a_dead_provider_sends_the_notice_back_and_the_others_are_told_once(world: World) -> None:
    world.answers = {"a.test": [UNREACHED, BUSY, OK]}
    asked = about(route("a"), route("b"))
    for pattern in (
        "alert provider a.test send error: .* connection refused$",
        "alert provider a.test send error: sending notification bad response 503: $",
    ):
        with pytest.raises(RetryLater, match=pattern):
            await world.notifier.on_alert(asked)
    await world.notifier.on_alert(asked)
    assert world.told == [("b.test", SAID), ("a.test", SAID), ("a.test", SAID)]
    assert [each[2] for each in world.counted] == ["undelivered", "delivered", "undelivered", "delivered"]


async def test_the_longest_asked_delay_counts(world: World) -> None:
    world.answers = {"a.test": [BUSY], "b.test": [Attempt(status=429, retry_after="30")]}
    with pytest.raises(RetryLater, match=r"a\.test send .*; alert provider b\.test send") as raised:
        await world.notifier.on_alert(about(route("a"), route("b")))
    assert raised.value.delay == 30


async def test_a_refusal_is_logged_and_given_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.answers = {"a.test": [REFUSED]}
    world.broken = {"b": Never("alert provider b.test secret does not contain an address")}
    with caplog.at_level(logging.ERROR):
        for _ in range(2):
            await world.notifier.on_alert(about(route("a"), route("b")))
    assert [record.getMessage() for record in caplog.records] == [
        "alert provider b.test secret does not contain an address",
        "alert provider a.test send error: sending notification bad response 404: no_service",
    ]
    assert world.told == [("a.test", SAID)]
    assert sorted(world.counted) == [
        ("serinus_alerts_total", "slack", "refused"),
        ("serinus_alerts_total", "unknown", "refused"),
    ]


async def test_an_api_server_that_is_away_is_waited_for(world: World) -> None:
    world.broken = {"a": RetryLater("away", delay=7)}
    with pytest.raises(RetryLater, match="away") as raised:
        await world.notifier.on_alert(about(route("a")))
    assert raised.value.delay == 7
    world.broken = {}
    await world.notifier.on_alert(about(route("a")))
    assert world.told == [("a.test", SAID)]


async def test_death_between_post_and_note_repeats_marked_with_the_same_id(world: World) -> None:
    world.dies = True
    asked = about(route("a"))
    with pytest.raises(Death):
        await world.notifier.on_alert(asked)
    world.dies = False
    for _ in range(2):
        await world.notifier.on_alert(asked)
    assert world.told == [("a.test", SAID), ("a.test", f"{SAID} (repeated)")]
    assert world.ids == {"u-1:7"}


async def test_an_answer_that_fails_to_come_makes_the_next_attempt_a_repetition(world: World) -> None:
    world.answers = {"a.test": [CUT, BUSY, UNREACHED, OK]}
    for _ in range(3):
        with pytest.raises(RetryLater):
            await world.notifier.on_alert(about(route("a")))
    await world.notifier.on_alert(about(route("a")))
    again = f"{SAID} (repeated)"  # also after the 503: the first may have arrived
    assert world.told == [("a.test", SAID), ("a.test", again), ("a.test", again)]


async def test_a_bus_that_is_away_for_a_moment_repeats_nothing(world: World) -> None:
    world.mute = PATIENCE
    for _ in range(2):
        await world.notifier.on_alert(about(route("a")))
    assert world.told == [("a.test", SAID)]
    assert world.pauses == [1.0] * PATIENCE


async def test_a_bus_that_is_away_for_long_sends_the_notice_back(world: World) -> None:
    world.mute = PATIENCE + 1
    with pytest.raises(RetryLater, match="no bus"):
        await world.notifier.on_alert(about(route("a")))
    await world.notifier.on_alert(about(route("a")))
    assert world.told == [("a.test", SAID), ("a.test", f"{SAID} (repeated)")]


async def test_webhooks_like_alerts(world: World) -> None:
    world.listener = hook("events")
    world.answers = {"a": [BUSY], "c": [Attempt(status=400, body="no")]}
    asked = notice(hooks=(hook("a"), hook("b"), hook("c")))
    with pytest.raises(RetryLater, match=r"error sending event to webhook: POST http://listener\.test giving up"):
        await world.notifier.on_webhook(asked)
    await world.notifier.on_webhook(asked)
    assert sorted(world.told) == [("a", EVENT), ("a", EVENT), ("b", EVENT), ("c", EVENT)]
    assert sorted(each[2] for each in world.counted) == ["delivered", "delivered", "refused", "undelivered"]


async def test_the_global_webhook_hears_of_canaries_without_one(world: World) -> None:
    await world.notifier.on_webhook(notice())
    world.listener = hook("events")
    await world.notifier.on_webhook(notice())
    assert world.told == [("events", EVENT)]


async def test_death_in_a_webhook_repeats_marked(world: World) -> None:
    world.dies = True
    with pytest.raises(Death):
        await world.notifier.on_webhook(notice(hooks=(hook("a"),)))
    world.dies = False
    await world.notifier.on_webhook(notice(hooks=(hook("a"),)))
    assert world.told == [("a", EVENT), ("a", f"{EVENT} (repeated)")]


async def test_what_is_older_than_the_markers_is_told_to_no_one(world: World) -> None:
    world.time = AT + timedelta(days=2)
    await world.notifier.on_alert(about(route("a")))
    await world.notifier.on_webhook(notice(hooks=(hook("a"),)))
    assert world.told == []
    await world.notifier.on_event(notice())
    assert world.api.counts == {EVENT: 1}


async def test_a_fault_of_ours_is_raised_as_it_is(world: World) -> None:
    world.broken = {"a": ZeroDivisionError("ours"), "b": RetryLater("away")}
    with pytest.raises(ZeroDivisionError):
        await world.notifier.on_alert(about(route("b"), route("a")))
