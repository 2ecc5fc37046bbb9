"""Every line that a process writes is one JSON object with Flagger's keys, whoever writes it."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from shared.runtime import logs
from tests.unit.runtime.running import run

PROGRAMS = "tests.unit.runtime.programs"


async def test_whoever_writes_a_line_it_is_json_and_the_crash_is_the_last() -> None:
    code, child = await run(PROGRAMS, "noisy")
    assert code == 1
    for line in child.lines:
        assert {"level", "ts", "msg", "service"} <= line.keys()
        assert line["level"] in ("debug", "info", "warn", "error")
        assert datetime.fromisoformat(line["ts"]).utcoffset() is not None
        assert line["service"] == "watcher"
    first, inside, library, unspeakable, old, *rest = child.lines
    assert first["msg"] == "grüße \udcff\nand a second line"
    assert (first["msg_id"], "object object" in first["odd"], "canary" in first) == (7, True, False)
    assert (inside["level"], inside["canary"], inside["cause"]) == ("debug", "podinfo.test", "tick/1")
    assert (library["msg"], library["level"]) == ("a library's word", "warn")  # and no body at debug
    assert (unspeakable["msg"], unspeakable["level"]) == ("a line can't be logged: '%d'", "error")
    assert (old["logger"], old["level"]) == ("py.warnings", "warn")
    assert "something is old" in old["msg"]
    assert [line["msg"].partition(":")[0] for line in rest] == [
        "uncaught in thread worker",
        "ignored exception",
        "in the event loop",
        "uncaught",
    ]
    assert all(line["level"] == "error" and "Traceback" in line["stack"] for line in rest)
    assert (rest[-1]["error"], rest[-1]["msg"]) == ("RuntimeError: the crash", "uncaught: the crash")


async def test_interpreters_in_the_poorest_locale_write_json_too() -> None:
    _, child = await run(PROGRAMS, "noisy", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert child.lines[0]["msg"].endswith("and a second line")


class Lines:
    """What the root logger wrote since, as JSON."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def __call__(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Our formatter on a logger of its own: the real root belongs to pytest."""
    handler = logs.handler("router")
    stream = io.StringIO()
    handler.setStream(stream)
    logger = logging.getLogger("tests.logs")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield Lines(stream)
    logger.removeHandler(handler)
    logger.propagate = True


log = logging.getLogger("tests.logs")


def test_what_is_bound_is_bound_inside_only_and_the_inner_wins(lines: Lines) -> None:
    with logs.bound("a.test", "1"):
        with logs.bound(cause="2"):
            log.info("x")
        log.info("x")
    log.info("x")
    assert [(line.get("canary"), line.get("cause")) for line in lines()] == [
        ("a.test", "2"),
        ("a.test", "1"),
        (None, None),
    ]


def test_a_callers_own_keys_never_replace_ours(lines: Lines) -> None:
    with logs.bound("a.test", "1"):
        log.warning("x", extra={"level": "mine", "canary": "mine", "service": "mine", "checks": 3})
    (line,) = lines()
    assert (line["level"], line["canary"], line["service"], line["checks"]) == ("warn", "a.test", "router", 3)


def test_an_exception_has_its_cause_and_its_stack(lines: Lines) -> None:
    try:
        try:
            raise OSError("deep")
        except OSError as error:
            raise ValueError("shallow") from error
    except ValueError:
        log.exception("it failed")
    (line,) = lines()
    assert line["error"] == "ValueError: shallow"
    assert "OSError: deep" in str(line["stack"])
    assert "exc_info" not in line


def test_levels_have_flaggers_words(lines: Lines) -> None:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL, 5, 25):
        log.log(max(level, 10), "x")
    assert [line["level"] for line in lines()] == ["debug", "info", "warn", "error", "error", "debug", "info"]
