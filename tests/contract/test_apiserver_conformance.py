"""How a Kubernetes API server treats objects: identity, versions, generations, races, subresources, patches, owners."""

import pytest

from sandbox.controlplane.api import APPLY, STRATEGIC, Api, ApiError, Json
from tests.contract.conftest import Where

JSON_PATCH = "application/json-patch+json"


def maps(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def widget(group: str, name: str = "one", **spec: object) -> Json:
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": 3, **spec}}


def at(group: str, namespace: str, name: str = "") -> str:
    return f"/apis/{group}/v1/namespaces/{namespace}/widgets" + (f"/{name}" if name else "")


def deployment(name: str, **spec: object) -> Json:
    labels = {"app": name}
    containers = [{"name": "app", "image": "app:1"}, {"name": "side", "image": "side:1"}]
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


def deployments(namespace: str, name: str = "") -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments" + (f"/{name}" if name else "")


def managers(obj: Json) -> set[tuple[str, str, str]]:
    entries = obj["metadata"].get("managedFields") or []
    return {(each["manager"], each["operation"], each.get("subresource", "")) for each in entries}


def owned(obj: Json, manager: str) -> Json:
    entries = obj["metadata"]["managedFields"]
    return next(dict(each["fieldsV1"]) for each in entries if each["manager"] == manager)


async def test_a_created_object_gets_an_identity(api: Api, namespace: str) -> None:
    made = await api.create(maps(namespace), {"metadata": {"name": "one", "uid": "mine"}, "data": {"a": "1"}})

    metadata = made["metadata"]
    assert made["kind"] == "ConfigMap"
    assert made["apiVersion"] == "v1"
    assert metadata["namespace"] == namespace
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 0


async def test_versions_grow_over_all_kinds(api: Api, namespace: str) -> None:
    first = await api.create(maps(namespace), {"metadata": {"name": "one"}})
    second = await api.create(deployments(namespace), deployment("two"))
    third = await api.patch(maps(namespace, "one"), {"data": {"a": "1"}})

    versions = [int(each["metadata"]["resourceVersion"]) for each in (first, second, third)]
    assert versions == sorted(set(versions))


async def test_a_second_object_of_a_name_is_refused(api: Api, namespace: str) -> None:
    await api.create(maps(namespace), {"metadata": {"name": "one"}})

    with pytest.raises(ApiError) as refused:
        await api.create(maps(namespace), {"metadata": {"name": "one"}})

    assert (refused.value.status, refused.value.reason) == (409, "AlreadyExists")


async def test_names_are_generated(api: Api, namespace: str) -> None:
    made = [await api.create(maps(namespace), {"metadata": {"generateName": "one-"}}) for _ in range(2)]

    names = {each["metadata"]["name"] for each in made}
    assert len(names) == 2
    assert all(name.startswith("one-") and len(name) == 9 for name in names)


@pytest.mark.parametrize("path", ["/api/v1/namespaces/absent", "/api/v1/namespaces/default/configmaps/absent"])
async def test_what_there_is_not_is_not_found(api: Api, path: str) -> None:
    with pytest.raises(ApiError) as refused:
        await api.get(path)

    assert (refused.value.status, refused.value.reason) == (404, "NotFound")


async def test_nothing_is_created_in_an_absent_namespace(api: Api) -> None:
    with pytest.raises(ApiError, match='namespaces \\\\"absent\\\\" not found') as refused:
        await api.create(maps("absent"), {"metadata": {"name": "one"}})

    assert refused.value.status == 404


@pytest.mark.parametrize("name", ["", "Upper", "under_score"])
async def test_a_bad_name_is_invalid(api: Api, namespace: str, name: str) -> None:
    with pytest.raises(ApiError) as refused:
        await api.create(maps(namespace), {"metadata": {"name": name}})

    assert (refused.value.status, refused.value.reason) == (422, "Invalid")


async def test_a_write_that_changes_nothing_makes_no_version(api: Api, namespace: str) -> None:
    made = await api.create(maps(namespace), {"metadata": {"name": "one"}, "data": {"a": "1"}})

    again = await api.patch(maps(namespace, "one"), {"data": {"a": "1"}})

    assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_stale_version_loses(api: Api, namespace: str) -> None:
    old = await api.create(maps(namespace), {"metadata": {"name": "one"}})
    await api.patch(maps(namespace, "one"), {"data": {"a": "1"}})

    with pytest.raises(ApiError) as put:
        await api.replace(maps(namespace, "one"), {**old, "data": {"a": "2"}})
    patch = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "data": {"a": "2"}}
    with pytest.raises(ApiError) as patched:
        await api.patch(maps(namespace, "one"), patch)

    assert (put.value.status, put.value.reason) == (409, "Conflict")
    assert (patched.value.status, patched.value.reason) == (409, "Conflict")


