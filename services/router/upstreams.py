"""ApisixUpstreams of the primary and canary Service, as people configured that of the apex. Pure.

APISIX's ingress controller binds an ApisixUpstream by its Service's name: retries, health checks, TLS, load balancing and
subsets of the apex would end where the generated route begins (W-A14).
"""

from collections.abc import Iterable
from typing import Final

from services.router.found import Found
from services.router.objects import COPIED, OPT_OUT, Wanted, owned, owners
from services.router.parse import Canary
from shared.kube import json, kinds
from shared.kube.json import Json

_ADDRESSES: Final = frozenset({"externalNodes", "discovery"})
"""Where the apex's own answers come from: a copy would send the primary's and canary's requests there too."""
_SCHEMES: Final = frozenset({"http", "https", "grpc", "grpcs"})


def copies(canary: Canary, found: Found) -> Iterable[Wanted]:
    """In step with their source, and gone with it. One that people have made themselves stays theirs."""
    for name in (canary.names.primary_service, canary.names.canary_service):
        have = found.upstream_copies.get(name)
        ours = owned(canary, have)
        if have is not None and not ours and COPIED not in json.mapping(have, "metadata", "annotations"):
            continue
        if found.upstream is None:
            if have is not None:
                yield Wanted(kinds.APISIX_UPSTREAM, name, gone=True)
            continue
        spec = {key: value for key, value in json.mapping(found.upstream, "spec").items() if key not in _ADDRESSES}
        body: Json = {
            "apiVersion": kinds.APISIX_UPSTREAM.api_version,
            "kind": kinds.APISIX_UPSTREAM.kind,
            "metadata": {
                "name": name,
                "namespace": canary.spec.namespace,
                "annotations": {**OPT_OUT, COPIED: ""},
                "ownerReferences": owners(canary, found),
            },
            "spec": spec,
        }
        tied = {} if have is None or ours else {"metadata": {"ownerReferences": owners(canary, found)}}
        yield Wanted(kinds.APISIX_UPSTREAM, name, body, {("spec",): spec}, tied)


def scheme(found: Found) -> str:
    """How the canary's pods are spoken to."""
    given = json.text(found.upstream, "spec", "scheme")
    return given if given in _SCHEMES else "http"
