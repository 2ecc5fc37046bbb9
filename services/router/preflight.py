"""What would keep the generated routes from doing what they say, found before they are written. Pure."""

from services.router import routes
from services.router.found import Found, RouteFound
from services.router.parse import Canary
from services.router.shape import Shape


def problem(canary: Canary, found: Found) -> str:
    """The first thing that stands in the way, with the field and the fix; empty if nothing does."""
    if not canary.names.each_route():
        return "apisix route selector is empty"
    for names in canary.names.each_route():
        there = found.routes.get(names.route, RouteFound())
        around = routes.Around(have=there.generated, others=there.siblings)
        try:
            routes.generated_spec(there.source or {}, names, canary.spec.namespace, Shape(), around)
        except routes.NoRoute as error:
            return str(error)
    return ""
