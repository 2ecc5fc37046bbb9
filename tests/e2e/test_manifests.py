"""What `k8s/` holds is taken by a real API server, and gives each service the rights it needs and no others."""

import asyncio
import base64
import os
import re
import sys
from collections.abc import AsyncIterator, Iterable
from copy import deepcopy
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from sandbox.controlplane.api import Api, ApiError, Json
from sandbox.controlplane.server import ControlPlane
from sandbox.process import ProcessFailed
from shared.bus import accounts
from shared.wire import subjects
from tests.e2e.rights import EVERYTHING, RBAC, RIGHTS, known, may

pytestmark = pytest.mark.cluster
_K8S = Path(__file__).parents[2] / "k8s"
_SERVICES = ("bootstrap", "watcher", "analyzer", "router", "notifier")


def around(folder: Path, namespace: str, *parts: str, components: Iterable[str] = (), suffix: str = "") -> Path:
    """A kustomization around parts of `k8s/`, as a user writes one, for a namespace of the test's own."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "namespace": namespace,
        "nameSuffix": suffix,
        "resources": [os.path.relpath(_K8S / part, folder) for part in parts],
        "components": [os.path.relpath(_K8S / "components" / name, folder) for name in components],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    return folder


async def built(control_plane: ControlPlane, path: Path) -> list[Json]:
    """What kustomize makes of a folder."""
    return [each for each in yaml.safe_load_all(await control_plane.kubectl("kustomize", str(path))) if each]


@pytest_asyncio.fixture
async def restricted(admin: Api, namespace: str) -> str:
    """A namespace that admits restricted pods only."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    await admin.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": label}})
    return namespace


async def test_the_parts_beside_the_overlays_are_accepted(control_plane: ControlPlane, namespace: str) -> None:
    example = (_K8S / "examples/named-secrets.yaml").read_text().replace("namespace: test", f"namespace: {namespace}")
    for flag, path in (("-k", str(_K8S / "crds")), ("-k", str(_K8S / "rbac/crds")), ("-f", "-")):
        printed = await control_plane.kubectl(
            "apply", "--server-side", "--dry-run=server", flag, path, stdin=example if path == "-" else None
        )
        assert "serverside-applied (server dry run)" in printed


async def test_every_pod_is_admitted_where_only_restricted_ones_are(
    control_plane: ControlPlane, admin: Api, restricted: str
) -> None:
    pods = f"/api/v1/namespaces/{restricted}/pods"
    careless = {"metadata": {"name": "careless"}, "spec": {"containers": [{"name": "app", "image": "app"}]}}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        await admin.request("POST", pods, body=careless, query={"dryRun": "All"})
    workloads = [
        each for each in await built(control_plane, _K8S / "overlays/apisix") if "template" in each.get("spec", {})
    ]
    assert {each["metadata"]["name"] for each in workloads} == {
        "flagger-prometheus", "serinus-nats", *(f"serinus-{name}" for name in _SERVICES),
    }  # fmt: skip
    for workload in workloads:
        template = workload["spec"]["template"]
        pod = {"metadata": {**template["metadata"], "name": workload["metadata"]["name"]}, "spec": template["spec"]}
        for claim in workload["spec"].get("volumeClaimTemplates", []):
            name = claim["metadata"]["name"]
            pod["spec"].setdefault("volumes", []).append({"name": name, "emptyDir": {}})
        await admin.request("POST", pods, body=pod, query={"dryRun": "All"})


async def test_the_namespaced_overlay_holds_nothing_of_the_whole_cluster(control_plane: ControlPlane) -> None:
    objects = await built(control_plane, _K8S / "overlays/namespaced")
    assert {each["metadata"].get("namespace") for each in objects} == {"test"}


async def test_the_tests_install_what_users_install(control_plane: ControlPlane) -> None:
    """Only addresses, images and numbers of replicas differ."""
    ours = await built(control_plane, _K8S / "overlays/test")
    users = await built(control_plane, _K8S / "overlays/apisix")
    changed = {"SERINUS_NATS_URL", "SERINUS_NATS_REPLICAS", "SERINUS_METRICS_SERVER"}
    assert _comparable(ours, changed) == _comparable(users, changed)


def _comparable(objects: list[Json], changed: set[str]) -> dict[str, Json]:
    found = {}
    for each in deepcopy(objects):
        name = re.sub(r"^(serinus-settings)-\w+$", r"\1", each["metadata"]["name"])
        each["metadata"]["name"] = name
        each.get("spec", {}).pop("replicas", None)
        for container in each.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
            container.pop("image")
            for source in container.get("envFrom", []):
                if "configMapRef" in source:
                    source["configMapRef"]["name"] = "serinus-settings"
        if name == "serinus-settings":
            assert changed <= each["data"].keys()
            each["data"] = {key: value for key, value in each["data"].items() if key not in changed}
        found[f"{each['kind']}/{name}"] = each
    return found


