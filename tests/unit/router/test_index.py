"""What the index answers is what a search of everything would, whatever came and went."""

from hypothesis import given
from hypothesis import strategies as st

from services.router.index import By, Index
from services.router.siblings import Siblings, overlap
from shared.kube import json, kinds
from shared.kube.json import Json

NAMES, LABELS = ("a", "b", "c"), ("", "x", "y")


def _slice(name: str, label: str, namespace: str = "test") -> Json:
    labels = {"kubernetes.io/service-name": label} if label else {}
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}}


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from((*LABELS, None)))))
def test_it_answers_what_a_search_would(changes: list[tuple[str, str | None]]) -> None:
    by = By(lambda found: (json.namespace(found), json.text(found, "metadata", "labels", "l")))
    all_of_them: dict[str, Json] = {}
    for name, label in changes:
        old = all_of_them.pop(name, None)
        new: Json | None = None
        if label is not None:
            new = {"metadata": {"namespace": "test", "name": name, "labels": {"l": label}}}
            all_of_them[name] = new
        if old or new:
            by.changed(old, new)

    for label in LABELS[1:]:
        found = {json.name(each) for each in by.of("test", label)}
        assert found == {name for name, each in all_of_them.items() if each["metadata"]["labels"]["l"] == label}
        assert by.of("elsewhere", label) == ()
    assert by.of("test", "") == (), "what has no part isn't looked for by it"


def test_what_was_there_at_the_start_is_found() -> None:
    scaler = {
        "metadata": {"namespace": "test", "name": "s"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}},
    }
    canary = {
        "metadata": {"namespace": "test", "name": "c"},
        "spec": {"targetRef": {"kind": "Deployment", "name": "d"}},
    }
    index = Index({
        kinds.ENDPOINT_SLICE: [_slice("a", "x"), _slice("b", "y"), _slice("c", "x", "other")],
        kinds.AUTOSCALER: [scaler], kinds.CANARY: [canary], kinds.SECRET: [_slice("a", "x")],
    })  # fmt: skip
    assert index.slices.of("test", "x") == (_slice("a", "x"),)
    assert index.scalers.of("test", "Deployment", "d") == (scaler,)
    assert index.canaries.of("test", "Deployment", "d") == (canary,)
    assert index.canaries.of("test", "DaemonSet", "d") == ()


HOSTS = ("a.example", "A.example", "b.example", "*.example", "")


def _rule(paths: list[str], hosts: list[str] | None) -> Json:
    return {"match": {"paths": paths} | ({} if hosts is None else {"hosts": hosts})}


rules = st.builds(
    _rule,
    st.lists(st.sampled_from(("/*", "/a")), min_size=1, max_size=2),
    st.none() | st.lists(st.sampled_from(HOSTS), max_size=2),
)


@given(st.lists(st.tuples(st.sampled_from(NAMES), st.lists(rules, max_size=2) | st.none())), rules)
def test_no_rule_that_may_answer_the_same_request_is_missed(
    changes: list[tuple[str, list[Json] | None]], asked: Json
) -> None:
    siblings = Siblings()
    there: dict[str, Json] = {}
    for name, http in changes:
        old, new = there.pop(name, None), None
        if http is not None:
            new = there[name] = {"metadata": {"namespace": "test", "name": name}, "spec": {"http": http}}
        siblings.changed(old, new)

    found = siblings.sharing([asked], ("test", "a"))
    others = [rule for name, each in there.items() if name != "a" for rule in each["spec"]["http"]]
    ids = {id(rule) for rule in found}
    assert len(ids) == len(found), "each once"
    assert ids <= {id(rule) for rule in others}, "nothing that went, and nothing of one's own"
    assert {id(rule) for rule in others if overlap(asked, rule)} <= ids


def test_hundreds_of_routes_on_one_path_are_told_apart_by_their_hosts() -> None:
    routes = [
        {"metadata": {"namespace": "test", "name": f"r{n}"}, "spec": {"http": [_rule(["/*"], [f"{n}.example"])]}}
        for n in range(300)
    ]
    assert Siblings(routes).sharing([_rule(["/*"], ["7.example"])], ("test", "r7")) == ()
