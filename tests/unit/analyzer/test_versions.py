"""What is said about a Prometheus by what it calls its version."""

import pytest

from services.analyzer import versions


@pytest.mark.parametrize("version", ["2.0.0", "2.25.2", "2.14.0-rc.1"])
def test_one_that_is_too_old_is_one_sentence(version: str) -> None:
    told = versions.complaint("http://prometheus:9090", {"status": "success", "data": {"version": version}})
    assert told == (
        f"Prometheus at http://prometheus:9090 is {version}, and Serinus needs 2.26 or newer: its builtin checks will fail"
    )


@pytest.mark.parametrize("version", ["2.26.0", "2.42.0+ds", "3.5.0", "10.0.1", "0.36.1", "1.93.0", "", "v2", None, 2])
def test_one_that_is_new_enough_or_somebody_else_is_not_spoken_of(version: object) -> None:
    assert versions.complaint("http://prometheus:9090", {"data": {"version": version}}) == ""


@pytest.mark.parametrize("answer", [None, [], "", {}, {"data": []}, {"data": {}}])
def test_any_other_answer_is_none(answer: object) -> None:
    assert versions.complaint("http://prometheus:9090", answer) == ""
