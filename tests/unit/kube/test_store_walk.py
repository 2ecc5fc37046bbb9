"""A random walk: whatever the order of events, lists, answers and restarts, the cache ends up with the truth."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.kube import json
from shared.kube.json import Json
from shared.kube.store import Store

NAMES = st.sampled_from(["a", "b"])


class Walk(RuleBasedStateMachine):
    """The truth advances on its own; the cache hears of it late, and of own writes at any time after them.

    What we delete we found in the cache; we say so when our deletion's answer is there, before or after the watch's word.
    """

    @initialize()
    def begin(self) -> None:
        self.changes: list[tuple[Json | None, Json | None]] = []
        self.shown: dict[str, Json] = {}
        self.store = Store(self._told)
        self.truth: dict[str, Json] = {}
        self.version = 1
        self.uids = itertools.count(1)  # never given twice, though a restored server gives versions twice
        self.forgotten: set[str] = set()
        self.history: list[tuple[str, Json]] = []
        self.heard = 0
        self.answers: list[Json] = []
        self.deletions: list[tuple[str, str]] = []
        self._take_picture()
        self._list()

    def _told(self, old: Json | None, new: Json | None) -> None:
        """What was told must be a story without gaps and repetitions."""
        name = json.name(new or old)
        known = self.shown.get(name)
        assert (known is None) == (old is None)
        if new is None:
            del self.shown[name]
        else:
            assert json.uid(new) not in self.forgotten
            assert known is None or (json.uid(known), json.version(known)) != (json.uid(new), json.version(new))
            self.shown[name] = new

    def _write(self, name: str, uid: str) -> Json:
        self.version += 1
        found: Json = {
            "metadata": {"namespace": "test", "name": name, "uid": uid, "resourceVersion": str(self.version)}
        }
        self.truth[name] = found
        self.history.append(("PUT", found))
        return found

    def _take_picture(self) -> None:
        self.picture: tuple[dict[str, Json], str, int] | None = (dict(self.truth), str(self.version), len(self.history))

    def _list(self) -> None:
        assert self.picture is not None
        listed, version, self.heard = self.picture
        self.picture = None
        for found in listed.values():
            self.store.listed(found, version)
        self.store.sweep({("test", name): json.uid(found) for name, found in listed.items()}, version)

    @rule(name=NAMES, ours=st.booleans())
    def write(self, name: str, ours: bool) -> None:
        known = self.truth.get(name)
        found = self._write(name, json.uid(known) if known else f"uid-{next(self.uids)}")
        if ours:
            self.answers.append(found)

    @precondition(lambda self: self.truth)
    @rule(data=st.data(), ours=st.booleans())
    def delete(self, data: st.DataObject, ours: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.truth)))
        found = self.truth.pop(name)
        self.version += 1
        last: Json = {"metadata": found["metadata"] | {"resourceVersion": str(self.version)}}
        self.history.append(("DELETE", last))
        if ours and json.uid(self.store.get("test", name)) == json.uid(found):
            self.deletions.append((name, json.uid(found)))

    @precondition(lambda self: self.deletions)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        name, uid = self.deletions.pop(data.draw(st.integers(0, len(self.deletions) - 1)))
        self.store.forget("test", name, uid)
        self.forgotten.add(uid)

    @precondition(lambda self: self.picture is None and self.heard < len(self.history))  # no watch while it lists
    @rule(count=st.integers(1, 3))
    def hear(self, count: int) -> None:
        for kind, found in self.history[self.heard : self.heard + count]:
            (self.store.put if kind == "PUT" else self.store.remove)(found)
            self.store.version = json.version(found)
            self.heard += 1

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.store.put(self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1))))

    @precondition(lambda self: self.picture is None and self.heard < len(self.history))
    @rule()
    def begin_list(self) -> None:
        self._take_picture()

    @precondition(lambda self: self.picture is not None)
    @rule()
    def end_list(self) -> None:
        self._list()

    @precondition(lambda self: len(self.history) > 8)  # or hardly a walk would get anywhere
    @rule()
    def restore(self) -> None:
        """The server starts over: other objects, lower versions."""
        self.truth = {
            name: {"metadata": found["metadata"] | {"resourceVersion": "2"}} for name, found in self.truth.items()
        }
        self.version = 3
        self.history.clear()
        self.answers.clear()
        self.deletions.clear()
        self.forgotten.clear()
        self.picture = None
        self.store.reset()
        for found in self.truth.values():
            self.store.listed(found, "3", everything=True)
        self.store.sweep({("test", name): json.uid(found) for name, found in self.truth.items()}, "3", everything=True)
        self.heard = 0

    @invariant()
    def up_to_date_is_the_truth(self) -> None:
        if hasattr(self, "history") and self.heard == len(self.history) and self.picture is None:
            assert {json.name(found): found for found in self.store.all()} == self.truth
        if hasattr(self, "shown"):
            assert {json.name(found): found for found in self.store.all()} == self.shown


TestWalk = Walk.TestCase
TestWalk.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
