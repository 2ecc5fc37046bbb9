"""Which kinds are served, and how custom ones are read from their definitions."""

from typing import Any

from sandbox.apiserver.errors import Cause, invalid_value, required
from sandbox.apiserver.kinds import BUILT_IN, Json, Resource, Scale
from sandbox.apiserver.printing import declared
from sandbox.apiserver.schemas import Schema
from sandbox.controlplane.pods import timestamp


class Registry:
    """The served kinds, by where they live in the API."""

    def __init__(self) -> None:
        self._served = {(each.group, each.version, each.plural): each for each in BUILT_IN}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        return self._served.get((group, version, plural))

    def keyed(self, key: str) -> Resource | None:
        """Some version of the kind."""
        return next((each for each in self._served.values() if each.key == key), None)

    def built_in(self, key: str) -> Resource:
        """A kind that is always there."""
        return next(each for each in BUILT_IN if each.key == key)

    def all(self) -> list[Resource]:
        return list(self._served.values())

    def define(self, crd: Json) -> None:
        """Serve what a CustomResourceDefinition defines, in place of what it defined before."""
        self.withdraw(crd)
        for resource in resources(crd):
            self._served[resource.group, resource.version, resource.plural] = resource

    def withdraw(self, crd: Json) -> None:
        """Serve a custom kind no longer."""
        group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
        self._served = {where: each for where, each in self._served.items() if (where[0], where[2]) != (group, plural)}


def resources(crd: Json) -> list[Resource]:
    """A resource for each served version."""
    spec, names = crd["spec"], crd["spec"]["names"]
    found = []
    for version in spec["versions"]:
        if not version.get("served"):
            continue
        subresources = version.get("subresources") or {}
        found.append(
            Resource(
                kind=names["kind"],
                plural=names["plural"],
                group=spec["group"],
                version=version["name"],
                singular=names.get("singular", ""),
                short=tuple(names.get("shortNames") or ()),
                categories=tuple(names.get("categories") or ()),
                namespaced=spec["scope"] == "Namespaced",
                status="status" in subresources,
                scale=_scale(subresources.get("scale")),
                generation=True,
                fields=tuple(each["jsonPath"].lstrip(".") for each in version.get("selectableFields") or ()),
                columns=declared(version.get("additionalPrinterColumns") or ()),
                schema=Schema((version.get("schema") or {}).get("openAPIV3Schema") or {}),
            )
        )
    return found


def _scale(raw: Json | None) -> Scale | None:
    if raw is None:
        return None
    paths = [raw["specReplicasPath"], raw["statusReplicasPath"], raw.get("labelSelectorPath", ".")]
    replicas, status, selector = (tuple(filter(None, path.split("."))) for path in paths)
    return Scale(replicas=replicas, status=status, selector=selector)


def prepare_crd(crd: Json, old: Json | None) -> list[Cause]:
    """What creating a definition sets in it: defaults, and at once the status that takes a real server a moment."""
    spec = crd["spec"] = {"conversion": {"strategy": "None"}, **crd.get("spec", {})}
    faults = [required(f"spec.{name}") for name in ("group", "names", "scope", "versions") if not spec.get(name)]
    if faults:
        return faults
    names = spec["names"] = dict(spec["names"])
    names.setdefault("singular", names.get("kind", "").lower())
    names.setdefault("listKind", names.get("kind", "") + "List")
    wanted = f"{names.get('plural')}.{spec['group']}"
    if crd["metadata"].get("name") != wanted:
        text = f'must be spec.names.plural+"."+spec.group ({wanted})'
        faults.append(invalid_value("metadata.name", crd["metadata"].get("name"), text))
    storage = [each["name"] for each in spec["versions"] if each.get("storage")]
    if len(storage) != 1:
        faults.append(invalid_value("spec.versions", "…", "must have exactly one version marked as storage version"))
    faults += [
        required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required")
        for index, each in enumerate(spec["versions"])
        if not (each.get("schema") or {}).get("openAPIV3Schema")
    ]
    now = timestamp()
    stored = ((old or {}).get("status") or {}).get("storedVersions") or []
    crd["status"] = {
        "conditions": [_condition(each, now) for each in ("NamesAccepted", "Established")],
        "acceptedNames": names,
        "storedVersions": stored + [each for each in storage if each not in stored],
    }
    return faults


def _condition(kind: str, now: str) -> dict[str, Any]:
    words = {
        "NamesAccepted": ("NoConflicts", "no conflicts found"),
        "Established": ("InitialNamesAccepted", "the initial names have been accepted"),
    }
    reason, message = words[kind]
    return {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
