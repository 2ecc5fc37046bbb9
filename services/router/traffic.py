"""Where the requests of one canary shall go, from its spec and where its rollout stands. Pure.

`services.router.routes` makes rules of the gateway of it.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from services.router.parse import Canary
from services.router.rollout import reach
from services.router.rollout.state import Cookies, State
from services.router.shape import Affinity, Alternative, Condition, Operator, Scope, Shape
from shared.canary.resource import Analysis, Match, SessionAffinity, StringMatch

DAY: Final = 86400


def shape(canary: Canary, state: State) -> Shape:
    """How the traffic shall be divided now."""
    analysis = canary.model.analysis or Analysis()
    testers = tuple(_alternative(match) for match in analysis.match)
    pinned = reach.testers(canary.spec, state)
    return Shape(
        weight=state.weight,
        pinned=testers if pinned else (),
        resting=() if pinned else testers,
        mirror=(analysis.mirror_weight or 100) / 100 if reach.mirrored(canary.spec, state) else 0.0,
        affinity=_affinity(canary, analysis.session_affinity, state.cookies),
    )


def withdrawn(canary: Canary, state: State) -> Shape:
    """The same with nothing for the canary: an abort that is still to be decided."""
    analysis = canary.model.analysis or Analysis()
    given = _affinity(canary, analysis.session_affinity, Cookies(former=state.cookies.canary or state.cookies.former))
    return Shape(resting=tuple(_alternative(match) for match in analysis.match), affinity=given)


def most(canary: Canary) -> Shape:
    """Everything that this Canary will ever ask of its gateway, at once: what doesn't go is told before it is needed."""
    analysis = canary.model.analysis or Analysis()
    return Shape(
        pinned=tuple(_alternative(match) for match in analysis.match),
        mirror=1.0 if analysis.mirror else 0.0,
        affinity=_affinity(canary, analysis.session_affinity, Cookies("cookie=x", "cookie=x")),
    )


def _alternative(match: Match) -> Alternative:
    """All conditions of one entry must hold."""
    return (
        *_conditions(Scope.HEADER, match.headers),
        *_conditions(Scope.QUERY, match.query_params),
        *_conditions(Scope.COOKIE, match.cookies),
    )


def _conditions(scope: Scope, wanted: Mapping[str, StringMatch]) -> Iterable[Condition]:
    for name, value in wanted.items():
        given = {
            Operator.EXACT: value.exact,
            Operator.PREFIX: value.prefix,
            Operator.SUFFIX: value.suffix,
            # The gateway searches; what is meant is the whole value.
            Operator.REGEX: None if value.regex is None else f"^(?:{value.regex})$",
        }
        yield from (Condition(scope, name, operator, text) for operator, text in given.items() if text is not None)


def _affinity(canary: Canary, wanted: SessionAffinity | None, cookies: Cookies) -> Affinity | None:
    if wanted is None:
        return None
    former, _, expired = cookies.former.partition("=")
    return Affinity(
        cookie=wanted.cookie_name,
        value=cookies.canary.partition("=")[2],
        max_age=wanted.max_age or DAY,
        domain=wanted.domain,
        path=wanted.path,
        same_site=wanted.same_site,
        secure=wanted.secure,
        http_only=wanted.http_only,
        partitioned=wanted.partitioned,
        primary_cookie=wanted.primary_cookie_name,
        primary_value=cookies.primary.partition("=")[2],
        primary_max_age=int(canary.spec.interval.total_seconds()),
        expired=(expired,) if former == wanted.cookie_name else (),
    )
