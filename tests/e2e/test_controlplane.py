"""The sandbox's real control plane and its fake kubelet do what the other cluster tests rely on."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.controlplane import pods
from sandbox.controlplane.api import Api, ApiError, Json
from sandbox.controlplane.binaries import locate
from sandbox.controlplane.kubelet import FakeKubelet
from sandbox.controlplane.processes import ProcessRunner
from sandbox.controlplane.server import ControlPlane, User
from tests.e2e.rights import RBAC, known

pytestmark = pytest.mark.cluster
_CRDS = Path(__file__).parents[2] / "sandbox" / "crds" / "apisix.yaml"


def _deployment(name: str, replicas: int = 3, annotations: dict[str, str] | None = None, **spec: Any) -> Json:
    container = {"name": "app", "image": "app:1", **spec.pop("container", {})}
    labels = {"app": name, **spec.pop("labels", {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations or {}},
                "spec": {"containers": [container], **spec},
            },
        },
    }


def _available(replicas: int) -> Any:
    return lambda found: found.get("status", {}).get("availableReplicas", 0) == replicas


async def test_a_deployment_becomes_available_and_its_endpoints_carry_pod_addresses(
    admin: Api, kubelet: FakeKubelet, namespace: str
) -> None:
    base = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await admin.create(base, _deployment("podinfo"))
    service = {"metadata": {"name": "podinfo"}, "spec": {"selector": {"app": "podinfo"}, "ports": [{"port": 80}]}}
    await admin.create(f"/api/v1/namespaces/{namespace}/services", service)

    await admin.until(f"{base}/podinfo", _available(3))
    slices = await admin.until(
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
        lambda found: len(_addresses(found)) == 3,
    )

    assert len(set(_addresses(slices))) == 3
    assert all(address.startswith("10.128.") for address in _addresses(slices))


async def test_a_scaled_down_deployment_leaves_no_pods(admin: Api, kubelet: FakeKubelet, namespace: str) -> None:
    base = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await admin.create(base, _deployment("podinfo"))
    await admin.until(f"{base}/podinfo", _available(3))

    await admin.patch(f"{base}/podinfo", {"spec": {"replicas": 0}})

    await admin.until(f"/api/v1/namespaces/{namespace}/pods", lambda found: not found["items"])


async def test_a_pod_annotated_as_never_ready_runs_without_becoming_ready(
    admin: Api, kubelet: FakeKubelet, namespace: str
) -> None:
    base = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await admin.create(base, _deployment("broken", 1, {pods.NEVER_READY: "true"}))

    found = await admin.until(
        f"/api/v1/namespaces/{namespace}/pods",
        lambda found: found["items"] and found["items"][0]["status"]["phase"] == "Running",
    )

    assert _condition(found["items"][0], "Ready") == "False"


async def test_a_service_account_without_rights_is_refused(control_plane: ControlPlane, namespace: str) -> None:
    token = await control_plane.service_account_token(namespace, "default")

    async with control_plane.api(token) as nobody:
        with pytest.raises(ApiError, match=f"system:serviceaccount:{namespace}:default") as refused:
            await nobody.get(f"/api/v1/namespaces/{namespace}/pods")

    assert refused.value.reason == "Forbidden"


async def test_a_service_account_may_do_what_a_role_allows(
    admin: Api, control_plane: ControlPlane, namespace: str
) -> None:
    rbac = f"{RBAC}/namespaces/{namespace}"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    await admin.create(f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    await admin.create(f"{rbac}/rolebindings", {"metadata": {"name": "reader"}, "roleRef": role, "subjects": [subject]})
    await known(admin, namespace)
    token = await control_plane.service_account_token(namespace, "default")

    async with control_plane.api(token) as reader:
        found = await reader.get(f"/api/v1/namespaces/{namespace}/pods")

    assert found["items"] == []


async def test_the_apisix_route_crd_becomes_established(admin: Api) -> None:
    crd = next(yaml.safe_load_all(_CRDS.read_text()))
    base = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await admin.patch(f"{base}/{crd['metadata']['name']}", crd, "application/apply-patch+yaml", fieldManager="test")

    await admin.until(f"{base}/{crd['metadata']['name']}", lambda found: _condition(found, "Established") == "True")


async def test_kubectl_speaks_to_the_server(control_plane: ControlPlane) -> None:
    assert "Server Version: v1." in await control_plane.kubectl("version")


async def test_a_restarted_server_keeps_its_objects_and_the_kubelet_its_pods(
    admin: Api, control_plane: ControlPlane, kubelet: FakeKubelet, namespace: str
) -> None:
    base = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    await admin.create(base, _deployment("podinfo", 1))
    await admin.until(f"{base}/podinfo", _available(1))

    control_plane.kill_apiserver()
    await control_plane.start_apiserver()
    await admin.patch(f"{base}/podinfo", {"spec": {"replicas": 3}})

    await admin.until(f"{base}/podinfo", _available(3))


async def test_users_with_static_tokens_are_audited_and_everything_outlives_a_restart(tmp_path: Path) -> None:
    guest = User(name="guest", groups=["guests"])
    async with ControlPlane(tmp_path, users=[guest], audit_users=["guest"], binaries=locate()) as plane:
        async with plane.api(guest.token) as api:
            with pytest.raises(ApiError, match='User \\\\"guest\\\\"'):
                await api.get("/api/v1/nodes")
        async with plane.api() as api:
            await api.create("/api/v1/namespaces", {"metadata": {"name": "kept"}})
        token = await plane.service_account_token("default", "default")
        assert [entry["requestURI"] for entry in plane.audit()] == ["/api/v1/nodes"]

    async with ControlPlane(tmp_path, binaries=locate()) as plane:
        async with plane.api() as api:
            assert (await api.get("/api/v1/namespaces/kept"))["metadata"]["name"] == "kept"
        async with plane.api(token) as api:
            assert '"gitVersion"' in await api.text("GET", "/version")


_SERVER = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            os._exit(3)
        known = {"/env": os.environ["GREETING"], "/file": pathlib.Path(os.environ["FILE"]).read_text()}
        self.send_response(200 if self.path in known else 500 if pathlib.Path(os.environ["SICK"]).exists() else 204)
        self.end_headers()
        self.wfile.write(known.get(self.path, "").encode())
http.server.HTTPServer(("127.0.0.1", int(os.environ["SERINUS_HTTP_PORT"])), Handler).serve_forever()
"""


