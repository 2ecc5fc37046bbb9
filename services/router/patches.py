"""The smallest JSON merge patch (RFC 7386) from what is to what shall be. Pure."""

from typing import Any

from shared.kube.json import Json

_SAME = object()


def merge_patch(have: Json, want: Json, *, exact: bool = True) -> Json:
    """A patch that turns `have` into `want`; empty when nothing differs. Lists are replaced whole.

    `exact` removes what `want` doesn't have; otherwise such keys are somebody else's and stay.
    """
    patch: Json = {}
    for key, value in want.items():
        change = _change(have.get(key), value, exact)
        if change is not _SAME:
            patch[key] = change
    if exact:
        patch.update({key: None for key in have if key not in want})
    return patch


def whole(want: Json, patch: Json) -> Json:
    """`patch`, which leads to `want`, with all that it leaves alone spelled out: for whoever may have lost it."""
    made = dict(want)
    for key, change in patch.items():
        inner = want.get(key)
        if change is None:
            made[key] = None
        elif isinstance(change, dict) and isinstance(inner, dict):
            made[key] = whole(inner, change)
    return made


def _change(have: Any, want: Any, exact: bool) -> Any:
    if want == {} and have is None and not exact:
        return _SAME  # no keys of ours, and an API server drops an empty map
    if isinstance(have, dict) and isinstance(want, dict):
        inner = merge_patch(have, want, exact=exact)
        return inner if inner else _SAME
    same = have == want and isinstance(have, bool) == isinstance(want, bool)
    return _SAME if same else want
