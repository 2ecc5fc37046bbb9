"""One JSON object per line on stderr, whoever writes it: we, a library, Python's warnings, or a crash.

Keys: level, ts, msg, logger, service; canary and cause inside `bound`; error and stack with an exception.
"""

import asyncio
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, TextIO

from pythonjsonlogger.core import RESERVED_ATTRS, merge_record_extra
from pythonjsonlogger.json import JsonFormatter

log = logging.getLogger(__name__)

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}
"""Flagger's words for levels, so that a log pipeline made for it goes on working."""

_THIRD_PARTIES: Final = ("faststream", "nats", "aiohttp", "urllib3", "kubernetes", "asyncio", "opentelemetry")
"""Never below info: some log whole HTTP bodies at debug, secrets included."""

_canary: ContextVar[str] = ContextVar("canary", default="")
_cause: ContextVar[str] = ContextVar("cause", default="")


class _Formatter(JsonFormatter):
    def __init__(self, service: str) -> None:
        super().__init__("", json_ensure_ascii=True)  # right in any locale, and with half characters in file names
        self._service = service

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["level"] = _word(record.levelno)
        log_data["ts"] = _timestamp(record)
        log_data["msg"] = record.getMessage()
        log_data["logger"] = record.name
        log_data["service"] = self._service
        log_data |= {key: value for key, value in (("canary", _canary.get()), ("cause", _cause.get())) if value}
        if record.exc_info and record.exc_info[1]:
            log_data["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            log_data["stack"] = message_dict.get("exc_info", "")
        merge_record_extra(record, log_data, reserved=[*RESERVED_ATTRS, *log_data])


class _Handler(logging.StreamHandler[TextIO]):
    """Says in JSON, too, that a line couldn't be made; the library would write a stack as text, several lines of it."""

    def __init__(self, service: str) -> None:
        super().__init__(sys.stderr)
        self._service = service
        self.setFormatter(_Formatter(service))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        error = sys.exc_info()[1]
        if isinstance(error, OSError):  # whoever read our lines is gone
            return
        line = {
            "level": "error",
            "ts": _timestamp(record),
            "msg": f"a line can't be logged: {record.msg!r}",
            "logger": record.name,
            "service": self._service,
            "error": f"{type(error).__name__}: {error}",
        }
        self.stream.write(json.dumps(line) + self.terminator)


def handler(service: str) -> "logging.StreamHandler[TextIO]":
    """What makes and writes the lines, to stderr unless it's given another stream."""
    return _Handler(service)


def configure(service: str, level: str = "info") -> None:
    """Sends everything that is logged, warned, or raised and not caught, through one JSON formatter."""
    root = logging.getLogger()
    root.handlers[:] = [handler(service)]
    root.setLevel(LEVELS[level])
    for name in _THIRD_PARTIES:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.INFO))
    for logger in list(logging.Logger.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.name.split(".")[0] in _THIRD_PARTIES:
            logger.handlers.clear()
            logger.propagate = True
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    sys.unraisablehook = _unraisable
    threading.excepthook = _in_thread


@contextmanager
def bound(canary: str = "", cause: str = "") -> Iterator[None]:
    """All lines inside carry the canary (`<name>.<namespace>`, as Flagger's do) and the id of the message that caused them."""
    tokens = _canary.set(canary or _canary.get()), _cause.set(cause or _cause.get())
    try:
        yield
    finally:
        _canary.reset(tokens[0])
        _cause.reset(tokens[1])


def loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """For `loop.set_exception_handler`: what no task was there to catch."""
    log.error("in the event loop: %s", context.get("message", "unknown"), exc_info=context.get("exception"))


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _word(level: int) -> str:
    return next((word for word, least in reversed(LEVELS.items()) if level >= least), "debug")


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.error("uncaught: %s", error, exc_info=(kind, error, trace))


def _unraisable(what: "sys.UnraisableHookArgs") -> None:
    error = what.exc_value
    log.error(
        "%s",
        what.err_msg or "ignored exception",
        exc_info=error if error is None else (type(error), error, what.exc_traceback),
    )


def _in_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_value is None or issubclass(what.exc_type, SystemExit):
        return
    name = what.thread.name if what.thread else "unknown"
    log.error("uncaught in thread %s", name, exc_info=(what.exc_type, what.exc_value, what.exc_traceback))
