"""Logging, configured once by a program's `__main__`: to standard error, for people or as JSON lines."""

from __future__ import annotations

import logging
import sys
from typing import Final, Literal

import structlog

from maia.wire.tracing import with_trace

LogFormat = Literal["console", "json"]

# structlog's defaults, in both forms, show the variables of every frame: tokens, keys and prompts among them.
_STACK: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def _without_header(record: logging.LogRecord) -> bool:
    """Take the bytes out of what gRPC says of a header that is no UTF-8: they may be a token with a typing error."""
    if record.getMessage().startswith("Invalid encoding on "):
        record.msg, record.args, record.exc_info = "a header that is no UTF-8", (), None
    return True


def configure_logs(*, level: str = "info", log_format: LogFormat = "console") -> None:
    """Send structlog's and the standard library's records to standard error in one form.

    Args:
        level: "debug", "info", "warning" or "error", for our own loggers ("maia" and below).
        log_format: "console" for people, "json" for one object a line.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        with_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    final: list[structlog.types.Processor] = (
        [structlog.processors.ExceptionRenderer(_STACK), structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries speak only when something is wrong: at DEBUG gRPC and asyncio would drown our own lines.
    root.setLevel(logging.WARNING)
    logging.getLogger("grpc._cython.cygrpc").addFilter(_without_header)
    logging.getLogger("maia").setLevel(level.upper())
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
