"""Rolling updates under arbitrary sizes and bounds: they end, and never take away or add too much on the way."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sandbox.apiserver.controllers import rollout, workloads
from sandbox.apiserver.kinds import Json
from sandbox.apiserver.store import Key, Stored

NOW = datetime(2026, 1, 1, tzinfo=UTC)
bounds = st.one_of(st.integers(0, 4), st.integers(0, 100).map(lambda percent: f"{percent}%"))


def deployment(replicas: int, surge: object = "25%", unavailable: object = "25%", status: Json | None = None) -> Json:
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    spec = {"replicas": replicas, "strategy": strategy, "progressDeadlineSeconds": 60}
    return {"metadata": {"generation": 1}, "spec": spec, "status": status or {}}


def replica_set(name: str, replicas: int, available: int | None = None, pods: int | None = None) -> Stored:
    status = {
        "replicas": replicas if pods is None else pods,
        "readyReplicas": replicas if available is None else available,
        "availableReplicas": replicas if available is None else available,
        "observedGeneration": 1,
    }
    obj = {"metadata": {"name": name, "generation": 1}, "spec": {"replicas": replicas}, "status": status}
    return Stored(("test", name), obj, 1)


def resized(sets: list[Stored], sizes: dict[Key, int]) -> list[Stored]:
    """The next picture, in which every pod is available."""
    return [replica_set(each.key[1], sizes.get(each.key, workloads.replicas([each]))) for each in sets]


@given(before=st.integers(0, 9), after=st.integers(0, 9), surge=bounds, unavailable=bounds)
def test_a_rolling_update_ends_within_its_bounds(before: int, after: int, surge: object, unavailable: object) -> None:
    wanted = deployment(after, surge, unavailable)
    sets = [replica_set("old", before), replica_set("new", 0)]
    most, least = rollout.bounds(wanted)

    for _ in range(100):
        sizes = rollout.sizes(wanted, sets[1], sets[:1])
        if not sizes:
            break
        total = workloads.replicas(sets)
        sets = resized(sets, sizes)
        assert workloads.replicas(sets) <= max(total, after + most)
        assert workloads.replicas(sets) >= min(total, after - least)

    assert [workloads.replicas([each]) for each in sets] == [0, after]


@given(replicas=st.integers(1, 9), surge=bounds, unavailable=bounds)
def test_pods_that_never_get_available_take_no_more_than_the_bounds(
    replicas: int, surge: object, unavailable: object
) -> None:
    wanted = deployment(replicas, surge, unavailable)
    old, new = replica_set("old", replicas), replica_set("new", 0)

    for _ in range(100):
        sizes = rollout.sizes(wanted, new, [old])
        if not sizes:
            break
        old = resized([old], sizes)[0]
        new = replica_set("new", sizes.get(new.key, workloads.replicas([new])), available=0)

    assert not sizes
    assert workloads.replicas([old]) >= replicas - rollout.bounds(wanted)[1]


def test_pods_that_were_never_available_go_first() -> None:
    sick, well = replica_set("sick", 2, available=0), replica_set("well", 3)

    assert rollout.sizes(deployment(3, 1, 1), replica_set("new", 0), [sick, well]) == {sick.key: 0, well.key: 2}
    assert rollout.sizes(deployment(3, 1, 0), replica_set("new", 0), [sick, well]) == {sick.key: 0}


def condition(found: Json) -> tuple[str, str]:
    [one] = [each for each in found["conditions"] if each["type"] == "Progressing"]
    return one["status"], one["reason"]


def test_a_rollout_is_late_after_its_deadline_and_progress_moves_that() -> None:
    made = rollout.status(deployment(2), new := replica_set("new", 2, available=0), [new], NOW, created=True)
    assert condition(made) == ("True", "NewReplicaSetCreated")

    seen = replica_set("new", 2, available=0)
    waiting = rollout.status(deployment(2, status=made), seen, [seen], NOW + timedelta(seconds=60), created=False)
    late = rollout.status(deployment(2, status=made), seen, [seen], NOW + timedelta(seconds=61), created=False)
    better = replica_set("new", 2, available=1)
    moved = rollout.status(deployment(2, status=late), better, [better], NOW + timedelta(seconds=70), created=False)

    assert condition(waiting) == ("True", "NewReplicaSetCreated")
    assert condition(late) == ("False", "ProgressDeadlineExceeded")
    assert condition(moved) == ("True", "ReplicaSetUpdated")
    assert rollout.deadline(deployment(2, status=late)) is None
    assert rollout.deadline(deployment(2, status=moved)) == NOW + timedelta(seconds=130)


def test_a_complete_deployment_stays_so_while_its_size_changes() -> None:
    whole = replica_set("new", 2)
    done = rollout.status(deployment(2), whole, [whole], NOW, created=False)
    done = rollout.status(deployment(2, status=done), whole, [whole], NOW, created=False)
    growing = replica_set("new", 5, available=2)

    later = rollout.status(deployment(5, status=done), growing, [growing], NOW + timedelta(hours=1), created=False)

    assert condition(done) == condition(later) == ("True", "NewReplicaSetAvailable")
    assert later["unavailableReplicas"] == 3
    assert rollout.deadline(deployment(5, status=later)) is None


def test_a_new_template_after_a_failed_one_starts_its_own_time() -> None:
    old = [{"type": "Progressing", "status": "False", "reason": rollout.TIMED_OUT, "message": "", "lastUpdateTime": ""}]
    new = replica_set("newer", 0)

    found = rollout.status(deployment(2, status={"conditions": old}), new, [new], NOW, created=True)

    assert condition(found) == ("True", "NewReplicaSetCreated")
