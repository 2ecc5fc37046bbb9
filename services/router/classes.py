"""Which ingress controller a route's class leads to. Pure.

Controllers 2.x look only at routes whose class is an IngressClass of theirs, or that have none while such a class is the
default. Everything else they take out of the gateway, and leave its status as it was: weights would be lost in silence.
Controllers 1.x compare a name with their own settings, and need no such object: there nothing is held against a route.
"""

from collections.abc import Iterator
from typing import Final

from services.router import acceptance
from services.router.found import RouteFound
from shared.kube import json
from shared.kube.json import Json

CONTROLLER: Final = "apisix.apache.org/apisix-ingress-controller"
"""What the ingress controller calls itself, unless its settings say otherwise."""
DEFAULT: Final = "ingressclass.kubernetes.io/is-default-class"
Classes = tuple[Json, ...]


def slim(found: Json) -> Json:
    """What is worth its memory of an IngressClass."""
    metadata = json.mapping(found, "metadata")
    kept = {key: metadata[key] for key in ("name", "uid", "resourceVersion") if key in metadata}
    marked = json.text(metadata, "annotations", DEFAULT) == "true"
    return {"metadata": kept, "default": marked, "controller": json.text(found, "spec", "controller")}


def problem(there: RouteFound, classes: Classes | None) -> str:
    """Why a controller 2.x leaves this route alone; empty if it doesn't, or nobody can know."""
    if classes is None or not acceptance.second_line(there.source, there.generated):
        return ""
    if acceptance.first_line(there.source, there.generated):  # an upgrade or its end has left words of both
        return ""
    return _unknown(_named(there), classes) or _undefaulted(_named(there), classes)


def doubts(there: RouteFound, classes: Classes | None) -> Iterator[str]:
    """What may be right all the same: as long as nobody has said anything of the route, or by another controller's name."""
    if classes is None or acceptance.first_line(there.source, there.generated):
        return
    name = _named(there)
    if not acceptance.second_line(there.source, there.generated) and (text := _unknown(name, classes)):
        yield text
    for each in classes:
        if json.name(each) == name and each["controller"] != CONTROLLER:
            yield (
                f"has spec.ingressClassName {name}, an IngressClass of {each['controller']}: unless that is APISIX's ingress "
                f"controller, {_fix(classes)}"
            )


def _named(there: RouteFound) -> str:
    return json.text(there.source, "spec", "ingressClassName")


def _unknown(name: str, classes: Classes) -> str:
    if not name or any(json.name(each) == name for each in classes):
        return ""
    return f"has spec.ingressClassName {name}, but there is no IngressClass {name}: {_fix(classes)}"


def _undefaulted(name: str, classes: Classes) -> str:
    if name or any(each["default"] for each in classes):
        return ""
    return f"has no spec.ingressClassName, and no IngressClass is the default: {_fix(classes)}"


def _fix(classes: Classes) -> str:
    theirs = sorted(json.name(each) for each in classes if each["controller"] == CONTROLLER)
    return (
        f"set it to {' or '.join(theirs)}" if theirs else f"create an IngressClass of {CONTROLLER} and set it to that"
    )
