"""What a cluster does by itself: namespaces, garbage, Deployments, ReplicaSets and EndpointSlices."""
