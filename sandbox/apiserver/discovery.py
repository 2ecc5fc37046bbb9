"""What clients ask before they ask for objects: groups, versions, kinds, and how much of OpenAPI kubectl can't do without.

The OpenAPI documents name kinds and operations and describe no field: enough for kubectl to leave validation to us.
"""

from typing import Final

from sandbox.apiserver import subresources
from sandbox.apiserver.kinds import Json, Resource
from sandbox.apiserver.registry import Registry

VERSION: Final = {"major": "1", "minor": "36", "gitVersion": "v1.36.3", "platform": "linux/amd64"}
_VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]


def document(registry: Registry, path: str) -> Json | None:
    """The document under a path, None for a path that isn't discovery's."""
    match path.strip("/").split("/"):
        case ["version"]:
            return dict(VERSION)
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            groups = sorted({each.group for each in registry.all() if each.group})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(registry, each) for each in groups]}
        case ["api", version]:
            return _resources(registry, "", version)
        case ["apis", group]:
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(registry, group)} if _of(registry, group) else None
        case ["apis", group, version]:
            return _resources(registry, group, version)
        case ["openapi", "v3"]:
            paths = sorted({_root(each) for each in registry.all()})
            return {"paths": {each: {"serverRelativeURL": f"/openapi/v3/{each}"} for each in paths}}
        case ["openapi", "v3", *rest]:
            return _openapi(registry, "/".join(rest))
    return None


def _of(registry: Registry, group: str) -> list[Resource]:
    return [each for each in registry.all() if each.group == group]


def _group(registry: Registry, group: str) -> Json:
    versions = list(dict.fromkeys(each.version for each in _of(registry, group)))
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _resources(registry: Registry, group: str, version: str) -> Json | None:
    found = [each for each in _of(registry, group) if each.version == version]
    if not found:
        return None
    listed = [entry for each in found for entry in _entries(each)]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": found[0].api_version,
        "resources": listed,
    }


def _entries(resource: Resource) -> list[Json]:
    entry: Json = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _VERBS,
    }
    if resource.short:
        entry["shortNames"] = list(resource.short)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    below = [_below(resource, *each) for each in subresources.allowed(resource)]
    return [entry, *below]


def _below(resource: Resource, name: str, api_version: str, kind: str) -> Json:
    group, _, version = api_version.rpartition("/")
    where = {"group": group, "version": version} if api_version != resource.api_version else {}
    verbs = ["create"] if name in ("binding", "token") else ["get", "patch", "update"]
    head = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    return {**head, **where, "kind": kind, "verbs": verbs}


def _root(resource: Resource) -> str:
    return f"apis/{resource.group}/{resource.version}" if resource.group else f"api/{resource.version}"


def _openapi(registry: Registry, root: str) -> Json | None:
    found = [each for each in registry.all() if _root(each) == root]
    if not found:
        return None
    paths = {}
    for each in found:
        kind = {"group": each.group, "version": each.version, "kind": each.kind}
        operation = {
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {},
            "x-kubernetes-group-version-kind": kind,
        }
        namespace = "/namespaces/{namespace}" if each.namespaced else ""
        paths[f"/{root}{namespace}/{each.plural}/{{name}}"] = {"patch": operation}
    info = {"title": "Serinus sandbox", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}
