"""Which command lines the load tester understands."""

import pytest

from sandbox.loadtester import Unknown, parse, seconds

GUIDE = "hey -z 1m -q 10 -c 2 -h2 -host app.example.com http://apisix-gateway.apisix/api/info"


def test_the_guides_command() -> None:
    load = parse(GUIDE)

    assert (load.duration, load.rate, load.workers, load.method) == (60.0, 10.0, 2, "GET")
    assert str(load.url) == "http://apisix-gateway.apisix/api/info"
    assert load.headers == {"Host": "app.example.com"}


def test_headers_and_a_number_of_requests() -> None:
    load = parse("/usr/bin/hey -n 30 -c 3 -m POST -H 'X-Canary: insider' -H 'Host: app.example.com' http://a.b:8080/x")

    assert (load.duration, load.number, load.workers, load.rate, load.method) == (0.0, 30, 3, 0.0, "POST")
    assert load.headers == {"X-Canary": "insider", "Host": "app.example.com"}
    assert load.url.port == 8080


@pytest.mark.parametrize(
    "command", ["curl http://a.b/", "hey", "hey -x 1 http://a.b/", "hey -z soon http://a.b/", "hey 'http://a.b/"]
)
def test_what_it_doesnt_know_it_says(command: str) -> None:
    with pytest.raises(Unknown):
        parse(command)


@pytest.mark.parametrize(("text", "value"), [("1m", 60), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5)])
def test_durations(text: str, value: float) -> None:
    assert seconds(text) == value