async def test_with_autoscaling_the_number_of_replicas_is_kedas(control_plane: ControlPlane, tmp_path: Path) -> None:
    folder = around(tmp_path, "apisix", "overlays/apisix", components=["autoscaling"])
    objects = {f"{each['kind']}/{each['metadata']['name']}": each for each in await built(control_plane, folder)}
    assert "replicas" not in objects["Deployment/serinus-analyzer"]["spec"]
    scaled = objects["ScaledObject/serinus-analyzer"]["spec"]
    assert scaled["scaleTargetRef"] == {"name": "serinus-analyzer"}
    (trigger,) = scaled["triggers"]
    wanted = trigger["metadata"]
    assert (wanted["account"], wanted["stream"], wanted["consumer"]) == (
        accounts.SERINUS, subjects.TICK_STREAM, subjects.ANALYZER_DURABLE,
    )  # fmt: skip
    service, namespace, _ = wanted["natsServerMonitoringEndpoint"].split(".", 2)
    assert namespace == objects[f"Service/{service}"]["metadata"]["namespace"]
    assert 8222 in {port["port"] for port in objects[f"Service/{service}"]["spec"]["ports"]}


async def test_the_passwords_are_made_once_and_are_all_different(
    control_plane: ControlPlane, admin: Api, namespace: str
) -> None:
    script = await asyncio.create_subprocess_exec("sh", str(_K8S / "nats/passwords.sh"), stdout=asyncio.subprocess.PIPE)
    printed, _ = await script.communicate()
    await control_plane.kubectl("-n", namespace, "create", "-f", "-", stdin=printed.decode())
    secret = await admin.get(f"/api/v1/namespaces/{namespace}/secrets/serinus-nats")
    passwords = [base64.b64decode(value).decode() for value in secret["data"].values()]
    assert len(passwords) == len(set(passwords)) == len(accounts.USERS) + 1
    assert all(re.fullmatch(r"p[0-9a-f]{48}", password) for password in passwords)
    with pytest.raises(ProcessFailed, match="AlreadyExists"):
        await control_plane.kubectl("-n", namespace, "create", "-f", "-", stdin=printed.decode())


async def test_every_seed_that_a_pod_mounts_is_one_that_the_command_prints(
    control_plane: ControlPlane, admin: Api, namespace: str, tmp_path: Path
) -> None:
    folder = around(tmp_path, namespace, "overlays/apisix", components=["nkeys"])
    printed = await _credentials(folder / "accounts.conf")
    # Passwords were in use before: their Secret stays, so that servers which restart one by one go on knowing each other.
    words = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: serinus-nats}\nstringData: {NATS_PASSWORD_ROUTES: pbefore}\n"
    )
    await control_plane.kubectl("-n", namespace, "create", "-f", "-", stdin=words)
    with pytest.raises(ProcessFailed, match='conflict with "kubectl-create"'):
        await control_plane.kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=printed)
    mounted = {}
    for service in _SERVICES:
        pod = await _pod(control_plane, folder, f"serinus-{service}")
        environment = {each["name"]: each.get("value", "") for each in pod["containers"][0]["env"]}
        assert not [name for name in environment if "PASSWORD" in name]
        secrets = {each["name"]: each["secret"]["secretName"] for each in pod["volumes"]}
        for mount in pod["containers"][0]["volumeMounts"]:
            assert f"{mount['mountPath']}/seed" in environment.values()
            mounted[service, mount["mountPath"]] = secrets[mount["name"]]
    assert set(mounted.values()) == {f"serinus-nats-{user}" for user in (*_SERVICES, "public-bootstrap")}
    for (service, path), name in mounted.items():
        assert name == f"serinus-nats-{'public-' if 'public' in path else ''}{service}"
        secret = await admin.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
        assert base64.b64decode(secret["data"]["seed"]).startswith(b"SU")
    secret = await admin.get(f"/api/v1/namespaces/{namespace}/secrets/serinus-nats")
    assert base64.b64decode(secret["data"]["NATS_PASSWORD_ROUTES"]) == b"pbefore"


async def test_the_first_seeds_bring_the_word_between_servers_along(
    control_plane: ControlPlane, admin: Api, namespace: str, tmp_path: Path
) -> None:
    await control_plane.kubectl(
        "-n", namespace, "apply", "--server-side", "-f", "-", stdin=await _credentials(tmp_path / "accounts.conf")
    )
    secret = await admin.get(f"/api/v1/namespaces/{namespace}/secrets/serinus-nats")
    assert re.fullmatch(rb"p[0-9a-f]{48}", base64.b64decode(secret["data"]["NATS_PASSWORD_ROUTES"]))


