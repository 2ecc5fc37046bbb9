"""The cluster as it is right now, in the form in which the router watches it: read once, and never written."""

from collections.abc import Iterable, Mapping

from cli.ports import Api
from services.router import classes
from services.router.index import Index
from services.router.world import METADATA_ONLY, WATCHED, World
from shared.errors import Never
from shared.kube import json, kinds
from shared.kube.errors import Forbidden, Gone
from shared.kube.json import Json
from shared.kube.kinds import Kind


class Picture:
    """The objects of one kind."""

    def __init__(self, objects: Iterable[Json]) -> None:
        self._objects = {(json.namespace(each), json.name(each)): each for each in objects}

    def get(self, namespace: str, name: str) -> Json | None:
        return self._objects.get((namespace, name))

    def all(self) -> Iterable[Json]:
        return self._objects.values()

    def by_namespace(self, namespace: str) -> Iterable[Json]:
        return [each for (where, _), each in self._objects.items() if where == namespace]

    def absorb(self, obj: Json) -> None:
        """A picture doesn't change."""

    def forget(self, namespace: str, name: str, uid: str) -> None:
        """As `absorb`."""

    async def current(self, namespace: str, name: str, resource_version: str, timeout: float) -> Json | None:
        return self.get(namespace, name)


class ReadOnly:
    """An API that can't be written through, whoever asks."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self, kind: Kind, namespace: str, name: str) -> Json | None:
        return await self._api.get(kind, namespace, name)

    async def create(self, kind: Kind, body: Json) -> Json:
        raise Never(f"nothing is written here: create {kind.kind}")

    async def patch(self, kind: Kind, namespace: str, name: str, patch: Json, *, subresource: str = "") -> Json:
        raise Never(f"nothing is written here: patch {kind.kind} {name}")

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str = "") -> None:
        raise Never(f"nothing is written here: delete {kind.kind} {name}")


async def taken(api: Api, namespace: str) -> World:
    """One namespace; Secrets and ConfigMaps without their data. A kind that isn't served has no objects."""
    pictures: Mapping[Kind, Picture] = {kind: await _picture(api, kind, namespace) for kind in WATCHED}
    index, known = Index({kind: picture.all() for kind, picture in pictures.items()}), await _classes(api)
    return World(pictures, ReadOnly(api), tracking=True, index=index, classes=lambda: known)


async def _classes(api: Api) -> classes.Classes | None:
    """IngressClasses, where the person may read them."""
    try:
        found, _ = await api.list(kinds.INGRESS_CLASS)
    except (Gone, Forbidden):
        return None
    return tuple(map(classes.slim, found))


async def _picture(api: Api, kind: Kind, namespace: str) -> Picture:
    try:
        found, _ = await api.list(kind, namespace, metadata_only=kind in METADATA_ONLY)
    except Gone:
        return Picture(())
    return Picture(found)
