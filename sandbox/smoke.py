"""`python -m sandbox.smoke URL`: the guide's first scenario against a cluster that stands, with Serinus in it.

Applies the guide's manifests, waits for the initialization, changes the image, and exits 0 if the new one was promoted
through every weight of the guide.
"""

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import yaml

from sandbox.controlplane.api import Api, ApiError, Json

_GUIDE: Final = Path(__file__).resolve().parents[1] / "tests" / "guide"
_MANIFESTS: Final = ("deployment.yaml", "route.yaml", "canary.yaml")
_NAMESPACE: Final = "test"
_PATHS: Final = {
    "Deployment": f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments",
    "ApisixRoute": f"/apis/apisix.apache.org/v2/namespaces/{_NAMESPACE}/apisixroutes",
    "Canary": f"/apis/flagger.app/v1beta1/namespaces/{_NAMESPACE}/canaries",
}
_CANARY: Final = f"{_PATHS['Canary']}/podinfo"
_TAG: Final = "6.0.1"
_WEIGHTS: Final = (10, 20, 30, 40, 50)
_LOOK: Final = 0.25
_TIMEOUT: Final = 300.0


class Unexpected(Exception):
    """The rollout went another way than the guide's."""


async def play(api: Api) -> None:
    """Raises Unexpected, or TimeoutError with what was seen last."""
    with suppress(ApiError):  # it may be there
        await api.create("/api/v1/namespaces", {"metadata": {"name": _NAMESPACE}})
    for name in _MANIFESTS:
        for document in yaml.safe_load_all((_GUIDE / name).read_text()):
            await api.create(_PATHS[document["kind"]], document)
    await _until(api, "Initialized", [])
    target = await api.get(f"{_PATHS['Deployment']}/podinfo")
    wanted = f"{_image(target).rpartition(':')[0]}:{_TAG}"
    template = {"spec": {"containers": [{"name": "podinfod", "image": wanted}]}}
    await api.patch(
        f"{_PATHS['Deployment']}/podinfo", {"spec": {"template": template}}, "application/strategic-merge-patch+json"
    )
    weights: list[int] = []
    await _until(api, "Succeeded", weights)
    rising = tuple(weight for weight in dict.fromkeys(weights) if weight)
    if rising[: len(_WEIGHTS)] != _WEIGHTS:
        raise Unexpected(f"the canary's weights were {rising}, not {_WEIGHTS}")
    primary = await api.get(f"{_PATHS['Deployment']}/podinfo-primary")
    if _image(primary) != wanted:
        raise Unexpected(f"the primary runs {_image(primary)}")


def _image(deployment: Json) -> str:
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])


async def _until(api: Api, phase: str, weights: list[int]) -> None:
    """Look until the canary is in this phase; every change is told, every weight remembered."""
    told: tuple[object, ...] = ()
    async with asyncio.timeout(_TIMEOUT):
        while True:
            status: Json = (await api.get(_CANARY)).get("status") or {}
            seen = status.get("phase"), status.get("canaryWeight", 0), status.get("failedChecks", 0)
            if seen != told:
                print("{}, weight {}, failed checks {}".format(*seen), flush=True)
                told = seen
            weights.append(status.get("canaryWeight", 0))
            if seen[0] == phase:
                return
            if seen[0] == "Failed":
                raise Unexpected("the canary failed")
            await asyncio.sleep(_LOOK)


async def _main(url: str) -> int:
    async with Api(url, "nobody") as api:
        try:
            await play(api)
        except (Unexpected, TimeoutError, ApiError) as error:
            print(f"the guide's first scenario failed: {error!r}", file=sys.stderr)
            return 1
    print("the guide's first scenario ended as it should")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main(sys.argv[1])))
