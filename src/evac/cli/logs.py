"""Logs on standard error: one line each, the same form for evac's own and the libraries', warnings and worse only."""

from __future__ import annotations

import logging
import os
import sys

import structlog

QUIET = ("psycopg", "asyncssh", "asyncio", "httpx")
"""Libraries that warn of what drivers and places report themselves, in the words of the estate."""


def speak_plainly() -> None:
    """Send all logs to standard error, so that standard output is only what was asked for."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=True),
            structlog.dev.ConsoleRenderer(
                colors=coloured,
                pad_event_to=0,
                exception_formatter=structlog.dev.plain_traceback,  # the other ones show local variables, and secrets
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
