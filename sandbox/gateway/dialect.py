"""What differs between APISIX versions, said once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The behaviour of one version of APISIX with the ingress controller that goes with it."""

    version: str
    host_first: bool
    """Router `radixtree_host_uri`: a rule with hosts beats one without, whatever their priorities (default from 3.3)."""
    services: bool
    """Ingress controller 2.x: the rule's Service has a name, and an unresolvable backend is left out silently."""
    added_headers: bool
    """response-rewrite can add a header beside those of the same name (from 3.0); before, it can only replace them."""
    strict_upstreams: bool
    """A rule that names an upstream which doesn't exist answers 500 to everything (from 3.5)."""
    llm_labels: bool
    """The labels `request_type`, `request_llm_model` and `llm_model`; and the page is a cached text (from 3.14)."""
    response_source: bool
    """The label of that name on `apisix_http_status` (from 3.17)."""
    longest_name: int
    """Characters of a route's name; one with more isn't taken (100, from 3.15 on 256)."""
    bracketed: bool
    """IPv6 addresses in brackets in the label `node` (from 3.18)."""

    @property
    def refresh_interval(self) -> float:
        """Seconds between two renderings of the metrics page; 0 if it's rendered anew for each request."""
        return 15.0 if self.llm_labels else 0.0


def dialect(version: str) -> Dialect:
    """Of a version like `3.18.0`. APISIX 2.x is paired with ingress controller 1.x, 3.x with 2.x."""
    major, minor = (int(part) for part in version.split(".")[:2])
    since = (major, minor)
    return Dialect(
        version=version,
        host_first=since >= (3, 3),
        services=major >= 3,
        added_headers=major >= 3,
        strict_upstreams=since >= (3, 5),
        llm_labels=since >= (3, 14),
        response_source=since >= (3, 17),
        longest_name=256 if since >= (3, 15) else 100,
        bracketed=since >= (3, 18),
    )
