"""How a Kubernetes API server serves what a CustomResourceDefinition defines, and what it makes of Services."""

import asyncio

import pytest
import yaml

from sandbox.controlplane.api import Api, ApiError, Json
from tests.contract.conftest import CRDS, Where, served, widget_crd
from tests.contract.test_apiserver_conformance import at, deployment, deployments, widget

_ALL = {"create", "delete", "get", "list", "patch", "update", "watch"}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def services(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/services" + (f"/{name}" if name else "")


async def test_unknown_fields_are_dropped_and_defaults_filled_in(api: Api, namespace: str, widgets: str) -> None:
    body = widget(widgets, unknown=1, free={"any": {"thing": 1}}, parts=[{"name": "a", "more": 1}])

    made = await api.create(at(widgets, namespace), body)

    assert made["spec"] == {"size": 3, "color": "red", "free": {"any": {"thing": 1}}, "parts": [{"name": "a"}]}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"size": None}, "spec.size"),
        ({"size": "three"}, "spec.size"),
        ({"size": 0}, "spec.size"),
        ({"color": "blue"}, "spec.color"),
        ({"port": 1.5}, "spec.port"),
        ({"parts": {}}, "spec.parts"),
        ({"parts": [{"name": 1}]}, "spec.parts[0].name"),
    ],
)
async def test_what_the_schema_forbids_is_refused(
    api: Api, namespace: str, widgets: str, spec: Json, field: str
) -> None:
    with pytest.raises(ApiError) as refused:
        await api.create(at(widgets, namespace), widget(widgets, **spec))

    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    assert field in str(refused.value)


async def test_a_required_field_is_required(api: Api, namespace: str, widgets: str) -> None:
    body = widget(widgets)
    del body["spec"]["size"]

    with pytest.raises(ApiError, match=r"spec.size: Required value"):
        await api.create(at(widgets, namespace), body)


async def test_an_integer_or_a_text_stays_what_it_is(api: Api, namespace: str, widgets: str) -> None:
    number = await api.create(at(widgets, namespace), widget(widgets, "a", port=80))
    text = await api.create(at(widgets, namespace), widget(widgets, "b", port="http"))

    assert (number["spec"]["port"], text["spec"]["port"]) == (80, "http")


async def test_strict_validation_refuses_unknown_fields(api: Api, namespace: str, widgets: str) -> None:
    body = widget(widgets, unknown=1)
    with pytest.raises(ApiError, match=r'unknown field \\"spec.unknown\\"') as refused:
        await api.request("POST", at(widgets, namespace), body=body, query={"fieldValidation": "Strict"})

    assert refused.value.status == 400


async def test_a_rule_in_cel_is_enforced(api: Api, namespace: str, widgets: str) -> None:
    with pytest.raises(ApiError, match="too big"):
        await api.create(at(widgets, namespace), widget(widgets, size=100))


async def test_a_status_is_pruned_and_validated_too(api: Api, namespace: str, widgets: str) -> None:
    path = at(widgets, namespace, "one") + "/status"
    await api.create(at(widgets, namespace), widget(widgets))

    seen = await api.patch(path, {"status": {"phase": "Ready", "unknown": 1}})
    with pytest.raises(ApiError) as refused:
        await api.patch(path, {"status": {"phase": 1}})

    assert seen["status"] == {"phase": "Ready"}
    assert refused.value.status == 422


async def test_a_kind_of_another_is_refused(api: Api, namespace: str, widgets: str) -> None:
    with pytest.raises(ApiError) as refused:
        await api.create(at(widgets, namespace), {**widget(widgets), "kind": "Gadget"})

    assert (refused.value.status, refused.value.reason) == (422, "Invalid")


async def test_a_kind_is_served_as_long_as_it_is_defined(api: Api, namespace: str, own_widgets: str) -> None:
    await api.create(at(own_widgets, namespace), widget(own_widgets))
    found = await api.get(f"/apis/{own_widgets}/v1")

    await api.delete(f"{CRDS}/widgets.{own_widgets}")

    assert "widgets" in [each["name"] for each in found["resources"]]
    await api.until("/apis", lambda groups: own_widgets not in [each["name"] for each in groups["groups"]])
    with pytest.raises(ApiError) as refused:
        await api.get(at(own_widgets, namespace))
    assert refused.value.status == 404


