"""A route that no ingress controller looks at is known before a weight is written to it; and controllers 1.x, which need no
IngressClass, lose nothing."""

from typing import Any

import pytest

from services.router import classes
from services.router.found import RouteFound

Json = dict[str, Any]
THEIRS, NGINX = classes.CONTROLLER, "k8s.io/ingress-nginx"


def ingress(name: str, controller: str = THEIRS, *, default: bool = False) -> Json:
    """As the API server has it, and as it is kept."""
    marks = {"annotations": {classes.DEFAULT: "true"}} if default else {}
    return classes.slim({"metadata": {"name": name, "uid": "u", **marks}, "spec": {"controller": controller}})


def route(name: str = "", *told: str) -> RouteFound:
    spec = {"ingressClassName": name} if name else {}
    return RouteFound(source={"spec": spec, "status": {"conditions": [{"type": each} for each in told]}})


OURS, DEFAULT, OTHER = ingress("apisix"), ingress("apisix", default=True), ingress("nginx", NGINX, default=True)
FIRST, SECOND = "ResourcesAvailable", "Accepted"


@pytest.mark.parametrize(
    ("found", "known", "text"),
    [
        (route("apisix", SECOND), (OURS,), ""),
        (route("apisix-old", SECOND), (OURS, OTHER),
         "has spec.ingressClassName apisix-old, but there is no IngressClass apisix-old: set it to apisix"),
        (route("apisix", SECOND), (), f"has spec.ingressClassName apisix, but there is no IngressClass apisix: create an "
         f"IngressClass of {THEIRS} and set it to that"),
        (route("", SECOND), (DEFAULT,), ""),
        (route("", SECOND), (OURS,),
         "has no spec.ingressClassName, and no IngressClass is the default: set it to apisix"),
        (route("apisix-old", SECOND), None, ""),
        (route("apisix-old", FIRST), (), ""),
        (route("", FIRST), (), ""),
        (route("apisix-old", FIRST, SECOND), (), ""),
        (route("apisix-old"), (), ""),
    ],
)  # fmt: skip
def test_what_a_controller_2_leaves_alone_is_a_problem(
    found: RouteFound, known: classes.Classes | None, text: str
) -> None:
    assert classes.problem(found, known) == text


@pytest.mark.parametrize(
    ("found", "known", "text"),
    [
        (route("apisix"), (OURS,), ""),
        (route("apisix-old"), (OURS,),
         "has spec.ingressClassName apisix-old, but there is no IngressClass apisix-old: set it to apisix"),
        (route("nginx", SECOND), (OURS, OTHER), f"has spec.ingressClassName nginx, an IngressClass of {NGINX}: unless that is "
         "APISIX's ingress controller, set it to apisix"),
        (route("nginx", FIRST), (OURS, OTHER), ""),
        (route("apisix-old", FIRST), (), ""),
        (route("apisix-old"), None, ""),
        (route(""), (), ""),
    ],
)  # fmt: skip
def test_what_may_be_right_all_the_same_is_a_warning(
    found: RouteFound, known: classes.Classes | None, text: str
) -> None:
    assert list(classes.doubts(found, known)) == ([text] if text else [])
