"""nkeys and certificates as docs/install.md has them: the commands, what they print applied to the cluster, and the NATS
beside the cluster told of it as its pods would be.
"""

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any, Final

from sandbox import installed
from sandbox.controlplane.server import ControlPlane
from sandbox.stage import Options, Stage
from shared.bus import accounts, certificates, credentials

_ROOT: Final = Path(__file__).parents[2]
_K8S: Final = _ROOT / "k8s"
_USERS: Final = tuple(user.name for user in accounts.USERS)


class Keyring:
    """`overlay` is the kustomization that is installed: the cluster tests' with the components `nkeys` and `nats-tls`."""

    def __init__(self, folder: Path) -> None:
        self.overlay, self.image = folder / "my-serinus", "test"
        self._accounts, self._tls = self.overlay / "accounts.conf", folder / "serinus-nats-tls"
        self._seeds: dict[str, str] = {}
        self._ca = ""
        self._printed = ("", "")

    async def options(self, **more: Any) -> Options:
        """Made before anything runs: NATS has them from the beginning."""
        for folder in (self.overlay, self._tls):
            folder.mkdir()
        self._printed = await self._credentials(), await self._certificates()
        return Options(nats_accounts=self._accounts, nats_tls=self._tls, **more)

    async def install(self, plane: ControlPlane, stage: Stage) -> Path:
        """The first Secrets, as `installed.Credentials`."""
        keys, tls = self._printed
        await _applied(plane, keys)
        await plane.kubectl("-n", installed.NAMESPACE, "create", "-f", "-", stdin=tls)
        stage.nats.seeds = self._seeds
        self._write()
        return self.overlay

    async def apply(self, plane: ControlPlane) -> None:
        """`kubectl apply -k`."""
        self._write()
        await plane.kubectl("apply", "-k", str(self.overlay))

    def _write(self) -> None:
        up = Path(*[".."] * (len(self.overlay.parts) - 1), *_K8S.parts[1:])  # kustomize takes no absolute paths
        (self.overlay / "kustomization.yaml").write_text(
            f"namespace: {installed.NAMESPACE}\n"
            f"resources: [{up}/overlays/test]\n"
            f"components: [{up}/components/nkeys, {up}/components/nats-tls]\n"
            f"images: [{{name: serinus, newTag: {self.image}}}]\n"
            "configMapGenerator:\n"
            f"  - {{name: serinus-nats, namespace: {installed.NAMESPACE}, behavior: merge, files: [accounts.conf]}}\n"
        )

    async def keys(self, plane: ControlPlane, stage: Stage, *step: str) -> None:
        """A step with the nkeys; NATS starts anew, as its pods do when their ConfigMap changes."""
        await _applied(plane, await self._credentials(*step))
        await self.apply(plane)
        stage.nats.seeds = self._seeds
        await stage.nats.restart()

    async def certificates(self, plane: ControlPlane, *step: str) -> None:
        """A step with the certificates. Who holds old ones has them until it starts anew."""
        await _applied(plane, await self._certificates(*step, "-"))

    async def _credentials(self, *step: str) -> str:
        printed = await _bootstrap("credentials", *step, str(self._accounts))
        for name, data in _secrets(printed).items():
            self._seeds |= {user: data["seed"] for user in _USERS if name == credentials.secret_name(user)}
        return printed

    async def _certificates(self, *step: str) -> str:
        printed = await _bootstrap("credentials", "--tls", "--name", "127.0.0.1", *step, stdin=self._ca)
        found = _secrets(printed)
        for key, value in found[certificates.SERVER_SECRET].items():
            (self._tls / key).write_text(value)
        items = json.loads(printed)["items"]
        self._ca = next(json.dumps(each) for each in items if each["metadata"]["name"] == certificates.CA_SECRET)
        return printed


def _secrets(printed: str) -> dict[str, dict[str, str]]:
    items = json.loads(printed)["items"] if printed else []
    return {
        each["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
        for each in items
    }


async def _applied(plane: ControlPlane, printed: str) -> None:
    if printed:
        kubectl = ("-n", installed.NAMESPACE, "apply", "--server-side", "--force-conflicts", "-f", "-")
        await plane.kubectl(*kubectl, stdin=printed)


async def _bootstrap(*arguments: str, stdin: str = "") -> str:
    """`python -m shared.bus.bootstrap …`; what it printed."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shared.bus.bootstrap", *arguments,
        cwd=_ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, complaint = await child.communicate(stdin.encode())
    assert child.returncode == 0, complaint.decode()
    return printed.decode()