async def _credentials(file: Path) -> str:
    """What the command prints."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shared.bus.bootstrap", "credentials", str(file),
        cwd=_K8S.parent, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await child.communicate()
    assert child.returncode == 0
    return printed.decode()


async def test_with_tls_the_key_is_the_servers_and_everybody_trusts_the_ca(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    folder = around(tmp_path, "apisix", "overlays/small", components=["nats-tls", "nkeys"])
    for service in _SERVICES:
        pod = await _pod(control_plane, folder, f"serinus-{service}")
        (trust,) = (each["secret"] for each in pod["volumes"] if each["secret"]["secretName"] == "serinus-nats-tls")
        assert [item["key"] for item in trust["items"]] == ["ca.crt"]
    objects = await built(control_plane, folder)
    maps = {
        re.sub(r"-\w+$", "", each["metadata"]["name"]): each["data"] for each in objects if each["kind"] == "ConfigMap"
    }
    config, settings = maps["serinus-nats"], maps["serinus-settings"]
    assert config["tls.conf"] == (_K8S / "components/nats-tls/tls.conf").read_text()
    assert config["cluster.conf"] == (_K8S / "overlays/small/cluster.conf").read_text()
    assert settings["SERINUS_NATS_URL"].startswith("tls://")


async def test_with_a_nats_of_ones_own_none_is_installed_and_our_pods_may_leave_for_it(
    control_plane: ControlPlane,
) -> None:
    objects = await built(control_plane, _K8S / "overlays/own-nats")
    assert "StatefulSet" not in {each["kind"] for each in objects}
    (policy,) = (each["spec"] for each in objects if each["metadata"]["name"] == "serinus-own-nats")
    assert policy["egress"] == [{"ports": [{"port": 4222}]}]


async def _pod(control_plane: ControlPlane, folder: Path, name: str) -> Json:
    """What the Deployment of this name makes."""
    (found,) = (
        each["spec"]["template"]["spec"]
        for each in await built(control_plane, folder)
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", name)
    )
    return dict(found)


# --- rights ------------------------------------------------------------------------------------------------------


class Granted:
    """RBAC objects of a kustomization, in the cluster until the test ends, under names of the test's own."""

    def __init__(self, control_plane: ControlPlane, admin: Api, namespace: str, folder: Path) -> None:
        self._control_plane, self._admin, self.namespace, self._folder = control_plane, admin, namespace, folder
        self._made: list[str] = []

    async def grant(self, *parts: str) -> None:
        """Apply the RBAC of these folders of `k8s/rbac`."""
        folder = around(
            self._folder, self.namespace, "base", *(f"rbac/{part}" for part in parts), suffix=f"-{self.namespace}"
        )
        for each in await built(self._control_plane, folder):
            if each["apiVersion"].startswith("rbac."):
                scope = f"/namespaces/{self.namespace}" if "namespace" in each["metadata"] else ""
                path = f"{RBAC}{scope}/{each['kind'].lower()}s"
                await self._admin.create(path, each)
                self._made.append(f"{path}/{each['metadata']['name']}")
        await self.known()

    async def known(self) -> None:
        """Wait until the server goes by what was granted."""
        self._made += await known(self._admin, self.namespace)

    async def of(self, service: str, namespace: str) -> set[tuple[str, str]]:
        """(verb, resource) of everything that the service's account may do there; "" is all namespaces."""
        user = f"system:serviceaccount:{self.namespace}:serinus-{service}-{self.namespace}"
        answers = await asyncio.gather(*(may(self._admin, user, namespace, *each) for each in EVERYTHING))
        return {right for right, allowed in zip(EVERYTHING, answers, strict=True) if allowed}

    async def revoke(self) -> None:
        for path in self._made:
            await self._admin.delete(path)


@pytest_asyncio.fixture
async def granted(control_plane: ControlPlane, admin: Api, namespace: str, tmp_path: Path) -> AsyncIterator[Granted]:
    found = Granted(control_plane, admin, namespace, tmp_path)
    yield found
    await found.revoke()


def _expected(service: str, *parts: str) -> set[tuple[str, str]]:
    return {
        (verb, resource)
        for part in parts
        for resource, verbs in RIGHTS.get((service, part), {}).items()
        for verb in verbs.split()
    }


async def test_rights_over_the_cluster_are_exactly_these(granted: Granted) -> None:
    await granted.grant("cluster", "cluster-configs", "cluster-secrets")
    for service in _SERVICES:
        assert await granted.of(service, "") == _expected(service, "base", "crds", "configs", "secrets"), service


async def test_without_config_tracking_nobody_reads_a_config(granted: Granted) -> None:
    await granted.grant("cluster")
    for service in _SERVICES:
        rights = await granted.of(service, "")
        assert rights == _expected(service, "base", "crds"), service
        assert not {resource for _, resource in rights} & {"secrets", "configmaps"}


async def test_rights_in_one_namespace_end_there(granted: Granted) -> None:
    await granted.grant("namespace", "namespace-configs", "namespace-secrets")
    for service in _SERVICES:
        assert await granted.of(service, granted.namespace) == _expected(service, "base", "configs", "secrets"), service
        assert await granted.of(service, "") == set(), service
        assert await granted.of(service, "default") == set(), service


async def test_whoever_runs_per_namespace_may_still_look_at_definitions(
    granted: Granted, control_plane: ControlPlane
) -> None:
    await control_plane.kubectl("apply", "-k", str(_K8S / "rbac/crds"))
    try:
        await granted.known()
        assert await granted.of("router", "") == _expected("router", "crds")
    finally:
        await control_plane.kubectl("delete", "-k", str(_K8S / "rbac/crds"))
