"""Autoscalers, tracked configs and what a promotion takes over, played through whole rollouts."""

import copy
from typing import Any

from shared.kube.json import Json
from tests.story.theatre import Theatre, guide, initialized, progressing

HPA = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "podinfo"}


def with_spec(**changes: Any) -> Json:
    canary = guide("canary")
    canary["spec"].update(changes)
    return canary


def scaled() -> Json:
    return with_spec(autoscalerRef={**HPA, "primaryScalerReplicas": {"minReplicas": 3, "maxReplicas": 9}})


async def ended(theatre: Theatre) -> None:
    await theatre.settle()
    while theatre.asks():
        await theatre.tick()
        await theatre.settle()


async def test_with_an_autoscaler_the_generated_list_is_the_guides() -> None:
    theatre = await initialized(with_spec(autoscalerRef=HPA), [guide("hpa")])
    given = {"Deployment/podinfo", "HorizontalPodAutoscaler/podinfo", "ApisixRoute/podinfo", "Canary/podinfo"}
    assert {f"{kind}/{name}" for kind, _, name in theatre.cluster.objects} - given == {
        "Deployment/podinfo-primary", "HorizontalPodAutoscaler/podinfo-primary", "Service/podinfo",
        "Service/podinfo-canary", "Service/podinfo-primary", "ApisixRoute/podinfo-podinfo-canary",
    }  # fmt: skip


async def test_a_promotion_renews_the_primarys_autoscaler_and_nothing_before_does() -> None:
    theatre = await initialized(scaled(), [guide("hpa")])
    before = copy.deepcopy(theatre.cluster.of("HorizontalPodAutoscaler", "podinfo-primary"))
    assert (before["spec"]["minReplicas"], before["spec"]["maxReplicas"]) == (3, 9)
    theatre.cluster.edit(
        "HorizontalPodAutoscaler", "podinfo",
        {"metadata": {"labels": {"team": "a"}}, "spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}},
    )  # fmt: skip
    theatre.release()
    await theatre.settle()
    assert theatre.replicas == 2, "the autoscaler's least"
    assert theatre.cluster.of("HorizontalPodAutoscaler", "podinfo-primary") == before
    await ended(theatre)
    after = theatre.cluster.of("HorizontalPodAutoscaler", "podinfo-primary")
    assert after["spec"] == {**before["spec"], "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}
    assert after["metadata"]["labels"] == {"team": "a"}


async def test_a_missing_autoscaler_is_named() -> None:
    theatre = Theatre(scaled())
    await theatre.fact()
    assert theatre.messages() == [
        'HorizontalPodAutoscaler podinfo.test get query error: horizontalpodautoscalers.autoscaling "podinfo" not found'
    ]


async def test_a_promotion_takes_over_what_was_taken_away_too() -> None:
    """A merge would leave `rollingUpdate` beside Recreate, which the API server refuses."""
    theatre = await initialized()
    theatre.cluster.edit(
        "Deployment",
        "podinfo",
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}, "minReadySeconds": None}},
    )
    theatre.cluster.edit("Deployment", "podinfo-primary", {"metadata": {"annotations": {"theirs": "kept"}}})
    theatre.release()
    await ended(theatre)
    primary = theatre.cluster.of("Deployment", "podinfo-primary")
    assert primary["spec"]["strategy"] == {"type": "Recreate"}
    assert "minReadySeconds" not in primary["spec"]
    assert primary["metadata"]["annotations"]["theirs"] == "kept"


async def test_a_primary_without_autoscaler_gets_the_targets_size() -> None:
    theatre = await initialized()
    theatre.release()
    theatre.cluster.edit("Deployment", "podinfo", {"spec": {"replicas": 4}})
    await ended(theatre)
    assert theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["replicas"] == 4


def config(kind: str, name: str, color: str, **more: Any) -> Json:
    return {
        "apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "test", **more}, "data": {"color": color},
        **({"type": "Opaque"} if kind == "Secret" else {}),
    }  # fmt: skip


def using(**pod: Any) -> Json:
    deployment = guide("deployment")
    deployment["spec"]["template"]["spec"].update(pod)
    return deployment


PROJECTED = {"name": "all", "projected": {"sources": [{"secret": {"name": "keys"}}, {"configMap": {"name": "colors"}}]}}


