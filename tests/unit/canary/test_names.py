"""Which objects belong to a Canary, and whose it is."""

import pytest

from shared.canary import names, ownership
from shared.kube.json import Json


def test_names_of_the_guide() -> None:
    known = names.of(
        {"targetRef": {"name": "podinfo"}, "autoscalerRef": {"name": "hpa"}, "routeRef": {"name": "route"}}
    )
    assert known == names.Names(target="podinfo", apex="podinfo", autoscaler="hpa", route="route")
    assert (known.primary, known.primary_autoscaler) == ("podinfo-primary", "hpa-primary")
    assert (known.primary_service, known.canary_service) == ("podinfo-primary", "podinfo-canary")
    assert known.canary_route == "route-podinfo-canary"


def test_a_service_of_another_name() -> None:
    known = names.of({"targetRef": {"name": "podinfo"}, "service": {"name": "web"}, "routeRef": {"name": "route"}})
    assert (known.primary, known.apex, known.primary_service) == ("podinfo-primary", "web", "web-primary")
    assert known.canary_route == "route-web-canary"
    assert (known.autoscaler, known.primary_autoscaler) == ("", "")


@pytest.mark.parametrize(
    ("provider", "default", "ours"),
    [
        ("apisix", "apisix", True),
        ("", "apisix", True),
        ("", "istio", False),
        ("apisix", "istio", True),
        ("istio", "apisix", False),
    ],
)
def test_whose_canary(provider: str, default: str, ours: bool) -> None:
    assert ownership.ours({"spec": {"provider": provider}}, default) is ours


def written(**times: str) -> Json:
    """A Canary whose status these managers wrote."""
    entries = [
        {"manager": name.replace("_", "-"), "subresource": "status", "time": time} for name, time in times.items()
    ]
    return {"metadata": {"managedFields": [{"manager": "kubectl", "time": "9"}, *entries]}}


@pytest.mark.parametrize(
    ("old", "new", "foreign"),
    [
        pytest.param(written(serinus_router="1"), written(serinus_router="2"), False, id="only we"),
        pytest.param(None, written(serinus_router="2"), False, id="only we, first"),
        pytest.param(written(serinus_router="1"), written(serinus_router="1", flagger="2"), True, id="somebody came"),
        pytest.param(
            written(serinus_router="2", flagger="1"), written(serinus_router="3", flagger="1"), False, id="long ago"
        ),
        pytest.param(
            written(serinus_router="2", flagger="1"), written(serinus_router="2", flagger="3"), True, id="again"
        ),
        pytest.param(
            written(serinus_router="2", flagger="1"), written(serinus_router="4", flagger="3"), True, id="both, we last"
        ),
        pytest.param(
            written(serinus_router="2", flagger="2"), written(serinus_router="2", flagger="2"), True, id="one second"
        ),
        pytest.param(written(flagger="1"), written(flagger="1"), True, id="only they"),
        pytest.param({}, {}, True, id="nobody says"),
    ],
)
def test_foreign_status_writes(old: Json | None, new: Json, foreign: bool) -> None:
    assert ownership.foreign_status_write(old, new) is foreign
