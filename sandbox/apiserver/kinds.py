"""What the emulator serves: one `Resource` per kind and version. Plain data; the table of built-in kinds is here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:  # a resource only carries its schema
    from sandbox.apiserver.schemas import Schema

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of the Table that kubectl prints. `cell` computes its value; `priority` above 0 shows with `-o wide`."""

    name: str
    cell: Callable[[Json], Any]
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Where a kind keeps what its `/scale` subresource shows. The selector is text, or a label selector object."""

    replicas: tuple[str, ...] = ("spec", "replicas")
    status: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resource:
    """A kind in one version. Versions of a custom resource share their objects: `key` doesn't name the version."""

    kind: str
    plural: str
    group: str = ""
    version: str = "v1"
    singular: str = ""
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False  # has a status subresource
    scale: Scale | None = None
    generation: bool = False  # its metadata.generation counts changes of the spec
    fields: tuple[str, ...] = ()  # field selectors beside metadata.name and metadata.namespace
    columns: tuple[Column, ...] = ()
    schema: "Schema | None" = None  # of custom resources
    key: str = field(init=False)
    api_version: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.plural}.{self.group}" if self.group else self.plural)
        object.__setattr__(self, "api_version", f"{self.group}/{self.version}" if self.group else self.version)

    @property
    def custom(self) -> bool:
        """Was it defined by a CustomResourceDefinition?"""
        return self.schema is not None

    @property
    def kind_and_group(self) -> str:
        """How error messages name the kind."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


_EVENT_FIELDS: Final = tuple(
    [f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")]
    + ["reason", "reportingComponent", "source", "type"]
)

NAMESPACES: Final = "namespaces"
SERVICES: Final = "services"
PODS: Final = "pods"
DEPLOYMENTS: Final = "deployments.apps"
REPLICA_SETS: Final = "replicasets.apps"
ENDPOINT_SLICES: Final = "endpointslices.discovery.k8s.io"
CRDS: Final = "customresourcedefinitions.apiextensions.k8s.io"
SERVICE_ACCOUNTS: Final = "serviceaccounts"


def _plain(group: str, *names: tuple[str, str], version: str = "v1", namespaced: bool = True) -> list[Resource]:
    """Kinds that are only kept, so that whole installations can be applied: nothing acts on them here."""
    return [Resource(kind=k, plural=p, group=group, version=version, namespaced=namespaced) for k, p in names]


def _apps(kind: str, plural: str, short: str, *, scale: Scale | None = None) -> Resource:
    return Resource(
        kind=kind,
        plural=plural,
        group="apps",
        short=(short,),
        categories=("all",),
        status=True,
        generation=True,
        scale=scale,
    )


BUILT_IN: Final = (
    Resource(kind="Namespace", plural="namespaces", short=("ns",), namespaced=False, status=True),
    Resource(kind="Service", plural="services", short=("svc",), categories=("all",), status=True),
    Resource(kind="ConfigMap", plural="configmaps", short=("cm",)),
    Resource(kind="Secret", plural="secrets", fields=("type",)),
    Resource(
        kind="Pod",
        plural="pods",
        short=("po",),
        categories=("all",),
        status=True,
        fields=("spec.nodeName", "status.phase", "status.podIP"),
    ),
    Resource(kind="Event", plural="events", short=("ev",), fields=_EVENT_FIELDS),
    Resource(kind="ServiceAccount", plural="serviceaccounts", short=("sa",)),
    Resource(kind="Node", plural="nodes", short=("no",), namespaced=False, status=True),
    _apps("Deployment", "deployments", "deploy", scale=Scale()),
    _apps("ReplicaSet", "replicasets", "rs", scale=Scale()),
    _apps("StatefulSet", "statefulsets", "sts"),
    _apps("DaemonSet", "daemonsets", "ds"),
    Resource(
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        group="autoscaling",
        version="v2",
        short=("hpa",),
        categories=("all",),
        status=True,
    ),
    Resource(kind="EndpointSlice", plural="endpointslices", group="discovery.k8s.io", generation=True),
    Resource(kind="Lease", plural="leases", group="coordination.k8s.io"),
    Resource(
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        group="apiextensions.k8s.io",
        short=("crd", "crds"),
        categories=("api-extensions",),
        namespaced=False,
        status=True,
        generation=True,
    ),
    *_plain("networking.k8s.io", ("IngressClass", "ingressclasses"), namespaced=False),
    *_plain("policy", ("PodDisruptionBudget", "poddisruptionbudgets")),
    *_plain("networking.k8s.io", ("NetworkPolicy", "networkpolicies")),
    *_plain("rbac.authorization.k8s.io", ("Role", "roles"), ("RoleBinding", "rolebindings")),
    *_plain(
        "rbac.authorization.k8s.io",
        ("ClusterRole", "clusterroles"),
        ("ClusterRoleBinding", "clusterrolebindings"),
        namespaced=False,
    ),
)