async def test_a_deployment_of_ours_runs_as_a_process_with_its_environment_probes_and_restarts(
    admin: Api, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    secret = {"metadata": {"name": "words"}, "stringData": {"greeting": "hello"}}
    await admin.create(f"/api/v1/namespaces/{namespace}/secrets", secret)
    probe = {"httpGet": {"path": "/ok", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
    container = {
        "command": ["python", "-c"],
        "args": [_SERVER],
        "env": [
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "words", "key": "greeting"}}},
            {"name": "GREETING", "value": "$(WORD) from $(NAMESPACE)"},
            {"name": "FILE", "value": "/etc/words/greeting"},
            {"name": "SICK", "value": "/tmp-of-pod/sick"},
        ],
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": probe,
        "livenessProbe": {**probe, "httpGet": {"path": "/alive", "port": "http"}, "failureThreshold": 5},
        "volumeMounts": [{"name": "words", "mountPath": "/etc/words"}, {"name": "tmp", "mountPath": "/tmp-of-pod"}],
    }
    volumes = [{"name": "words", "secret": {"secretName": "words"}}, {"name": "tmp", "emptyDir": {}}]
    deployment = _deployment(
        "ours", 1, container=container, volumes=volumes, labels={"app.kubernetes.io/part-of": "serinus"}
    )
    runner = ProcessRunner(admin, tmp_path)
    base = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    own_kubelet = FakeKubelet(control_plane.url, control_plane.admin_token, control_plane.ca_file, runners=[runner])

    async with own_kubelet:
        await admin.create(base, deployment)
        await admin.until(f"{base}/ours", _available(1))
        [running] = runner.containers("ours")
        assert running.process.argv[0] == sys.executable
        async with Api(f"http://127.0.0.1:{running.port}", "") as ours:
            assert await ours.text("GET", "/env") == f"hello from {namespace}"
            assert await ours.text("GET", "/file") == "hello"

        env = running.process.env or {}
        assert _read(env["SERINUS_KUBE_TOKEN_FILE"]).count(".") == 2  # a JWT

        running.process.kill()
        await _restarted(admin, namespace, 1)
        await admin.until(f"{base}/ours", _available(1))

        _make_sick(env["SICK"], sick=True)
        await admin.until(f"{base}/ours", _available(0))
        await _restarted(admin, namespace, 2)
        _make_sick(env["SICK"], sick=False)
        await admin.until(f"{base}/ours", _available(1))

    assert not running.process.alive


def _read(path: str) -> str:
    return Path(path).read_text()


def _make_sick(path: str, *, sick: bool) -> None:
    Path(path).touch() if sick else Path(path).unlink()


async def _restarted(admin: Api, namespace: str, times: int) -> None:
    def restarts(found: Json) -> int:
        return int(found["items"][0]["status"]["containerStatuses"][0]["restartCount"])

    await admin.until(f"/api/v1/namespaces/{namespace}/pods", lambda found: restarts(found) >= times)


def _addresses(slices: Json) -> list[str]:
    ready = [
        end for each in slices["items"] for end in each.get("endpoints") or [] if end.get("conditions", {}).get("ready")
    ]
    return [address for end in ready for address in end["addresses"]]


def _condition(found: Json, kind: str) -> str:
    conditions = found.get("status", {}).get("conditions") or []
    return next((str(c["status"]) for c in conditions if c["type"] == kind), "missing")
