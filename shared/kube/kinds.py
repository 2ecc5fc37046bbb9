"""The Kubernetes kinds that Serinus touches: plain data, one line each."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a kind lives in the API. `group` is empty for the core group."""

    kind: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The resource path, e.g. `/apis/apps/v1/namespaces/test/deployments/podinfo`."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return f"{root}{scope}/{self.plural}" + (f"/{name}" if name else "")


CANARY: Final = Kind("Canary", "flagger.app", "v1beta1", "canaries")
METRIC_TEMPLATE: Final = Kind("MetricTemplate", "flagger.app", "v1beta1", "metrictemplates")
ALERT_PROVIDER: Final = Kind("AlertProvider", "flagger.app", "v1beta1", "alertproviders")
DEPLOYMENT: Final = Kind("Deployment", "apps", "v1", "deployments")
SERVICE: Final = Kind("Service", "", "v1", "services")
CONFIG_MAP: Final = Kind("ConfigMap", "", "v1", "configmaps")
SECRET: Final = Kind("Secret", "", "v1", "secrets")
EVENT: Final = Kind("Event", "", "v1", "events")
ENDPOINT_SLICE: Final = Kind("EndpointSlice", "discovery.k8s.io", "v1", "endpointslices")
AUTOSCALER: Final = Kind("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers")
APISIX_ROUTE: Final = Kind("ApisixRoute", "apisix.apache.org", "v2", "apisixroutes")
APISIX_UPSTREAM: Final = Kind("ApisixUpstream", "apisix.apache.org", "v2", "apisixupstreams")
INGRESS_CLASS: Final = Kind("IngressClass", "networking.k8s.io", "v1", "ingressclasses")
CRD: Final = Kind("CustomResourceDefinition", "apiextensions.k8s.io", "v1", "customresourcedefinitions")

DISCOVERY: Final = Kind("Discovery", "", "", "")
"""No kind: what the server says about itself, for the metrics of requests."""
