"""Lists, events and answers about the same objects, in every order in which they may arrive."""

from typing import Any

import pytest

from shared.kube import json
from shared.kube.json import Json
from shared.kube.store import Store


class Told:
    def __init__(self) -> None:
        self.changes: list[str] = []

    def __call__(self, old: Json | None, new: Json | None) -> None:
        sign = "+" if old is None else "-" if new is None else "~"
        self.changes.append(f"{sign}{json.name(new or old)}@{json.version(new or old)}")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def store(told: Told) -> Store:
    return Store(told)


def obj(name: str, version: int, uid: str = "", **metadata: Any) -> Json:
    return {
        "metadata": {
            "namespace": "test", "name": name, "uid": uid or name, "resourceVersion": str(version), **metadata,
        }
    }  # fmt: skip


def test_the_same_version_is_told_once(store: Store, told: Told) -> None:
    store.put(obj("a", 5))
    store.put(obj("a", 5))
    store.put(obj("a", 4))
    store.put(obj("a", 10))
    assert told.changes == ["+a@5", "~a@10"]


def test_versions_are_compared_as_numbers(store: Store, told: Told) -> None:
    store.put(obj("a", 99))
    store.put(obj("a", 100))
    store.put(obj("a", 99))
    assert told.changes == ["+a@99", "~a@100"]


def test_a_late_answer_does_not_revive_the_dead(store: Store, told: Told) -> None:
    store.put(obj("a", 5))
    store.remove(obj("a", 7))
    store.version = "7"
    store.put(obj("a", 6))
    assert told.changes == ["+a@5", "-a@7"]
    assert store.get("test", "a") is None


def test_a_late_deletion_does_not_hit_the_successor(store: Store, told: Told) -> None:
    store.put(obj("a", 5, "first"))
    store.put(obj("a", 9, "second"))
    store.remove(obj("a", 7, "first"))
    assert json.uid(store.get("test", "a")) == "second"
    assert told.changes == ["+a@5", "~a@9"]


def test_forgotten_objects_stay_forgotten(store: Store, told: Told) -> None:
    store.put(obj("a", 5))
    store.forget("test", "a", "another uid")
    assert store.get("test", "a") is not None
    store.forget("test", "a", "a")
    store.put(obj("a", 6))  # an event from before the deletion
    store.listed(obj("a", 6), "6")
    store.remove(obj("a", 7))
    assert told.changes == ["+a@5", "-a@5"]


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_who_was_deleted_with_its_successor_stays_forgotten(store: Store, told: Told, order: tuple[str, str]) -> None:
    """Both by us, and both before the watch has told of the first one's life."""
    store.put(obj("a", 5, "first"))
    store.put(obj("a", 9, "second"))
    for uid in order:
        store.forget("test", "a", uid)
    store.put(obj("a", 6, "first"))
    store.remove(obj("a", 7, "first"))
    store.put(obj("a", 9, "second"))
    store.remove(obj("a", 10, "second"))
    assert told.changes == ["+a@5", "~a@9", "-a@9"]


def test_an_object_that_is_finalised_comes_back_marked(store: Store, told: Told) -> None:
    store.put(obj("a", 5))
    store.forget("test", "a", "a")
    store.put(obj("a", 6, deletionTimestamp="2026-01-01T00:00:00Z"))
    store.remove(obj("a", 7))
    assert told.changes == ["+a@5", "-a@5", "+a@6", "-a@7"]


def test_a_sweep_spares_what_was_written_since(store: Store, told: Told) -> None:
    store.put(obj("a", 5))
    store.put(obj("new", 12))
    store.sweep({}, "10")
    assert told.changes == ["+a@5", "+new@12", "-a@10"]
    assert store.version == "10"


def test_a_list_is_right_about_its_own_past(store: Store, told: Told) -> None:
    """A server with another history may know the same name at a lower version."""
    store.put(obj("a", 50, "first"))
    store.listed(obj("a", 20, "second"), "60")
    assert json.uid(store.get("test", "a")) == "second"
    store.put(obj("a", 70, "second"))
    store.listed(obj("a", 20, "second"), "60")
    assert told.changes == ["+a@50", "~a@20", "~a@70"]


def test_reached(store: Store) -> None:
    store.put(obj("a", 50))
    store.version = "40"
    assert store.reached("test", "a", "50")
    assert not store.reached("test", "a", "51")
    assert store.reached("test", "absent", "40")
    assert not store.reached("test", "absent", "41")


def test_namespaces(store: Store) -> None:
    store.put(obj("a", 1))
    store.put(obj("b", 2) | {"metadata": obj("b", 2)["metadata"] | {"namespace": "other"}})
    assert [json.name(found) for found in store.by_namespace("test")] == ["a"]
    assert [json.name(found) for found in store.all()] == ["a", "b"]
    assert len(store) == 2
