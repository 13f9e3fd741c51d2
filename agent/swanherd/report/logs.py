"""Logs: JSON for machines, columns for a terminal; one rich event per pass that changed something; never a secret.

The libraries' own log records (aiohttp, asyncio, pyroute2) go the same way and look the same. All of it goes through an
outlet that never blocks: a frozen journald must not stop the loop.
"""

import atexit
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any, Final, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from swanherd.report.outlet import Outlet
from swanherd.report.published import Transition

LogFormat = Literal["auto", "json", "text"]

NAMES_PER_EVENT: Final = 20
"""Connections named in one group of a pass event: journald splits lines above 48 KiB, and 1000 may move at once."""

REDACTED: Final = "[redacted]"

_SECRET_KEY: Final = re.compile(r"secret|psk|passw|passphrase|private|credential|shared_?key|token", re.IGNORECASE)
_REFERENCE_KEY: Final = re.compile(r"(_|^)(file|files|path|id|ids|dir|version|names?)$", re.IGNORECASE)
"""What only points to a secret may be told: ``psk_file``, ``secret_id``."""


def setup(level: str = "info", format: LogFormat = "auto", stream: TextIO | None = None) -> None:  # noqa: A002 - the setting's name
    """Make all logging of this process go to *stream* (stderr) from *level* on.

    ``auto`` is JSON under systemd and wherever the stream is no terminal. Raises ValueError for an unknown level.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"unknown log level {level!r}: use debug, info, warning or error")
    target = stream or sys.stderr
    as_json = format == "json" or (format == "auto" and not _terminal(target))
    out = _outlet(target)
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True) if as_json else structlog.processors.TimeStamper("%T.%f"),
        redact,
    ]
    tail = _renderers(as_json=as_json, colours=_terminal(target) and not os.environ.get("NO_COLOR"))
    structlog.configure(
        processors=[*common, *tail],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_library, structlog.stdlib.ExtraAdder(), *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *tail],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.INFO), force=True)


def get(name: str) -> FilteringBoundLogger:
    """The logger of the module or task *name*."""
    logger: FilteringBoundLogger = structlog.get_logger(where=name)
    return logger


def log_pass(changes: Sequence[Transition], *, number: int, took_s: float) -> None:
    """Tell what pass *number* changed: one event with all of it, grouped, and each connection's detail at debug."""
    if not changes:
        return
    log = get("loop")
    ordered = sorted(changes, key=_kind)
    groups = [_group(key, list(members)) for key, members in groupby(ordered, key=_kind)]
    log.info("changed", number=number, took_ms=round(took_s * 1000, 2), connections=len(changes), changes=groups)
    for change in changes:
        log.debug("connection changed", connection=change.connection, **_words(change), detail=change.detail)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what looks like a secret by its key, at any depth, and all bytes: no text of ours is bytes."""
    return {key: _redacted(str(key), value) for key, value in event.items()}


def _redacted(key: str, value: Any) -> Any:  # noqa: ANN401 - anything can be logged
    if key in {"exc_info", "_record", "_from_structlog", "positional_args"}:
        return value
    if _SECRET_KEY.search(key) and not _REFERENCE_KEY.search(key) and value is not None:
        return REDACTED
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"[{len(value)} bytes]"
    if isinstance(value, Mapping):
        return {name: _redacted(str(name), inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_redacted("", inner) for inner in value]
    return value


def _library(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the library that a foreign record comes from, in our own words."""
    return {**event, "where": event["_record"].name}


def _order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What a person looks for first, first."""
    return {**{key: event[key] for key in ("timestamp", "level", "event", "where") if key in event}, **event}


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape control characters: a peer's words reach the log by way of charon, and a terminal would obey them."""
    return {
        key: repr(value)[1:-1] if isinstance(value, str) and not value.isprintable() else value
        for key, value in event.items()
    }


def _kind(change: Transition) -> tuple[str, ...]:
    return (
        change.was_role or "new",
        change.role,
        change.was_reason or "",
        change.reason,
        change.was_fence or "",
        change.fence,
    )


def _words(change: Transition) -> dict[str, str]:
    words = {
        "role": f"{change.was_role or 'new'} -> {change.role}" if change.role != change.was_role else str(change.role),
        "reason": f"{change.was_reason} -> {change.reason}" if change.was_reason else str(change.reason),
    }
    if change.fence != change.was_fence:
        words["fence"] = str(change.fence)
    if change.source is not None:
        words["source"] = str(change.source)
    if change.endpoint is not None:
        words["endpoint"] = change.endpoint
    return words


def _group(_key: tuple[str, ...], members: list[Transition]) -> dict[str, Any]:
    first = members[0]
    words: dict[str, Any] = _words(first)
    if len(members) > 1:
        for each in ("source", "endpoint"):
            if len({getattr(member, each) for member in members}) > 1:
                words.pop(each, None)
    elif first.detail:
        words["detail"] = first.detail
    words["names"] = [member.connection for member in members[:NAMES_PER_EVENT]]
    if len(members) > NAMES_PER_EVENT:
        words["more"] = len(members) - NAMES_PER_EVENT
    return words


def _renderers(*, as_json: bool, colours: bool) -> list[Processor]:
    # Tracebacks are plain in both: the pretty ones show local variables, and a local may be a secret.
    if as_json:
        plain = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
        return [
            structlog.processors.ExceptionRenderer(plain),
            _order,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ]
    return [
        _printable,
        structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=structlog.dev.plain_traceback),
    ]


@cache
def _outlet(stream: TextIO) -> TextIO:
    """One outlet a stream, also when a reload sets up again; what is pending gets out at exit."""
    outlet = Outlet(stream)
    atexit.register(outlet.close)
    return cast("TextIO", outlet)  # the loggers use write and flush, nothing else of a file


def _terminal(stream: TextIO) -> bool:
    return "JOURNAL_STREAM" not in os.environ and stream.isatty()