async def test_configs_in_projected_volumes_are_tracked() -> None:
    extra = [using(volumes=[PROJECTED]), config("Secret", "keys", "cmVk"), config("ConfigMap", "colors", "red")]
    theatre = await initialized(extra=extra)
    volume = theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["template"]["spec"]["volumes"][0]
    assert volume["projected"]["sources"] == [
        {"secret": {"name": "keys-primary"}}, {"configMap": {"name": "colors-primary"}},
    ]  # fmt: skip
    assert set(theatre.canary["status"]["trackedConfigs"]) == {"secret/keys", "configmap/colors"}
    theatre.cluster.put(config("Secret", "keys", "Ymx1ZQ=="))
    await theatre.fact()
    assert theatre.phase == "Progressing"


async def test_optional_configs_may_be_missing_and_start_a_rollout_when_they_come() -> None:
    volume = {"name": "maybe", "configMap": {"name": "colors", "optional": True}}
    theatre = await initialized(extra=[using(volumes=[volume])])
    assert theatre.canary["status"]["trackedConfigs"] == {}
    theatre.cluster.put(config("ConfigMap", "colors", "red"))
    await theatre.fact()
    assert theatre.phase == "Progressing"


async def test_configs_that_opt_out_keep_their_name() -> None:
    volume = {"name": "own", "configMap": {"name": "colors"}}
    mine = config("ConfigMap", "colors", "red", annotations={"flagger.app/config-tracking": "disabled"})
    theatre = await initialized(extra=[using(volumes=[volume]), mine])
    primary = theatre.cluster.of("Deployment", "podinfo-primary")["spec"]["template"]["spec"]["volumes"][0]
    assert primary["configMap"]["name"] == "colors"
    assert ("ConfigMap", "test", "colors-primary") not in theatre.cluster.objects


async def _with_colors(steps: int) -> Theatre:
    volume = {"name": "own", "configMap": {"name": "colors"}}
    return await progressing(extra=[using(volumes=[volume]), config("ConfigMap", "colors", "red")], steps=steps)


async def test_a_config_edited_while_the_primary_copies_is_not_copied_unjudged() -> None:
    theatre = await _with_colors(5)
    assert theatre.phase == "Promoting"
    theatre.cluster.put(config("ConfigMap", "colors", "blue"))
    await theatre.fact()
    assert theatre.cluster.of("ConfigMap", "colors-primary")["data"] == {"color": "red"}
    assert (theatre.phase, theatre.weights()) == ("Progressing", (100, 0))
    await ended(theatre)
    assert theatre.cluster.of("ConfigMap", "colors-primary")["data"] == {"color": "blue"}


async def test_a_deleted_copy_is_made_again_at_rest() -> None:
    """W-G33."""
    theatre = await _with_colors(5)
    await ended(theatre)
    theatre.cluster.remove("ConfigMap", "colors-primary")
    assert await theatre.look() == "unconverged"
    await theatre.fact()
    assert theatre.cluster.of("ConfigMap", "colors-primary")["data"] == {"color": "red"}


async def test_unmanaged_metadata_of_services_keeps_its_values() -> None:
    canary = guide("canary")
    canary["spec"]["service"].update(
        apex={"labels": {"team": "a", "zone": "x"}}, unmanagedMetadata={"labels": ["zone"], "annotations": []}
    )
    theatre = await initialized(canary)
    theatre.cluster.edit("Service", "podinfo", {"metadata": {"labels": {"team": "b", "zone": "y"}}})
    await theatre.fact()
    labels = theatre.cluster.of("Service", "podinfo")["metadata"]["labels"]
    assert (labels["team"], labels["zone"]) == ("a", "y")


async def test_skipped_analysis_asks_nobody_and_waits_for_the_primary() -> None:
    """W-G22."""
    theatre = await initialized_without_analysis()
    theatre.heard()
    theatre.release()
    await theatre.settle()
    await theatre.tick()
    assert [text for text in theatre.heard() if "not ready" not in text] == [
        "New revision detected! Scaling up podinfo.test",
        "Copying podinfo.test template spec to podinfo-primary.test",
        "Routing all traffic to primary",
        "Promotion completed! Canary analysis was skipped for podinfo.test",
    ]
    assert theatre.alerts()[-1] == ("info", "Canary analysis was skipped, promotion finished.")
    assert theatre.replicas == 0


async def initialized_without_analysis() -> Theatre:
    theatre = Theatre(with_spec(skipAnalysis=True))
    await theatre.settle()
    await theatre.tick()
    assert theatre.phase == "Initialized"
    return theatre
