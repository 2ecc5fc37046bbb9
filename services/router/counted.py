"""Whose count of the canary's requests the builtin checks go by: the gateway's as soon as it routes any to the canary.

What is mirrored, and what a load test sends to the canary's own Service, appears in no number of the gateway. Until the
first real request the canary's pods are believed: the histogram that most HTTP servers export. Pure.
"""

from dataclasses import dataclass

from shared.canary import queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The canary by the names under which it is counted."""

    namespace: str
    target: str
    route: str
    """Pattern of the generated route."""
    nodes: str
    """Pattern of the canary's nodes."""
    routed: bool
    """Does the gateway send it anything?"""

    def success_rate(self, interval: str) -> tuple[str, str]:
        """The query, and the one to fall back to where the gateway doesn't tell nodes apart."""
        if not self.routed:
            return queries.pods_success_rate(self.namespace, self.target, interval), ""
        whole = queries.success_rate_of_route(self.route, interval)
        return queries.success_rate(self.route, self.nodes, interval), whole

    def duration(self, interval: str, part: str) -> tuple[str, str]:
        """The same. `part` of the latency is `request` or `upstream`; pods know only their own."""
        if not self.routed:
            return queries.pods_duration(self.namespace, self.target, interval), ""
        whole = queries.duration_of_route(self.route, interval, part)
        return queries.duration(self.route, self.nodes, interval, part), whole

    def blame(self, interval: str) -> str:
        """Whose answers the failed ones were; pods know only their own."""
        return queries.blame(self.route, self.nodes, interval) if self.routed else ""

    def evidence(self, since: str) -> tuple[str, str, str]:
        """What the canary answered, and what of the whole route has a node, and what of it has reached anybody."""
        if not self.routed:
            own = queries.pods_evidence(self.namespace, self.target, since)
            return own, own, own
        own = queries.evidence(self.route, self.nodes, since)
        return own, queries.nodes_present(self.route, since), queries.evidence_of_route(self.route, since)
