"""A container's environment and volumes as a kubelet would make them, read through the API like a kubelet does.

The manifests are what the cluster tests test, so a missing Secret or key, or a field we don't know, is an error here
as it would be there.
"""

import base64
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from sandbox.controlplane.api import Api, ApiError, Json

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z0-9_.-]+)\)")

Token = Callable[[int], Awaitable[str]]


class CannotStart(Exception):
    """The container's configuration can't be resolved (a kubelet's CreateContainerConfigError)."""


async def variables(api: Api, pod: Json, container: Json) -> dict[str, str]:
    """The variables of `envFrom` and `env`; later ones win, and a value may refer to those before it."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for kind, ref in _references(source, "configMapRef", "secretRef"):
            data = await _data(api, pod, kind, ref["name"], optional=ref.get("optional", False))
            found |= {source.get("prefix", "") + key: value.decode() for key, value in data.items()}
    for entry in container.get("env", []):
        value = await _value(api, pod, entry)
        if value is not None:
            found[entry["name"]] = expand(value, found)
    return found


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace $(NAME) by a known variable; an unknown one stays as it is and $$ is a dollar sign, as in Kubernetes."""
    return _REFERENCE.sub(lambda m: "$" if m[1] is None else known.get(m[1], m[0]), text)


async def mounts(api: Api, pod: Json, container: Json, folder: Path, token: Token) -> dict[str, str]:
    """Write the container's volumes below `folder`; answers which local path stands for each path of its mounts."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    places = {}
    for mount in container.get("volumeMounts", []):
        place = folder / mount["name"]
        if not place.exists():  # the containers of a pod share its volumes
            files = await _files(api, pod, volumes[mount["name"]], token)
            place.mkdir(parents=True)
            for name, content in files.items():
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).write_bytes(content)
        places[mount["mountPath"].rstrip("/")] = str(place / mount.get("subPath", ""))
    return places


def relocate(text: str, places: Mapping[str, str]) -> str:
    """Point a path in a mounted folder to where that folder really is: processes here share one file system."""
    for mounted, place in places.items():
        if text == mounted or text.startswith(mounted + "/"):
            return place + text[len(mounted) :]
    return text


async def _files(api: Api, pod: Json, volume: Json, token: Token) -> dict[str, bytes]:
    if "emptyDir" in volume:
        return {}
    if "secret" in volume:
        source = {**volume["secret"], "name": volume["secret"]["secretName"]}
        return await _projection(api, pod, "secrets", source)
    if "configMap" in volume:
        return await _projection(api, pod, "configmaps", volume["configMap"])
    if "projected" in volume:
        files: dict[str, bytes] = {}
        for source in volume["projected"]["sources"]:
            files |= await _projected(api, pod, source, token)
        return files
    raise CannotStart(f"volume {volume['name']}: the fake kubelet doesn't know its kind")


async def _projected(api: Api, pod: Json, source: Json, token: Token) -> dict[str, bytes]:
    if wanted := source.get("serviceAccountToken"):
        return {wanted["path"]: (await token(wanted.get("expirationSeconds", 3600))).encode()}
    if api_source := source.get("downwardAPI"):
        items = api_source["items"]
        return {item["path"]: field(pod, item["fieldRef"]["fieldPath"]).encode() for item in items}
    if source.get("configMap", {}).get("name") == "kube-root-ca.crt":  # its controller doesn't run here
        return {"ca.crt": api.ca_file.read_bytes() if api.ca_file else b""}
    for kind, ref in _references(source, "configMap", "secret"):
        return await _projection(api, pod, kind, ref)
    raise CannotStart(f"projected volume: the fake kubelet doesn't know {sorted(source)}")


async def _projection(api: Api, pod: Json, kind: str, source: Json) -> dict[str, bytes]:
    data = await _data(api, pod, kind, source["name"], optional=source.get("optional", False))
    if "items" not in source:
        return data
    try:
        return {item["path"]: data[item["key"]] for item in source["items"]}
    except KeyError as key:
        raise CannotStart(f"{kind} {source['name']} has no {key}") from None


async def _value(api: Api, pod: Json, entry: Json) -> str | None:
    source = entry.get("valueFrom")
    if source is None:
        return str(entry.get("value", ""))
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    for kind, ref in _references(source, "configMapKeyRef", "secretKeyRef"):
        optional = ref.get("optional", False)
        data = await _data(api, pod, kind, ref["name"], optional=optional)
        if ref["key"] in data:
            return data[ref["key"]].decode()
        if optional:
            return None
        raise CannotStart(f"{kind} {ref['name']} has no key {ref['key']}")
    raise CannotStart(f"variable {entry['name']}: the fake kubelet doesn't know {sorted(source)}")


def field(pod: Json, path: str) -> str:
    """A field of the pod by its downward API path."""
    if found := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(pod["metadata"].get(found[1], {}).get(found[2], ""))
    part, _, name = path.partition(".")
    if path not in ("metadata.name", "metadata.namespace", "metadata.uid", "status.podIP", "status.hostIP") and (
        path not in ("spec.nodeName", "spec.serviceAccountName")
    ):
        raise CannotStart(f"fieldRef {path}: the fake kubelet doesn't know it")
    return str(pod[part].get(name, ""))


def _references(source: Json, config: str, secret: str) -> Sequence[tuple[str, Json]]:
    return [(kind, source[key]) for kind, key in (("configmaps", config), ("secrets", secret)) if key in source]


async def _data(api: Api, pod: Json, kind: str, name: str, *, optional: bool) -> dict[str, bytes]:
    try:
        found = await api.get(f"/api/v1/namespaces/{pod['metadata']['namespace']}/{kind}/{name}")
    except ApiError as error:
        if error.status != 404:
            raise
        if optional:
            return {}
        raise CannotStart(f"{kind} {name} not found") from error
    data: dict[str, str] = found.get("data") or {}
    if kind == "secrets":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = found.get("binaryData") or {}
    plain = {key: value.encode() for key, value in data.items()}
    return plain | {key: base64.b64decode(value) for key, value in binary.items()}
