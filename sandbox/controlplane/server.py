"""Starts and ends a real control plane on the loopback: etcd, kube-apiserver, kube-controller-manager.

There are no nodes: `kubelet.FakeKubelet` plays them. Chaos tests kill and restart the API server through `ControlPlane`.
"""

import asyncio
import contextlib
import csv
import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from sandbox.controlplane import signing
from sandbox.controlplane.api import Api, ApiError, Json
from sandbox.controlplane.binaries import Binaries, ensure
from sandbox.ports import free_port
from sandbox.process import Process, ProcessFailed, written

_ISSUER = "https://kubernetes.default.svc"
# Everything the cluster tests need and nothing that wants nodes; an unknown name makes the controller manager exit.
_GO = {"GOGC": "400"}
"""Go's collector runs at twice the heap that lives; later, a sixth of the servers' processor time is saved (measured: 40 → 33 s), and
a fifth of kubectl's."""
_CONTROLLERS = (
    "deployment,replicaset,garbagecollector,namespace,endpoint,endpointslice,serviceaccount,serviceaccount-token,"
    "horizontalpodautoscaling,statefulset,daemonset,job,podgc,disruption"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A user with a static token. RBAC decides about it like about anybody."""

    name: str
    groups: Sequence[str] = ()
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))


class ControlPlane:
    """A control plane in the folder `data`, which may hold what an earlier one left there.

    `audit_users` are the users whose requests are written to the audit log: the only exact way to count what one
    client asks, since the server's metrics know no users. A service account is `system:serviceaccount:<ns>:<name>`.
    """

    def __init__(
        self,
        data: Path,
        *,
        users: Sequence[User] = (),
        audit_users: Sequence[str] = (),
        binaries: Binaries | None = None,
    ) -> None:
        self.data = data.resolve()
        self.admin = User(name="admin", groups=["system:masters"])
        self.port = free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.audit_log = self.data / "audit.log"
        self.ca_file = self.data / "tls" / "apiserver.crt"  # signed by itself, so it is its own authority
        self._users = [self.admin, *users]
        self._audit_users = list(audit_users)
        self._binaries = binaries
        self._etcd_port = free_port()
        self._processes: dict[str, Process] = {}

    @property
    def admin_token(self) -> str:
        """The token of a user who may do everything."""
        return self.admin.token

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, timeout: float = 120.0) -> None:
        """Start everything and wait until it serves; what is missing on this machine is built first (minutes)."""
        found = await asyncio.to_thread(ensure) if self._binaries is None else self._binaries
        self._binaries = found
        self._write_files()
        self.kubeconfig(self.data / "admin.kubeconfig", self.admin_token)
        self._processes = {
            "etcd": self._process("etcd", found.etcd, self._etcd_flags()),
            "apiserver": self._process("apiserver", found.kube_apiserver, self._apiserver_flags()),
            "controllers": self._process("controllers", found.kube_controller_manager, self._kcm_flags()),
        }
        try:
            self._processes["etcd"].start()
            self._processes["apiserver"].start()
            await self.ready(timeout)
            self._processes["controllers"].start()
            async with self.api() as api:
                # The first thing the controllers make: the sign that they work.
                path = "/api/v1/namespaces/default/serviceaccounts/default"
                await api.until(path, lambda _: True, timeout=timeout)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End everything. etcd gets the time to close its files, the others hold nothing worth waiting for."""
        for name in ("controllers", "apiserver"):
            if name in self._processes:
                self._processes[name].kill()
        if "etcd" in self._processes:
            await self._processes["etcd"].stop(5.0)

    async def ready(self, timeout: float = 120.0) -> None:
        """Wait until the API server serves; raises ProcessFailed when it (or etcd) ended, TimeoutError after `timeout`."""
        deadline = time.monotonic() + timeout
        while True:
            for name in ("etcd", "apiserver"):
                self._processes[name].check()
            # OSError: its certificate is half written.
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, ApiError, OSError):
                if self.ca_file.exists():
                    async with self.api() as api:
                        await api.text("GET", "/readyz", timeout=2.0)
                        return
            if time.monotonic() > deadline:
                raise TimeoutError(f"no API server after {timeout} s:\n{self._processes['apiserver'].log_tail()}")
            await asyncio.sleep(0.1)

    def kill_apiserver(self) -> None:
        """End the API server as a crash would. Watches break at once; `start_apiserver` brings it back."""
        self._processes["apiserver"].kill()

    async def start_apiserver(self) -> None:
        """Start the API server again, on its old port, and wait until it serves."""
        self._processes["apiserver"].start()
        await self.ready()

    async def restart_apiserver(self) -> None:
        """What an upgrade does to a single API server: an orderly end, then a start."""
        await self._processes["apiserver"].stop(10.0)
        await self.start_apiserver()

    def process(self, name: str) -> Process:
        """The process "etcd", "apiserver" or "controllers", for tests that stop or measure it."""
        return self._processes[name]

    def api(self, token: str | None = None) -> Api:
        """A client; the admin's unless another token is given. Enter it with `async with`."""
        return Api(self.url, token or self.admin_token, self.ca_file)

    async def service_account_token(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """A token of an existing service account, as a kubelet would mount it."""
        async with self.api() as api:
            return await service_account_token(api, namespace, name, seconds)

    def kubeconfig(self, path: Path, token: str | None = None, namespace: str = "default") -> Path:
        """Write a kubeconfig for a token (the admin's unless another is given)."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sandbox",
            "contexts": [
                {"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox", "namespace": namespace}}
            ],
            "clusters": [
                {"name": "sandbox", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}
            ],
            "users": [{"name": "sandbox", "user": {"token": token or self.admin_token}}],
        }
        path.write_text(json.dumps(config, indent=2))  # JSON is YAML
        path.chmod(0o600)
        return path

    def shell(self) -> dict[str, str]:
        """Variables with which kubectl is the admin's, and keeps what it learns of the server out of the home folder."""
        return {"KUBECONFIG": str(self.data / "admin.kubeconfig"), "KUBECACHEDIR": str(self.data / "kubectl")}

    async def kubectl(self, *args: str, stdin: str | None = None) -> str:
        """Run kubectl as the admin; answers what it printed, raises ProcessFailed with its complaint."""
        assert self._binaries, "start() comes first"
        child = await asyncio.create_subprocess_exec(
            self._binaries.kubectl,
            *args,
            env={**os.environ, **_GO, **self.shell()},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            printed, complaint = await child.communicate((stdin or "").encode())
        finally:
            if child.returncode is None:  # whoever waited for it was cancelled
                child.kill()
                await child.wait()
        if child.returncode:
            raise ProcessFailed(f"kubectl {' '.join(args)}: {complaint.decode()}")
        return printed.decode()

    def audit(self) -> list[Json]:
        """The audited requests so far, in the order in which they were answered."""
        if not self.audit_log.exists():
            return []
        return [json.loads(line) for line in written(self.audit_log)]

    def _process(self, name: str, program: Path, flags: Sequence[str]) -> Process:
        environment = {**os.environ, **_GO}
        return Process(name, [program, *flags], log=self.data / "logs" / f"{name}.log", env=environment)

    def _write_files(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        key = self.data / "service-accounts.key"
        if not key.exists():  # a second start in the same folder has to accept the first one's tokens
            key.write_text(signing.private_key_pem())
            key.chmod(0o600)
        with (self.data / "tokens.csv").open("w", newline="") as tokens:
            csv.writer(tokens).writerows([u.token, u.name, u.name, ",".join(u.groups)] for u in self._users)
        rules: list[Json] = [{"level": "None"}]
        if self._audit_users:
            rules.insert(0, {"level": "Metadata", "users": self._audit_users, "omitStages": ["RequestReceived"]})
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}
        (self.data / "audit-policy.yaml").write_text(json.dumps(policy))

    def _etcd_flags(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{free_port()}"
        return [
            f"--data-dir={self.data / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # the data are a test's
            "--election-timeout=500",  # the least; by default the one member takes a second to elect itself
            "--log-level=warn",
        ]

    def _apiserver_flags(self) -> list[str]:
        key = self.data / "service-accounts.key"
        flags = [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.ca_file.parent}",
            "--endpoint-reconciler-type=none",  # it would refuse a loopback address as endpoint
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.data / 'tokens.csv'}",
            f"--service-account-issuer={_ISSUER}",
            f"--api-audiences={_ISSUER}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            # No volumes with tokens: there is nobody to mount them. And nobody has mutating policies, for which one plugin asks
            # the server for its OpenAPI again and again.
            "--disable-admission-plugins=ServiceAccount,MutatingAdmissionPolicy",
            "--shutdown-watch-termination-grace-period=1s",  # without it an orderly end waits for watches for a minute
            "--profiling=false",
        ]
        if self._audit_users:
            flags += [f"--audit-policy-file={self.data / 'audit-policy.yaml'}", f"--audit-log-path={self.audit_log}"]
        return flags

    def _kcm_flags(self) -> list[str]:
        return [
            f"--kubeconfig={self.data / 'admin.kubeconfig'}",
            f"--service-account-private-key-file={self.data / 'service-accounts.key'}",
            f"--controllers={_CONTROLLERS}",
            "--leader-elect=false",
            "--secure-port=0",  # nobody asks it anything
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]


async def service_account_token(api: Api, namespace: str, name: str, seconds: int = 3600) -> str:
    """Ask the API server for a token of an existing service account."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds},
    }
    answer = await api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", request)
    return str(answer["status"]["token"])