async def test_a_custom_object_is_replaced_with_its_version_only(api: Api, namespace: str, widgets: str) -> None:
    made = await api.create(at(widgets, namespace), widget(widgets))
    with pytest.raises(ApiError) as refused:
        await api.replace(at(widgets, namespace, "one"), widget(widgets, size=4))

    replaced = await api.replace(at(widgets, namespace, "one"), {**made, "spec": {"size": 4, "color": "green"}})

    assert refused.value.status == 422
    assert replaced["spec"] == {"size": 4, "color": "green"}


async def test_only_the_very_object_is_deleted(api: Api, namespace: str) -> None:
    made = await api.create(maps(namespace), {"metadata": {"name": "one"}})
    with pytest.raises(ApiError) as refused:
        await api.delete(maps(namespace, "one"), {"preconditions": {"uid": "another"}})

    await api.delete(maps(namespace, "one"), {"preconditions": {"uid": made["metadata"]["uid"]}})

    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    with pytest.raises(ApiError, match="NotFound"):
        await api.get(maps(namespace, "one"))


@pytest.mark.parametrize(
    ("metadata", "status"),
    [({"name": "two"}, 400), ({"namespace": "default"}, 400), ({"uid": "another"}, 409)],
)
async def test_an_object_is_replaced_where_it_is(api: Api, namespace: str, metadata: Json, status: int) -> None:
    made = await api.create(maps(namespace), {"metadata": {"name": "one"}})

    with pytest.raises(ApiError) as refused:
        await api.replace(maps(namespace, "one"), {**made, "metadata": {**made["metadata"], **metadata}})

    assert refused.value.status == status


async def test_many_objects_are_deleted_at_once(api: Api, namespace: str) -> None:
    for name, label in (("one", "a"), ("two", "a"), ("three", "b")):
        await api.create(maps(namespace), {"metadata": {"name": name, "labels": {"is": label}}})

    await api.request("DELETE", maps(namespace), query={"labelSelector": "is=a"})

    found = await api.get(maps(namespace), labelSelector="is")
    assert [each["metadata"]["name"] for each in found["items"]] == ["three"]


async def test_the_generation_counts_changes_of_the_spec(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace, "one")
    await api.create(at(widgets, namespace), widget(widgets))

    seen = [
        await api.patch(path, {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}}),
        await api.patch(f"{path}/status", {"status": {"phase": "Ready"}}),
        await api.patch(path, {"spec": {"size": 4}}),
    ]

    assert [each["metadata"]["generation"] for each in seen] == [1, 1, 2]


async def test_the_status_is_written_through_its_subresource_only(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace, "one")
    made = await api.create(at(widgets, namespace), {**widget(widgets), "status": {"phase": "Born"}})

    outside = await api.patch(path, {"status": {"phase": "Outside"}, "spec": {"size": 5}})
    inside = await api.patch(f"{path}/status", {"status": {"phase": "Inside"}, "spec": {"size": 6}})

    assert "status" not in made
    assert "status" not in outside
    assert inside["status"] == {"phase": "Inside"}
    assert inside["spec"]["size"] == 5