async def test_a_changed_definition_holds_for_what_is_written_next(api: Api, namespace: str, own_widgets: str) -> None:
    crd = yaml.safe_load(yaml.safe_dump(widget_crd(own_widgets)))
    version = crd["spec"]["versions"][0]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["weight"] = {"type": "integer"}
    before = await api.create(at(own_widgets, namespace), widget(own_widgets, "before", weight=1))

    await api.patch(f"{CRDS}/widgets.{own_widgets}", {"spec": crd["spec"]})
    await served(api, at(own_widgets, namespace))

    assert "weight" not in before["spec"]
    # A real server takes the new schema up a moment after the definition was written.
    path = at(own_widgets, namespace, "before")
    await api.patch(path, {"metadata": {"labels": {"touched": "yes"}}})
    async with asyncio.timeout(60):
        while "weight" not in (after := await api.patch(path, {"spec": {"weight": 1}}))["spec"]:
            await asyncio.sleep(0.05)
    assert after["spec"]["weight"] == 1


@pytest.mark.parametrize(
    ("path", "name", "kind", "namespaced", "short"),
    [
        ("/api/v1", "namespaces", "Namespace", False, ["ns"]),
        ("/api/v1", "pods", "Pod", True, ["po"]),
        ("/api/v1", "pods/binding", "Binding", True, None),
        ("/api/v1", "events", "Event", True, ["ev"]),
        ("/apis/apps/v1", "deployments", "Deployment", True, ["deploy"]),
        ("/apis/apps/v1", "deployments/status", "Deployment", True, None),
        ("/apis/apps/v1", "deployments/scale", "Scale", True, None),
        ("/apis/autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, ["hpa"]),
        ("/apis/discovery.k8s.io/v1", "endpointslices", "EndpointSlice", True, None),
        ("/apis/sandbox.example.com/v1", "widgets", "Widget", True, ["wd"]),
        ("/apis/sandbox.example.com/v1", "widgets/status", "Widget", True, None),
    ],
)
async def test_clients_can_discover_what_is_served(
    api: Api, widgets: str, path: str, name: str, kind: str, namespaced: bool, short: list[str] | None
) -> None:
    listed = (await api.get(path))["resources"]

    [entry] = [each for each in listed if each["name"] == name]
    assert (entry["kind"], entry["namespaced"], entry.get("shortNames")) == (kind, namespaced, short)
    expected = {"create"} if name == "pods/binding" else {"get", "patch", "update"} if "/" in name else _ALL
    assert set(entry["verbs"]) - {"deletecollection"} == expected  # a real server has it for most kinds


async def test_groups_have_a_preferred_version(api: Api, widgets: str) -> None:
    groups = {each["name"]: each for each in (await api.get("/apis"))["groups"]}

    assert groups["apps"]["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
    assert groups[widgets]["versions"] == [{"groupVersion": f"{widgets}/v1", "version": "v1"}]
    assert (await api.get("/apis/apps"))["preferredVersion"]["version"] == "v1"
    assert (await api.get("/api"))["versions"] == ["v1"]


async def test_a_table_of_pods_and_services_has_kubectls_columns(api: Api, where: Where, namespace: str) -> None:
    service = {"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}}
    made = await api.create(services(namespace), service)
    pod = {"metadata": {"name": "one"}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    await api.create(f"/api/v1/namespaces/{namespace}/pods", pod)

    shown = await where.ask(services(namespace), TABLE)
    pods = await where.ask(f"/api/v1/namespaces/{namespace}/pods", TABLE)

    names = [each["name"] for each in shown["columnDefinitions"] if not each["priority"]]
    assert names == ["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"]
    assert shown["rows"][0]["cells"][:5] == ["one", "ClusterIP", made["spec"]["clusterIP"], "<none>", "80/TCP"]
    assert [each["name"] for each in pods["columnDefinitions"] if not each["priority"]] == [
        "Name",
        "Ready",
        "Status",
        "Restarts",
        "Age",
    ]
    assert pods["rows"][0]["cells"][:2] == ["one", "0/1"]


async def test_a_table_shows_the_declared_columns(api: Api, where: Where, namespace: str, widgets: str) -> None:
    await api.create(at(widgets, namespace), widget(widgets))
    await api.patch(at(widgets, namespace, "one") + "/status", {"status": {"phase": "Ready"}})

    table = await where.ask(at(widgets, namespace), TABLE)

    assert table["kind"] == "Table"
    assert [each["name"] for each in table["columnDefinitions"]] == ["Name", "Size", "Phase"]
    assert [row["cells"] for row in table["rows"]] == [["one", 3, "Ready"]]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_a_table_of_deployments_counts_replicas(api: Api, where: Where, namespace: str) -> None:
    await api.create(deployments(namespace), deployment("one"))

    table = await where.ask(deployments(namespace), TABLE)

    names = [each["name"] for each in table["columnDefinitions"]][:5]
    assert names == ["Name", "Ready", "Up-to-date", "Available", "Age"]
    assert table["rows"][0]["cells"][:4] == ["one", "0/0", 0, 0]


async def test_an_object_may_be_read_as_metadata_only(api: Api, where: Where, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    await api.create(path, {"metadata": {"name": "one", "labels": {"a": "b"}}, "stringData": {"word": "hello"}})

    accept = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
    one = await where.ask(f"{path}/one", accept.format(""))
    listed = await where.ask(path, accept.format("List"))

    assert one["kind"] == "PartialObjectMetadata"
    assert one["metadata"]["labels"] == {"a": "b"}
    assert "data" not in one
    assert listed["kind"] == "PartialObjectMetadataList"
    assert [each["metadata"]["name"] for each in listed["items"]] == ["one"]
    assert "data" not in listed["items"][0]


async def test_a_service_gets_an_address_and_keeps_it(api: Api, namespace: str) -> None:
    spec = {"selector": {"app": "one"}, "ports": [{"port": 80}]}
    made = await api.create(services(namespace), {"metadata": {"name": "one"}, "spec": spec})
    other = await api.create(services(namespace), {"metadata": {"name": "other"}, "spec": spec})

    changed = await api.patch(services(namespace, "one"), {"spec": {"ports": [{"port": 81, "targetPort": "http"}]}})
    with pytest.raises(ApiError) as refused:
        await api.patch(services(namespace, "one"), {"spec": {"clusterIP": "10.96.200.200"}})

    address = made["spec"]["clusterIP"]
    assert made["spec"]["type"] == "ClusterIP"
    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert address.startswith("10.96.")
    assert address != other["spec"]["clusterIP"]
    assert changed["spec"]["clusterIP"] == address
    assert refused.value.status == 422


@pytest.mark.parametrize("ports", [[], [{"port": 0}], [{"port": 80}, {"port": 81}]])
async def test_a_service_with_bad_ports_is_invalid(api: Api, namespace: str, ports: list[Json]) -> None:
    with pytest.raises(ApiError) as refused:
        await api.create(services(namespace), {"metadata": {"name": "one"}, "spec": {"ports": ports}})

    assert (refused.value.status, refused.value.reason) == (422, "Invalid")


async def test_a_headless_service_has_no_address(api: Api, namespace: str) -> None:
    spec = {"clusterIP": "None", "selector": {"app": "one"}}

    made = await api.create(services(namespace), {"metadata": {"name": "one"}, "spec": spec})

    assert made["spec"]["clusterIP"] == "None"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"template": {"metadata": {"labels": {"app": "else"}}, "spec": {"containers": []}}}, "spec.template"),
        ({"replicas": -1}, "spec.replicas"),
        ({"selector": None}, "spec.selector"),
    ],
)
async def test_a_deployment_that_makes_no_sense_is_invalid(api: Api, namespace: str, change: Json, text: str) -> None:
    with pytest.raises(ApiError, match=text) as refused:
        await api.create(deployments(namespace), deployment("one", **change))

    assert refused.value.status == 422


async def test_the_selector_of_a_deployment_stays(api: Api, namespace: str) -> None:
    await api.create(deployments(namespace), deployment("one"))
    labels = {"app": "one", "more": "x"}

    change = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}
    with pytest.raises(ApiError, match="immutable"):
        await api.patch(deployments(namespace, "one"), {"spec": change})
