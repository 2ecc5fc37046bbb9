"""The emulator's pure parts: paths, forms of answers, selectors, patches, ownership, schemas, tables, protobuf."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.apiserver import applying, bodies, calls, kinds, managed, patches, printing, protobuf, selectors, strategic
from sandbox.apiserver.errors import ApiFailure
from sandbox.apiserver.kinds import Json
from sandbox.apiserver.registry import Registry
from sandbox.apiserver.schemas import Findings, Schema


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", ("pods", "", "", "")),
        ("/api/v1/namespaces/a", ("namespaces", "", "a", "")),
        ("/api/v1/namespaces/a/status", ("namespaces", "", "a", "status")),
        ("/api/v1/namespaces/a/pods", ("pods", "a", "", "")),
        ("/api/v1/namespaces/a/pods/b", ("pods", "a", "b", "")),
        ("/api/v1/namespaces/a/pods/b/binding", ("pods", "a", "b", "binding")),
        ("/apis/apps/v1/namespaces/a/deployments/b/scale", ("deployments.apps", "a", "b", "scale")),
        ("/api/v1/nodes/n1", ("nodes", "", "n1", "")),
    ],
)
def test_a_path_names_a_target(path: str, expected: tuple[str, str, str, str]) -> None:
    found = calls.target(Registry(), path)

    assert (found.resource.key, found.namespace, found.name, found.subresource) == expected


@pytest.mark.parametrize(
    "path", ["/", "/api/v1", "/api/v2/pods", "/api/v1/namespaces/a/nodes", "/apis/apps/v1/pods", "/api/v1/pods/a/b/c"]
)
def test_other_paths_lead_nowhere(path: str) -> None:
    with pytest.raises(ApiFailure, match="could not find the requested resource"):
        calls.target(Registry(), path)


@pytest.mark.parametrize(
    ("accept", "shape"),
    [
        ("", ""),
        ("*/*", ""),
        ("application/vnd.kubernetes.protobuf,application/json", ""),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", "Table"),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", "PartialObjectMetadata"),
        ("application/json;as=Unheard;v=v1, application/json", ""),
    ],
)
def test_the_first_form_that_can_be_made_is_made(accept: str, shape: str) -> None:
    assert calls.look(accept, {}).shape == shape


def test_a_form_that_cannot_be_made_is_not_acceptable() -> None:
    with pytest.raises(ApiFailure) as refused:
        calls.look("application/vnd.kubernetes.protobuf", {})

    assert refused.value.code == 406


@pytest.mark.parametrize(
    ("query", "agent", "expected"),
    [
        ({"fieldManager": "mine"}, "kubectl/v1", "mine"),
        ({}, "kubectl/v1.36 (linux)", "kubectl"),
        ({}, "", "unknown"),
    ],
)
def test_a_write_has_a_manager(query: dict[str, str], agent: str, expected: str) -> None:
    assert calls.manager(query, agent) == expected


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a in (b, c),d", {"a": "c", "d": ""}, True),
        ("a notin (b)", {"a": "b"}, False),
        ("!a", {"a": ""}, False),
        ("example.com/a=b-c.d", {"example.com/a": "b-c.d"}, True),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], expected: bool) -> None:
    test = selectors.labels(text)

    assert test is not None
    assert test(labels) is expected


def test_the_selector_of_a_spec_as_an_object_and_as_text() -> None:
    expressions = [
        {"key": "c", "operator": "In", "values": ["e", "d"]},
        {"key": "f", "operator": "DoesNotExist"},
        {"key": "g", "operator": "Exists"},
    ]
    selector = {"matchLabels": {"a": "b"}, "matchExpressions": expressions}

    assert selectors.selects(selector, {"a": "b", "c": "d", "g": ""})
    assert not selectors.selects(selector, {"a": "b", "c": "d", "g": "", "f": ""})
    assert not selectors.selects(None, {})
    assert selectors.text_of(selector) == "a=b,c in (d,e),!f,g"


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a", "value": 1}], {"a": 1, "l": [1, 2]}),
        ([{"op": "add", "path": "/l/0", "value": 0}], {"l": [0, 1, 2]}),
        ([{"op": "remove", "path": "/l/1"}], {"l": [1]}),
        ([{"op": "move", "from": "/l", "path": "/m"}], {"m": [1, 2]}),
        ([{"op": "copy", "from": "/l/0", "path": "/l/-"}], {"l": [1, 2, 1]}),
        ([{"op": "add", "path": "/a~1b~0c", "value": 1}], {"a/b~c": 1, "l": [1, 2]}),
        ([{"op": "add", "path": "", "value": {"x": 1}}], {"x": 1}),
    ],
)
def test_json_patches(operations: list[Json], expected: Json) -> None:
    target = {"l": [1, 2]}

    assert patches.json_patch(target, operations) == expected
    assert target == {"l": [1, 2]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/absent", "value": 1},
        {"op": "remove", "path": "/l/7"},
        {"op": "add", "path": "/l/7", "value": 1},
        {"op": "test", "path": "/l/0", "value": 9},
        {"op": "unheard", "path": "/l"},
        {"op": "add", "path": "l", "value": 1},
        {"path": "/l"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_invalid(operation: Json) -> None:
    with pytest.raises(ApiFailure) as refused:
        patches.json_patch({"l": [1, 2]}, [operation])

    assert refused.value.code == 422


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"env": [{"name": "B", "value": "3"}]}, [("A", "1"), ("B", "3")]),
        ({"env": [{"name": "A", "$patch": "delete"}]}, [("B", "2")]),
        ({"env": [{"$patch": "replace"}, {"name": "C", "value": "3"}]}, [("C", "3")]),
        (
            {
                "$setElementOrder/env": [{"name": "C"}, {"name": "B"}, {"name": "A"}],
                "env": [{"name": "C", "value": "3"}],
            },
            [("C", "3"), ("B", "2"), ("A", "1")],
        ),
        ({"$setElementOrder/env": [{"name": "B"}, {"name": "A"}]}, [("B", "2"), ("A", "1")]),
    ],
)
def test_strategic_patches_of_lists(patch: Json, expected: list[tuple[str, str]]) -> None:
    target = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}

    assert [(each["name"], each["value"]) for each in strategic.merge(target, patch)["env"]] == expected


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"m": {"$patch": "replace", "b": 2}}, {"m": {"b": 2}, "finalizers": ["x"], "free": [1]}),
        ({"m": {"$retainKeys": ["b"], "b": 2}}, {"m": {"b": 2}, "finalizers": ["x"], "free": [1]}),
        ({"finalizers": ["y", "x"]}, {"m": {"a": 1}, "finalizers": ["x", "y"], "free": [1]}),
        ({"$deleteFromPrimitiveList/finalizers": ["x"]}, {"m": {"a": 1}, "finalizers": [], "free": [1]}),
        ({"free": [2], "m": None}, {"finalizers": ["x"], "free": [2]}),
    ],
)
def test_strategic_patches_of_the_rest(patch: Json, expected: Json) -> None:
    assert strategic.merge({"m": {"a": 1}, "finalizers": ["x"], "free": [1]}, patch) == expected


def thing(entries: list[Json] | None = None, **spec: Any) -> Json:
    metadata = {"name": "a", **({"managedFields": entries} if entries else {})}
    return {"apiVersion": "v1", "kind": "Thing", "metadata": metadata, "spec": spec}


def written(old: Json | None, new: Json, manager: str, applied: Json | None = None) -> Json:
    entries = managed.record(
        old,
        new,
        manager=manager,
        operation="Update" if applied is None else "Apply",
        subresource="",
        now="now",
        applied=applied,
    )
    return thing(entries, **new["spec"])


def fields(obj: Json) -> dict[str, Json]:
    return {each["manager"]: each["fieldsV1"] for each in obj["metadata"]["managedFields"]}


def test_a_field_is_of_who_changed_it_last() -> None:
    made = written(None, thing(a=1, b=[1], c={"d": 1}), "maker")

    changed = written(made, thing(a=2, b=[1], c={"d": 1, "e": 1}), "other")

    assert fields(made) == {"maker": {"f:spec": {".": {}, "f:a": {}, "f:b": {}, "f:c": {".": {}, "f:d": {}}}}}
    assert fields(changed) == {
        "maker": {"f:spec": {".": {}, "f:b": {}, "f:c": {".": {}, "f:d": {}}}},
        "other": {"f:spec": {"f:a": {}, "f:c": {"f:e": {}}}},
    }


def test_a_field_that_is_gone_is_of_nobody() -> None:
    made = written(None, thing(a=1, b=1), "maker")

    assert fields(written(made, thing(a=1), "other")) == {"maker": {"f:spec": {".": {}, "f:a": {}}}}


def test_an_applied_field_is_shared_with_who_has_the_same() -> None:
    custom = kinds.Resource(kind="Thing", plural="things", schema=Schema({}))
    first = written(None, thing(a=1, b=1), "first", applied=thing(a=1, b=1))
    second = written(first, first, "second", applied=thing(a=1))

    dropped = applying.merged(custom, second, thing(b=1), manager="first", subresource="", force=False)

    assert fields(second)["second"] == {"f:spec": {".": {}, "f:a": {}}}
    assert dropped["spec"] == {"a": 1, "b": 1}  # the second one still wants a


def test_what_only_one_applied_goes_when_it_is_applied_no_longer() -> None:
    custom = kinds.Resource(kind="Thing", plural="things", schema=Schema({}))
    first = written(None, thing(a=1, c={"d": 1}), "first", applied=thing(a=1, c={"d": 1}))
    edited = written(first, thing(a=1, c={"d": 1, "e": 1}), "other")

    assert applying.merged(custom, edited, thing(a=1), manager="first", subresource="", force=False)["spec"] == {
        "a": 1,
        "c": {"e": 1},
    }


def test_a_conflict_names_manager_and_field() -> None:
    custom = kinds.Resource(kind="Thing", plural="things", schema=Schema({}))
    made = written(None, thing(c={"d": 1}), "maker")

    with pytest.raises(ApiFailure, match=r'Apply failed with 1 conflict: conflict with "maker": \.spec\.c\.d'):
        applying.merged(custom, made, thing(c={"d": 2}), manager="first", subresource="", force=False)


def faults(schema: Json, value: Any) -> list[str]:
    found = Findings()
    Schema(schema).walk(value, "x", found)
    return [f"{each.field}: {each.text}" for each in found.causes]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "pattern": "^a+$"}, "aa", "b"),
        ({"type": "string", "maxLength": 2}, "ab", "abc"),
        ({"type": "string", "format": "date-time"}, "2026-01-02T03:04:05Z", "today"),
        ({"type": "integer", "maximum": 3}, 3, 4),
        ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 4, 3),
        ({"type": "integer"}, 1, 1.5),
        ({"type": "integer"}, 1, True),
        ({"type": "number"}, 1.5, "1.5"),
        ({"type": "array", "minItems": 1, "items": {"type": "string"}}, ["a"], []),
        ({"type": "array", "items": {"type": "string"}}, ["a"], [1]),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": "b"}, {"a": 1}),
        ({"type": "string", "nullable": True}, None, 1),
        ({"x-kubernetes-int-or-string": True}, "http", 1.5),
        ({"type": "object", "properties": {"a": {}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
         {"a": 1}, {"a": 1, "b": 1}),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 1, True),
        ({"not": {"type": "string"}}, 1, "a"),
    ],
)  # fmt: skip
def test_schemas(schema: Json, good: Any, bad: Any) -> None:
    assert faults(schema, good) == []
    assert len(faults(schema, bad)) == 1


def test_the_metadata_is_never_pruned() -> None:
    schema = Schema({"type": "object", "properties": {"metadata": {"type": "object"}}})
    obj = {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}, "more": 1}
    found = Findings()

    assert schema.walk(obj, "", found) == {"apiVersion": "v1", "kind": "Thing", "metadata": {"name": "a"}}
    assert found.unknown == ["more"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.a", [1]),
        (".spec.l[0].n", ["x"]),
        (".spec.l[-1].n", ["y"]),
        (".spec.l[*].n", ["x", "y"]),
        (".spec.l[].n", ["x", "y"]),
        ('.spec.l[?(@.n=="y")].v', [2]),
        (r".metadata.labels.example\.com/a", ["b"]),
        (".spec['a']", [1]),
        (".absent.a", []),
    ],
)
def test_printer_columns_find_their_value(path: str, expected: list[Any]) -> None:
    listed = [{"n": "x", "v": 1}, {"n": "y", "v": 2}]

    assert (
        printing.find({"metadata": {"labels": {"example.com/a": "b"}}, "spec": {"a": 1, "l": listed}}, path) == expected
    )


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (5, "5s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (7200, "120m"),
        (11_000, "3h3m"),
        (36_000, "10h"),
        (172_800, "2d"),
    ],
)
def test_ages_read_as_kubectl_writes_them(seconds: int, expected: str) -> None:
    now = datetime(2026, 1, 10, tzinfo=UTC)
    since = (now - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")

    assert printing.age(since, now) == expected


def test_yaml_is_read_where_it_is_no_json() -> None:
    assert bodies.obj(b"kind: Thing\nspec: {a: [1]}", "application/yaml") == {"kind": "Thing", "spec": {"a": [1]}}
    with pytest.raises(ApiFailure, match="neither JSON nor YAML"):
        bodies.obj(b"{a: [", "application/json")
    with pytest.raises(ApiFailure, match="no object"):
        bodies.obj(b"- a", "application/json")


def test_options_of_a_delete_stand_in_the_body_or_in_the_query() -> None:
    query = {"propagationPolicy": "Orphan", "gracePeriodSeconds": "3"}

    assert bodies.options(b"", query) == query
    assert bodies.options(b'{"propagationPolicy":"Foreground"}', query)["propagationPolicy"] == "Foreground"


def test_the_namespace_of_kubectl_create_is_read() -> None:
    def text(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value

    labels = text(11, text(1, b"team") + text(2, b"x"))
    metadata = text(1, b"test") + bytes([7 << 3, 150, 1]) + labels  # a number in between is passed over
    raw = b"k8s\x00" + text(1, text(1, b"v1") + text(2, b"Namespace")) + text(2, text(1, metadata))

    found = protobuf.read(raw)

    assert found == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test", "labels": {"team": "x"}}}
    with pytest.raises(ApiFailure, match="unknown format"):
        protobuf.read(raw.replace(b"Namespace", b"Endpoints"))
    with pytest.raises(ApiFailure, match="no Kubernetes protobuf"):
        protobuf.read(b"{}")