async def test_a_status_is_replaced_whole(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace, "one")
    made = await api.create(at(widgets, namespace), widget(widgets))
    await api.patch(f"{path}/status", {"status": {"phase": "Ready"}})
    body = {**made, "status": {}, "spec": {"size": 9}}

    with pytest.raises(ApiError) as refused:
        await api.replace(f"{path}/status", body)
    body["metadata"] = (await api.get(f"{path}/status"))["metadata"]
    replaced = await api.replace(f"{path}/status", body)

    assert refused.value.status == 409
    assert replaced["spec"]["size"] == 3
    assert replaced.get("status", {}) == {}


async def test_a_finalizer_holds_a_deleted_object(api: Api, namespace: str) -> None:
    path = maps(namespace, "one")
    await api.create(maps(namespace), {"metadata": {"name": "one", "finalizers": ["example.com/wait"]}})

    await api.delete(path)
    held = await api.get(path)
    await api.patch(path, {"metadata": {"finalizers": None}})

    assert held["metadata"]["deletionTimestamp"]
    with pytest.raises(ApiError, match="NotFound"):
        await api.get(path)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_what_an_object_owns_goes_with_it(api: Api, namespace: str, policy: str) -> None:
    owner = await api.create(maps(namespace), {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    owned = {"metadata": {"name": "owned", "ownerReferences": [{**reference, "blockOwnerDeletion": True}]}}
    await api.create(maps(namespace), owned)
    await api.create(maps(namespace), {"metadata": {"name": "other"}})

    await api.delete(maps(namespace, "owner"), {"propagationPolicy": policy})

    wanted = {"other", "kube-root-ca.crt"}  # the second one is a real cluster's
    await api.until(maps(namespace), lambda found: {each["metadata"]["name"] for each in found["items"]} <= wanted)
    assert (await api.get(maps(namespace, "other")))["metadata"]["name"] == "other"


async def test_orphans_stay(api: Api, namespace: str) -> None:
    owner = await api.create(maps(namespace), {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await api.create(maps(namespace), {"metadata": {"name": "owned", "ownerReferences": [reference]}})

    await api.delete(maps(namespace, "owner"), {"propagationPolicy": "Orphan"})

    found = await api.until(maps(namespace, "owned"), lambda found: "ownerReferences" not in found["metadata"])
    assert "deletionTimestamp" not in found["metadata"]


async def test_a_deleted_namespace_takes_everything_along(api: Api, namespace: str, widgets: str) -> None:
    await api.create(at(widgets, namespace), widget(widgets))
    await api.create(deployments(namespace), deployment("two"))

    await api.delete(f"/api/v1/namespaces/{namespace}")

    await api.until("/api/v1/namespaces", lambda f: namespace not in [each["metadata"]["name"] for each in f["items"]])
    assert (await api.get(at(widgets, namespace)))["items"] == []


async def test_a_service_account_gets_a_token(api: Api, where: Where, namespace: str) -> None:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}

    answer = await api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", request)

    assert answer["status"]["token"]
    async with Api(where.url, answer["status"]["token"], where.ca_file) as client:
        assert "gitVersion" in await client.get("/version")


async def test_a_merge_patch_removes_by_null_and_replaces_lists(api: Api, namespace: str, widgets: str) -> None:
    parts = [{"name": "a"}, {"name": "b"}]
    await api.create(at(widgets, namespace), widget(widgets, color="green", parts=parts))

    patch = {"spec": {"color": None, "parts": [{"name": "c"}]}}
    patched = await api.patch(at(widgets, namespace, "one"), patch)

    assert patched["spec"] == {"size": 3, "color": "red", "parts": [{"name": "c"}]}


async def test_a_strategic_patch_merges_lists_by_key(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment("one"))
    containers = [
        {"name": "app", "image": "app:2"},
        {"name": "side", "$patch": "delete"},
        {"name": "new", "image": "x"},
    ]

    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    patched = await api.patch(deployments(namespace, "one"), patch, STRATEGIC)

    found = {each["name"]: each["image"] for each in patched["spec"]["template"]["spec"]["containers"]}
    assert found == {"app": "app:2", "new": "x"}


async def test_custom_objects_know_no_strategic_patch(api: Api, namespace: str, widgets: str) -> None:
    await api.create(at(widgets, namespace), widget(widgets))

    with pytest.raises(ApiError) as refused:
        await api.patch(at(widgets, namespace, "one"), {"spec": {"size": 4}}, STRATEGIC)

    assert (refused.value.status, refused.value.reason) == (415, "UnsupportedMediaType")


async def test_a_json_patch_happens_whole_or_not_at_all(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace, "one")
    await api.create(at(widgets, namespace), widget(widgets, parts=[{"name": "a"}]))
    good = [
        {"op": "test", "path": "/spec/size", "value": 3},
        {"op": "replace", "path": "/spec/size", "value": 4},
        {"op": "add", "path": "/spec/parts/-", "value": {"name": "b"}},
    ]

    patched = await api.request("PATCH", path, body=good, content_type=JSON_PATCH)  # type: ignore[arg-type] # a list
    with pytest.raises(ApiError) as refused:
        await api.request("PATCH", path, body=good, content_type=JSON_PATCH)  # type: ignore[arg-type] # a list

    assert patched["spec"] == {"size": 4, "color": "red", "parts": [{"name": "a"}, {"name": "b"}]}
    assert refused.value.status == 422
    assert (await api.get(path))["metadata"]["resourceVersion"] == patched["metadata"]["resourceVersion"]


async def test_who_wrote_what_is_recorded(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace, "one")
    await api.request("POST", at(widgets, namespace), body=widget(widgets), query={"fieldManager": "maker"})
    await api.patch(path, {"spec": {"color": "green"}}, fieldManager="painter")
    seen = await api.patch(f"{path}/status", {"status": {"phase": "Ready"}}, fieldManager="teller")
    taken = await api.patch(f"{path}/status", {"status": {"phase": "Late"}}, fieldManager="other")

    assert managers(seen) == {("maker", "Update", ""), ("painter", "Update", ""), ("teller", "Update", "status")}
    assert managers(taken) == managers(seen) | {("other", "Update", "status")}
    assert owned(taken, "painter") == {"f:spec": {"f:color": {}}}
    assert owned(taken, "teller") == {"f:status": {}}  # that there is a status is still of who made it
    assert owned(taken, "other") == {"f:status": {"f:phase": {}}}


async def test_an_applied_configuration_makes_changes_and_takes_back(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace, "one")
    first = {**widget(widgets, color="green"), "metadata": {"name": "one", "labels": {"a": "1", "b": "2"}}}
    second = {**widget(widgets, size=4), "metadata": {"name": "one", "labels": {"a": "1"}}}

    made = await api.patch(path, first, APPLY, fieldManager="applier")
    await api.patch(path, {"metadata": {"labels": {"c": "3"}}}, fieldManager="other")
    changed = await api.patch(path, second, APPLY, fieldManager="applier")

    assert ("applier", "Apply", "") in managers(made)
    assert made["spec"] == {"size": 3, "color": "green"}
    assert changed["spec"] == {"size": 4, "color": "red"}  # the default came back
    assert changed["metadata"]["labels"] == {"a": "1", "c": "3"}


async def test_appliers_conflict_unless_forced(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace, "one")
    await api.patch(path, widget(widgets), APPLY, fieldManager="first")

    with pytest.raises(ApiError) as refused:
        await api.patch(path, widget(widgets, size=4), APPLY, fieldManager="second")
    forced = await api.patch(path, widget(widgets, size=4), APPLY, fieldManager="second", force="true")

    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    assert forced["spec"]["size"] == 4
    assert ("second", "Apply", "") in managers(forced)


async def test_a_dry_run_changes_nothing(api: Api, namespace: str) -> None:
    await api.request("POST", maps(namespace), body={"metadata": {"name": "one"}}, query={"dryRun": "All"})

    with pytest.raises(ApiError, match="NotFound"):
        await api.get(maps(namespace, "one"))


async def test_plain_text_of_a_secret_is_encoded(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"

    made = await api.create(path, {"metadata": {"name": "one"}, "stringData": {"word": "hello"}})

    assert made["data"] == {"word": "aGVsbG8="}
    assert "stringData" not in made
    assert made["type"] == "Opaque"
