"""`abort --direct`: all traffic to the primary at once, for when nobody is there to do it.

The request goes first, so that a router that is there, or comes back, sees it before it looks at the route; then the
route itself. The router rolls back as for any abort, and keeps the route as it is until then.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from cli import canaries, requests
from cli.canaries import Ref
from cli.ports import Api, Refusal, Say
from services.router import observe, parse, routes, status
from services.router.found import Found
from services.router.parse import Canary
from services.router.patches import merge_patch
from services.router.rollout.inputs import Verb
from services.router.rollout.state import ANALYSING, State
from services.router.shape import Shape
from shared.canary import names
from shared.canary.resource import InvalidCanary
from shared.kube import json, kinds
from shared.kube.json import Json

NO_DRAIN: Final = timedelta()
"""A setting of the router that nothing here rests on."""


async def abort(api: Api, document: Json, new_id: Callable[[], str], say: Say) -> str:
    """Ask, and do it. Answers the request, which the router will carry out. Raises Refusal."""
    ref = Ref.of(document)
    canary, state = read(document), status.decode(document)
    _check(ref, canary, state)
    await _check_primary(api, ref, canary, state, say)
    value = await requests.ask(api, document, Verb.ABORT, new_id, say)
    for each in canary.names.each_route():
        await _take_traffic(api, ref, each, say)
    say(f"{ref}: the router rolls back as soon as it is there")
    return value


def read(document: Json) -> Canary:
    """Also one that can't be read whole: it may have traffic all the same."""
    try:
        return parse.canary(document, NO_DRAIN)
    except InvalidCanary:
        return parse.broken(document, NO_DRAIN)


def _check(ref: Ref, canary: Canary, state: State) -> None:
    if not state.revision:
        raise Refusal(f"{ref}: Serinus hasn't run this Canary yet, so there is nothing of it to abort")
    if state.phase not in ANALYSING:
        raise Refusal(f"{ref}: is {state.phase}, so there is no analysis to abort")
    if not canary.names.each_route():
        raise Refusal(f"{ref}: spec.routeRef names no route")


async def _check_primary(api: Api, ref: Ref, canary: Canary, state: State, say: Say) -> None:
    primary = await api.get(kinds.DEPLOYMENT, ref.namespace, canary.names.primary)
    if observe.primary_serves(canary, Found(primary=primary)):
        return
    if state.weight == 100:
        raise Refusal(f"{ref}: the canary serves everybody because {canary.names.primary} isn't ready: mend that first")
    say(f"{ref}: take care, {canary.names.primary} isn't ready")


async def _take_traffic(api: Api, ref: Ref, known: names.Names, say: Say) -> None:
    for _ in range(canaries.MOST_RACES):
        route = await api.get(kinds.APISIX_ROUTE, ref.namespace, known.canary_route)
        if route is None:
            raise Refusal(f"{ref}: there is no route {known.canary_route}: the request to abort stays for the router")
        change = merge_patch(json.mapping(route, "spec"), routes.reweighted(route, known, Shape()))
        if not change:
            say(f"{ref}: route {known.canary_route} sends everything to {known.primary_service} already")
            return
        if await canaries.rewrite(api, kinds.APISIX_ROUTE, route, {"spec": change}):
            say(f"{ref}: route {known.canary_route} sends everything to {known.primary_service}")
            return
    raise Refusal(f"{ref}: somebody else keeps writing route {known.canary_route}: try again")
